# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A source's releases in the DAG storage.

    <storage>/<source>/releases/<release>/...                    never changed once it has its name
    <storage>/<source>/releases/<release>/.release.json          what it is (for readers)
    <storage>/<source>/releases/<release>/.release.manifest      its files (for the next publisher)
    <storage>/<source>/current -> releases/<release>             renamed into place, last

A release is made beside the others, under another name, and gets its own when it is complete and on disk. Whatever ends
a publisher before that leaves a directory that the next one removes, and `current` as it was.
"""

from __future__ import annotations

import ctypes
import datetime
import errno
import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from ansible_collections.airstack.backbone.plugins.module_utils._dags.sources import (
    MANIFEST,
    METADATA,
    THREADS,
    Entry,
    NotSent,
    Packed,
    SourceProblems,
    check,
    copy_checked,
    release_name,
    tree_hash,
)

SENTINEL = ".airflow-dag-storage"
RELEASES = "releases"
CURRENT = "current"
LOCK = ".lock"
STAGING_PREFIX = ".staging-"
LINK_PREFIX = ".current-"

LOCK_SECONDS = 60
"""How long one publisher waits for another of the same source."""

_FLUSHED_ONE_BY_ONE = 256
_LARGE = 1 << 20  # what is larger is written as it is read, and not handed to a thread


class PublishError(Exception):
    """Nothing was published, and `current` is as it was."""


@dataclass(frozen=True)
class Attributes:
    """Owner and modes of what a publisher makes. Files that are executable in the source are so for all who may read."""

    uid: int
    gid: int
    file_mode: int = 0o644
    directory_mode: int = 0o755

    def mode(self, kind: str) -> int:
        return self.file_mode | (self.file_mode & 0o444) >> 2 if kind == "x" else self.file_mode


class Changes(NamedTuple):
    """Paths by what happened to them from one release to the next, each sorted."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: int


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


class Contents(Protocol):
    """Where the contents of new files come from."""

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Write each wanted content to its places, and return the number of bytes written.

        :raises SourceProblems: the source changed, or a content is missing
        """


class Wanted(NamedTuple):
    """A file to be written, and where its content is in the source."""

    place: Path
    entry: Entry


class Recorded(NamedTuple):
    """A file of a release, and its modification time when it was published."""

    entry: Entry
    mtime_ns: int


@dataclass(frozen=True)
class Directory:
    """One source's directory in the storage."""

    storage: Path
    source: str

    @property
    def path(self) -> Path:
        return self.storage / self.source

    @property
    def link(self) -> Path:
        return self.path / CURRENT

    def release(self, name: str) -> Path:
        return self.path / RELEASES / name

    def current(self) -> str | None:
        """Return the name of the current release, or None before the first.

        :raises PublishError: `current` is something else than a link to a release
        """
        try:
            target = os.readlink(self.link)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:  # readlink(2): it is not a symbolic link
                raise PublishError(f"{self.link} cannot be read: {error.strerror}") from None
            raise PublishError(f"{self.link} is not a symbolic link; nothing but a publisher may make it") from None
        parts = target.split("/")
        if len(parts) != 2 or parts[0] != RELEASES or parts[1] in ("", ".", ".."):
            raise PublishError(f"{self.link} points to {target}, not to {RELEASES}/<release>")
        return parts[1]

    def metadata(self, name: str) -> dict[str, Any] | None:
        """Return what a release says about itself, or None where there is no such release."""
        try:
            with (self.release(name) / METADATA).open(encoding="utf-8") as file:
                return dict(json.load(file))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise PublishError(f"{self.release(name) / METADATA} cannot be read: {error}") from None

    def manifest(self, name: str | None) -> list[Recorded]:
        """Return the files of a release; none where there is no such release or its manifest is unreadable.

        Without a manifest the next release takes nothing over from this one, and is complete all the same.
        """
        if name is None:
            return []
        try:
            with (self.release(name) / MANIFEST).open(encoding="utf-8") as file:
                return [Recorded(Entry(*entry), int(mtime_ns)) for entry, mtime_ns in json.load(file)]
        except (OSError, ValueError, TypeError):
            return []

    def leftovers(self) -> list[Path]:
        """Return what a publisher that was killed left behind."""
        with suppress(FileNotFoundError):
            return sorted(
                self.path / name for name in os.listdir(self.path) if name.startswith((STAGING_PREFIX, LINK_PREFIX))
            )
        return []


def require_storage(storage: Path, sentinel: str = SENTINEL) -> None:
    """Raise `PublishError` where the storage's sentinel is missing: a share that is not mounted is not written to."""
    if not (storage / sentinel).is_file():
        raise PublishError(
            f"{storage} is not a DAG storage: {storage / sentinel} is missing."
            " Mount the share, or lay the storage out with airstack.backbone.dag_storage first."
        )


def compare(before: Iterable[Entry], after: Iterable[Entry]) -> Changes:
    old = {entry.path: entry.content for entry in before}
    new = {entry.path: entry.content for entry in after}
    same = [path for path in new if old.get(path) == new[path]]
    return Changes(
        added=sorted(new.keys() - old.keys()),
        changed=sorted(new.keys() & old.keys() - set(same)),
        removed=sorted(old.keys() - new.keys()),
        unchanged=len(same),
    )


def reusable(directory: Directory, release: str | None, attributes: Attributes) -> dict[tuple[str, str], Path]:
    """Return the files of a release that another one may share, by content.

    Left out is what is not as it was published: edited in place, or with another owner or mode than is wanted now.
    """
    recorded = [each for each in directory.manifest(release) if each.entry.kind != "l"]
    if release is None or not recorded:
        return {}
    root = directory.release(release)

    def is_intact(each: Recorded) -> bool:
        try:
            status = os.lstat(root / each.entry.path)
        except OSError:
            return False
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_size == each.entry.size
            and status.st_mtime_ns == each.mtime_ns
            and (status.st_uid, status.st_gid) == (attributes.uid, attributes.gid)
            and stat.S_IMODE(status.st_mode) == attributes.mode(each.entry.kind)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        intact = list(pool.map(is_intact, recorded))
    return {each.entry.content: root / each.entry.path for each, usable in zip(recorded, intact) if usable}


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
            _own(staging, attributes, attributes.directory_mode)
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
            _write_text(staging / METADATA, json.dumps(metadata, indent=2) + "\n", attributes)
        with timer.phase("flush"):
            flush(staging, [*made, METADATA, MANIFEST, "."])
        os.rename(staging, directory.release(name))
        sync(directory.path / RELEASES)
    except OSError as error:
        raise PublishError(f"Release {name} could not be written to {directory.path}: {describe(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return written


def is_published(directory: Directory, name: str, tree: str) -> bool:
    """Whether a complete release of this tree is there.

    :raises PublishError: something else has its name
    """
    metadata = directory.metadata(name)
    if metadata is None:
        if os.path.lexists(directory.release(name)):
            raise PublishError(f"{directory.release(name)} has no {METADATA}: no publisher made it. Remove it.")
        return False
    if metadata.get("tree") != tree:
        raise PublishError(f"{directory.release(name)} says that it is of the tree {metadata.get('tree')}, not {tree}")
    return True


def switch(directory: Directory, name: str, attributes: Attributes) -> None:
    """Make a release the current one, in one step for every reader. Under the lock.

    :raises PublishError: and the link is as it was
    """
    temporary = directory.path / f"{LINK_PREFIX}{name}"
    try:
        os.symlink(f"{RELEASES}/{name}", temporary)
        _chown(temporary, attributes)
        os.replace(temporary, directory.link)
        sync(directory.path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise PublishError(f"{directory.link} could not be switched to {name}: {describe(error)}") from error


class FromDirectory:
    """Contents out of a directory on the same host, read and written in parallel."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        def copy(each: Wanted) -> int:
            try:
                source = (self.root / each.entry.path).open("rb", buffering=0)
            except OSError as error:
                raise SourceProblems([f"{each.entry.path} cannot be read: {error.strerror}"]) from None
            with source:
                write_file(each, source, attributes)
            return each.entry.size

        return sum(pool.map(copy, [each for places in wanted.values() for each in places]))


class FromArchive:
    """Contents out of what the controller sent, read in order and written in parallel."""

    def __init__(self, packed: Packed) -> None:
        self.packed = packed

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        missing = set(wanted)
        underway: list[Future[None]] = []
        written = 0
        for digest, content in self.packed.contents():
            places = wanted.get(digest, ())
            missing.discard(digest)
            written += sum(each.entry.size for each in places)
            if len(places) == 1 and places[0].entry.size > _LARGE:
                write_file(places[0], content, attributes)
                continue
            data = content.read() if places else b""
            underway += [pool.submit(write_data, each, data, attributes) for each in places]
            if len(underway) > THREADS * 4:
                for future in underway:
                    future.result()
                underway = []
        for future in underway:
            future.result()
        if missing:
            paths = [each.entry.path for digest in missing for each in wanted[digest]]
            why = "since somebody else published meanwhile; publish again"
            raise NotSent([f"the content of {path} was not sent, {why}" for path in sorted(paths)])
        return written


def write_data(wanted: Wanted, data: bytes, attributes: Attributes) -> None:
    with _created(wanted.place, attributes, wanted.entry.kind) as file:
        file.write(data)


def write_file(wanted: Wanted, source: IO[bytes], attributes: Attributes) -> None:
    with _created(wanted.place, attributes, wanted.entry.kind) as file:
        if not copy_checked(source, file, wanted.entry.digest):
            raise SourceProblems([f"{wanted.entry.path} changed while it was read; publish again"])


def make_directory(path: Path, attributes: Attributes, may_exist: bool = False) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not may_exist or not path.is_dir():
            raise
        return
    _own(path, attributes, attributes.directory_mode)


def flush(root: Path, paths: Sequence[str]) -> None:
    """Wait until these files and directories are on disk: each by itself, or, when they are many, the whole filesystem.

    The latter is one call, and has to wait for whatever else is being written there.
    """
    if len(paths) <= _FLUSHED_ONE_BY_ONE:
        with ThreadPoolExecutor(THREADS) as pool:
            _each(pool, lambda path: sync(root / path), paths)
        return
    descriptor = os.open(root, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(root))
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe(error: OSError) -> str:
    """Return an error's reason and, where it has one, its path."""
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


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
            _each(pool, lambda path: make_directory(staging / path, attributes), level)
        written = contents.write(pool, wanted, attributes)
        _each(
            pool, lambda each: _share(kept[each.content], staging / each.path), [e for e in files if e.content in kept]
        )
        _each(
            pool,
            lambda each: _link(str(each.target), staging / each.path, attributes),
            [entry for entry in entries if entry.kind == "l"],
        )
        times = pool.map(lambda each: os.lstat(staging / each.path).st_mtime_ns, entries)
        manifest = [[entry, mtime_ns] for entry, mtime_ns in zip(entries, times)]
    _write_text(staging / MANIFEST, json.dumps(manifest, separators=(",", ":")), attributes)
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


def _each(pool: ThreadPoolExecutor, do: Callable[[Any], None], items: Sequence[Any]) -> None:
    for _done in pool.map(do, items):
        pass


def _share(old: Path, new: Path) -> None:
    """Let two releases share a file, or copy it where the filesystem has no more links to give."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
        status = os.stat(old)
        os.chown(new, status.st_uid, status.st_gid)


def _link(target: str, path: Path, attributes: Attributes) -> None:
    os.symlink(target, path)
    _chown(path, attributes)


@contextmanager
def _created(path: Path, attributes: Attributes, kind: str) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        yield file
        if (attributes.uid, attributes.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, attributes.uid, attributes.gid)
        os.fchmod(descriptor, attributes.mode(kind))


def _write_text(path: Path, text: str, attributes: Attributes) -> None:
    with _created(path, attributes, "f") as file:
        file.write(text.encode())


def _own(path: Path, attributes: Attributes, mode: int) -> None:
    _chown(path, attributes)
    path.chmod(mode)


def _chown(path: Path, attributes: Attributes) -> None:
    status = os.lstat(path)
    if (status.st_uid, status.st_gid) != (attributes.uid, attributes.gid):
        os.chown(path, attributes.uid, attributes.gid, follow_symlinks=False)
