# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Processes that read published DAGs over and over, and count how often they see no whole version."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

READERS = 2
EDITION_BYTES = 16
"""What tells the versions apart: the beginning of a file, as dag_repository.content writes it."""


class Passes(NamedTuple):
    """Walks over all of the DAGs, and those of them that saw files of two versions, a part of a file, or one missing."""

    all: int
    torn: int


def watched(published: Path, files: int, publish: Callable[[], None]) -> Passes:
    """What readers see of so many files while a publisher publishes."""
    context = multiprocessing.get_context("fork")
    counts, stopping = context.SimpleQueue(), context.Event()
    readers = [context.Process(target=_read, args=(published, files, stopping, counts)) for _at in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        publish()
    finally:
        stopping.set()
    seen = [counts.get() for _reader in readers]
    for reader in readers:
        reader.join()
    return Passes(sum(each.all for each in seen), sum(each.torn for each in seen))


def _read(published: Path, files: int, stopping: Event, counts: multiprocessing.SimpleQueue[Passes]) -> None:
    passes = torn = 0
    while not stopping.is_set():
        passes += 1
        torn += not _is_whole(published, files)
    counts.put(Passes(passes, torn))


def _is_whole(published: Path, files: int) -> bool:
    """Whether one pass, which resolves a link once, sees every file and all of one version."""
    editions = []
    try:
        for directory, names, found in os.walk(published.resolve(strict=True), onerror=_refuse):
            if ".git" in names:
                names.remove(".git")
            for name in found:
                if name.endswith(".py"):
                    with open(os.path.join(directory, name), "rb") as file:
                        editions.append(file.read(EDITION_BYTES))
    except OSError:
        return False
    return len(editions) == files and len(set(editions)) == 1


def _refuse(error: OSError) -> None:
    raise error
