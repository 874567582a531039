# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Old releases, and whole sources, that may go, and how they go."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import describe, sync
from ansible_collections.airstack.backbone.plugins.module_utils._dags.parallel import THREADS, each
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    RELEASES,
    TRASH_PREFIX,
    Directory,
    PublishError,
)


@dataclass(frozen=True)
class Retention:
    """What stays.

    keep: how many releases, the current one included. minimum_age: seconds that a release stays after it was the current
    one, since readers may have found it a moment before. in_use: releases that unfinished DagRuns use.
    """

    keep: int
    minimum_age: float
    in_use: Collection[str] = ()


def outdated(directory: Directory, retention: Retention) -> list[str]:
    """Return the releases that need not stay, the oldest first."""
    current = directory.current()
    events = history.read(directory)
    ages = {name: _age(directory, name, events) for name in directory.names() if name != current}
    by_age = sorted(ages, key=lambda name: ages[name])
    kept = {*by_age[: max(retention.keep - 1, 0)], *retention.in_use}
    return [name for name in reversed(by_age) if name not in kept and ages[name] > retention.minimum_age]


def _age(directory: Directory, name: str, events: Sequence[history.Event]) -> float:
    """Seconds since a release was the current one or, where it never was, since it was made."""
    ended = history.last_current(events, name)
    if ended is None:
        try:
            made = os.lstat(directory.release(name)).st_ctime
        except FileNotFoundError:
            made = 0.0
        ended = datetime.datetime.fromtimestamp(made, datetime.timezone.utc)
    return (history.now() - ended).total_seconds()


def remove(directory: Directory, names: Sequence[str]) -> None:
    """Remove releases, each in one step for its readers. In one's turn.

    :raises PublishError: one could not be removed; what is left of it has another name, and is a leftover
    """
    for name in names:
        trash = directory.path / f"{TRASH_PREFIX}{name}"
        try:
            os.rename(directory.release(name), trash)
            remove_tree(trash)
        except OSError as error:
            raise PublishError(f"Release {name} could not be removed: {describe(error)}") from error


def remove_source(directory: Directory) -> None:
    """Remove a source with all its releases. In one's turn: the lock's file is the last to go.

    :raises PublishError: something could not be removed
    """
    try:
        if os.path.lexists(directory.link):
            directory.link.unlink()
            sync(directory.path)
        remove(directory, directory.names())
        for path in directory.leftovers():
            remove_tree(path)
        for path in (directory.path / RELEASES, history.path(directory)):
            remove_tree(path)
    except OSError as error:
        raise PublishError(f"Source '{directory.source}' could not be removed: {describe(error)}") from error
    left = [each.name for each in directory.path.iterdir() if each.name != ".lock"]
    if left:
        raise PublishError(
            f"{directory.path} holds what no publisher made ({', '.join(sorted(left)[:5])}); look at it, and remove it yourself"
        )
    shutil.rmtree(directory.path)


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all that is in it, in parallel. What is not there is no error."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    directories: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for folder, below, names in os.walk(path, topdown=False):
            links = [name for name in below if os.path.islink(os.path.join(folder, name))]
            each(pool, os.unlink, [os.path.join(folder, name) for name in (*names, *links)])
            directories.append(folder)
    for folder in directories:
        os.rmdir(folder)
