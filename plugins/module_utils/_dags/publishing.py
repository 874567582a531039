# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Releases made and switched to, by one publisher of a source at a time.

A release is made beside the others, under another name, and gets its own when it is complete and on disk. Whatever ends
a publisher before that leaves a directory that the next one removes, and `current` as it was.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import pwd
import re
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history, parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import (
    Attributes,
    Wanted,
    chown,
    describe,
    flush,
    have_directory,
    inside,
    link,
    make_directory,
    opened_directory,
    own,
    share,
    sync,
    write_text,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Content
from ansible_collections.airstack.backbone.plugins.module_utils._dags.pruning import remove_tree
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    LINK_PREFIX,
    LOCK,
    RELEASES,
    STAGING_PREFIX,
    Base,
    Directory,
    PublishError,
    Reusable,
    is_published,
    release_name,
    reusable,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    MANIFEST,
    METADATA,
    Entry,
    directories_of,
)

BLOCK = 4096
"""The largest block that is believed: NFS gives the size of its transfers, up to 1 MiB, as its blocks', and CephFS 4 MiB."""

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


class Published(NamedTuple):
    """A release that is there, whether it was made just now, and the bytes that were written."""

    name: str
    is_made: bool
    written: int


def identity() -> str:
    """Return `user@host` of this process."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def locked(directory: Directory, attributes: Attributes, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep other publishers of this source out. The lock ends with this process, however that ends, and works over NFS.

    :raises PublishError: another publisher held it all the time
    """
    until = time.monotonic() + seconds
    while True:
        directory.require_no_links()
        have_directory(directory.path, attributes)
        try:
            lock = os.open(directory.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # removed with the source in between
            continue
        try:
            _wait_for(lock, until, directory, seconds)
            if _is_still(lock, directory.path / LOCK):
                yield
                return
        finally:
            os.close(lock)


def _wait_for(lock: int, until: float, directory: Directory, seconds: float) -> None:
    while not _takes(lock):
        if time.monotonic() >= until:
            raise PublishError(
                f"Another publisher is at work on {directory.path} and was not done within {seconds:g} s"
            )
        time.sleep(min(0.2, max(until - time.monotonic(), 0.01)))


def _takes(lock: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_still(lock: int, path: Path) -> bool:
    """Whether a lock's file is the one that others find: who removes a source removes its lock with it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock), os.stat(path))
    return False


def publish(
    directory: Directory,
    content: Content,
    tree: str,
    attributes: Attributes,
    base: Base,
    origin: Mapping[str, Any],
    timer: Timer,
) -> Published:
    """Make the release of a content, unless there is one. Under the lock.

    :param tree: the hash of its entries
    :param base: the current release
    :param origin: what `.release.json` says besides: `commit`, `publisher`, `origin` (a revision)
    :raises PublishError: with the storage as it was
    :raises SourceProblems: the same, because of the source
    """
    there = directory.of_tree(tree)
    if there:
        return Published(there, False, 0)
    name = release_name(tree, origin.get("commit"))
    if is_published(directory, name, tree):
        return Published(name, False, 0)
    metadata = {
        "release": name,
        "source": directory.source,
        "tree": tree,
        "files": len(content.entries),
        "bytes": sum(entry.size for entry in content.entries),
        "published": history.now().isoformat(),
        **origin,
    }
    have_directory(directory.path / RELEASES, attributes)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=directory.path))
    try:
        with opened_directory(staging) as descriptor, ExitStack() as stack:
            with timer.phase("write"):
                kept = stack.enter_context(reusable(directory, base, attributes))
            written = _stage(descriptor, content, attributes, kept, metadata, timer)
        os.rename(staging, directory.release(name))
        sync(f"{directory.path / RELEASES}")
    except OSError as error:
        raise PublishError(f"Release {name} could not be written to {directory.path}: {_plain(error)}") from error
    finally:
        with suppress(OSError):  # the next publisher removes it then
            remove_tree(staging)
    return Published(name, True, written)


def _stage(
    descriptor: int,
    content: Content,
    attributes: Attributes,
    kept: Reusable,
    metadata: Mapping[str, Any],
    timer: Timer,
) -> int:
    """Make all of a release in an open directory, have it on disk, and return the number of bytes written.

    Only this process gets into it until it is complete, and its name is not asked again: somebody else may own the
    directory that it is in, and put a link in its place.
    """
    root = inside(descriptor)
    with timer.phase("write"):
        # Not setgid either, so that what is made in it gets this process's own group.
        os.fchmod(descriptor, 0o700)
        written, made = _fill(descriptor, content, attributes, kept)
        write_text(root / METADATA, json.dumps(metadata, indent=2) + "\n", attributes)
        own(descriptor, attributes, attributes.directory_mode)
    with timer.phase("flush"):
        flush(root, [*made, METADATA, MANIFEST, "."])
    return written


def _plain(error: OSError) -> str:
    return re.sub(r"/proc/self/fd/\d+/", "", describe(error))


def set_current(directory: Directory, event: history.Event, attributes: Attributes) -> None:
    """Make the event's release the current one, in one step for every reader. Under the lock.

    The history is written before: what it says is held against the link, but what it does not say is lost.

    :raises PublishError: and the link is as it was
    """
    temporary = directory.path / f"{LINK_PREFIX}{event.release}"
    try:
        history.note(directory, event, attributes)
        os.symlink(f"{RELEASES}/{event.release}", temporary)
        chown(f"{temporary}", attributes)
        os.replace(temporary, directory.link)
        sync(f"{directory.path}")
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise PublishError(f"{directory.link} could not be switched to {event.release}: {describe(error)}") from error


def _fill(descriptor: int, content: Content, attributes: Attributes, kept: Reusable) -> tuple[int, list[str]]:
    """Make everything that a release, whose directory is open, holds but its metadata.

    :param kept: files that are shared
    :return: the number of bytes written, and the paths of what is new on disk, directories included
    """
    staging = inside(descriptor)
    found = [(entry, kept.files.get(entry.content)) for entry in content.entries]
    shared = [(entry, file) for entry, file in found if file is not None]
    new = [entry for entry, file in found if file is None]
    wanted: dict[str, list[Wanted]] = {}
    for entry in _spread(entry for entry in new if entry.kind != "l"):
        wanted.setdefault(entry.digest, []).append(Wanted(staging / entry.path, entry))
    _require_room(staging, [each.entry for places in wanted.values() for each in places])
    directories = _directories(content.entries)
    with ThreadPoolExecutor(parallel.THREADS) as pool:
        for level in directories:
            parallel.each(pool, lambda path: make_directory(f"{staging}/{path}", attributes), level)
        written = content.write(pool, wanted, attributes)
        is_linked = parallel.each(pool, lambda each: share(each[1].path, kept.root, each[0].path, descriptor), shared)
        links = [entry for entry in new if entry.kind == "l"]
        parallel.each(pool, lambda each: link(str(each.target), f"{staging}/{each.path}", attributes), links)
        times = dict(
            zip((entry.path for entry in new), parallel.each(pool, lambda each: _modified(staging / each.path), new))
        )
    times.update((entry.path, file.mtime_ns) for entry, file in shared)
    manifest = [[entry, times[entry.path], content.marks.get(entry.path)] for entry in content.entries]
    write_text(staging / MANIFEST, json.dumps(manifest, separators=(",", ":")), attributes)
    return written, [
        *(entry.path for entry in new if entry.kind != "l"),
        *(entry.path for (entry, _file), linked in zip(shared, is_linked) if not linked),
        *(path for level in directories for path in level),
    ]


def _spread(files: Iterable[Entry]) -> Iterator[Entry]:
    """Yield files so that neighbours are in different directories: a server makes one name at a time in each."""
    by_directory: dict[str, list[Entry]] = {}
    for file in files:
        by_directory.setdefault(file.path.rpartition("/")[0], []).append(file)
    for some in itertools.zip_longest(*by_directory.values()):
        yield from (file for file in some if file is not None)


def _modified(path: Path) -> int:
    return os.lstat(path).st_mtime_ns


def _require_room(staging: Path, new: Sequence[Entry]) -> None:
    """Refuse what does not fit, before it is begun.

    :raises OSError: ENOSPC, with what is needed and what there is
    """
    free = os.statvfs(staging)
    block = min(free.f_frsize, BLOCK)
    needed, available = sum(-(-entry.size // block) * block for entry in new), free.f_bavail * free.f_frsize
    if needed > available:
        text = f"no room: {_megabytes(needed)} are needed, and {_megabytes(available)} are free"
        raise OSError(errno.ENOSPC, text)
    # Filesystems that make inodes as they need them say that they have none at all.
    if free.f_files and len(new) > free.f_favail:
        raise OSError(errno.ENOSPC, f"no room: {len(new)} files are to be made, and {free.f_favail} more can be")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size} bytes"


def _directories(entries: Iterable[Entry]) -> list[list[str]]:
    """Return the directories of a tree by depth, since those of one depth can be made at the same time."""
    levels: dict[int, list[str]] = {}
    for path in sorted(directories_of(entry.path for entry in entries)):
        levels.setdefault(path.count("/"), []).append(path)
    return [levels[depth] for depth in sorted(levels)]
