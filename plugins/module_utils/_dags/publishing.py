# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Releases made and switched to, by one publisher of a source at a time.

A release is made beside the others, under another name, and gets its own when it is complete and on disk. Whatever ends
a publisher before that leaves a directory that the next one removes, and `current` as it was.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import (
    Attributes,
    Contents,
    Wanted,
    chown,
    describe,
    flush,
    for_each,
    link,
    make_directory,
    own,
    share,
    sync,
    write_text,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    LINK_PREFIX,
    RELEASES,
    STAGING_PREFIX,
    Directory,
    PublishError,
    is_published,
    reusable,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.sources import (
    MANIFEST,
    METADATA,
    THREADS,
    Entry,
    SourceProblems,
    check,
    release_name,
    tree_hash,
)

LOCK = ".lock"

LOCK_SECONDS = 60
"""How long one publisher waits for another of the same source."""


@dataclass
class Timer:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - began, 3)


@contextmanager
def locked(directory: Directory, attributes: Attributes, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep other publishers of this source out. The lock ends with this process, however that ends, and works over NFS.

    :raises PublishError: another publisher held it all the time
    """
    make_directory(directory.path, attributes, may_exist=True)
    lock = os.open(directory.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= until:
                    raise PublishError(
                        f"Another publisher is at work on {directory.path} and was not done within {seconds:g} s"
                    ) from None
                time.sleep(0.2)
        yield
    finally:
        os.close(lock)


def clean(directory: Directory) -> list[str]:
    """Remove leftovers, and return their names. Only under the lock: another publisher's work is no leftover."""
    found = directory.leftovers()
    for path in found:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    return [path.name for path in found]


def publish(
    directory: Directory,
    entries: Sequence[Entry],
    contents: Contents,
    attributes: Attributes,
    origin: Mapping[str, Any],
    timer: Timer,
) -> int:
    """Make the release of these entries, unless it is there, and return the number of bytes written. Under the lock.

    :param origin: what `.release.json` says besides: `commit`, `publisher`
    :raises PublishError: with the storage as it was
    :raises SourceProblems: the same, because of the source
    """
    problems = check(entries)
    if problems:
        raise SourceProblems(problems)
    tree = tree_hash(entries)
    name = release_name(tree)
    if is_published(directory, name, tree):
        return 0
    make_directory(directory.path / RELEASES, attributes, may_exist=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=directory.path))
    try:
        with timer.phase("write"):
            # Before anything is made in it: a directory that is not setgid gives files the process's own group.
            own(staging, attributes, attributes.directory_mode)
            written, made = _fill(directory, staging, entries, contents, attributes)
            metadata = {
                "release": name,
                "source": directory.source,
                "tree": tree,
                "files": len(entries),
                "bytes": sum(entry.size for entry in entries),
                "published": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                **origin,
            }
            write_text(staging / METADATA, json.dumps(metadata, indent=2) + "\n", attributes)
        with timer.phase("flush"):
            flush(staging, [*made, METADATA, MANIFEST, "."])
        os.rename(staging, directory.release(name))
        sync(directory.path / RELEASES)
    except OSError as error:
        raise PublishError(f"Release {name} could not be written to {directory.path}: {describe(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return written


def switch(directory: Directory, name: str, attributes: Attributes) -> None:
    """Make a release the current one, in one step for every reader. Under the lock.

    :raises PublishError: and the link is as it was
    """
    temporary = directory.path / f"{LINK_PREFIX}{name}"
    try:
        os.symlink(f"{RELEASES}/{name}", temporary)
        chown(temporary, attributes)
        os.replace(temporary, directory.link)
        sync(directory.path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise PublishError(f"{directory.link} could not be switched to {name}: {describe(error)}") from error


def _fill(
    directory: Directory, staging: Path, entries: Sequence[Entry], contents: Contents, attributes: Attributes
) -> tuple[int, list[str]]:
    """Make everything that a release holds but its metadata.

    :return: the number of bytes written, and the paths of what is new on disk, directories included
    """
    kept = reusable(directory, directory.current(), attributes)
    files = [entry for entry in entries if entry.kind != "l"]
    wanted: dict[str, list[Wanted]] = {}
    for entry in files:
        if entry.content not in kept:
            wanted.setdefault(entry.digest, []).append(Wanted(staging / entry.path, entry))
    directories = _directories(entries)
    with ThreadPoolExecutor(THREADS) as pool:
        for level in directories:
            for_each(pool, lambda path: make_directory(staging / path, attributes), level)
        written = contents.write(pool, wanted, attributes)
        for_each(
            pool, lambda each: share(kept[each.content], staging / each.path), [e for e in files if e.content in kept]
        )
        for_each(
            pool,
            lambda each: link(str(each.target), staging / each.path, attributes),
            [entry for entry in entries if entry.kind == "l"],
        )
        times = pool.map(lambda each: os.lstat(staging / each.path).st_mtime_ns, entries)
        manifest = [[entry, mtime_ns] for entry, mtime_ns in zip(entries, times)]
    write_text(staging / MANIFEST, json.dumps(manifest, separators=(",", ":")), attributes)
    new = [each.entry.path for places in wanted.values() for each in places]
    return written, [*new, *(path for level in directories for path in level)]


def _directories(entries: Iterable[Entry]) -> list[list[str]]:
    """Return the directories of a tree by depth, since those of one depth can be made at the same time."""
    levels: dict[int, set[str]] = {}
    for entry in entries:
        parts = entry.path.split("/")
        for depth in range(1, len(parts)):
            levels.setdefault(depth, set()).add("/".join(parts[:depth]))
    return [sorted(levels[depth]) for depth in sorted(levels)]
