# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The shared directory that the DAGs are published in: its layout on the publisher, and what a reader sees of it.

A sentinel file at its root tells a mounted storage from an empty mount point. It holds the environment that the storage
belongs to and an identifier, so that a reader can tell that its storage is the publisher's.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.ownership import (
    OwnershipError,
    group_number,
    mode_bits,
    user_number,
)

_MODE = re.compile(r"[0-7]{3,4}")


class StorageError(Exception):
    """The storage cannot be laid out; the message says everything that stands in its way."""


@dataclass(frozen=True)
class Sentinel:
    environment: str
    id: str

    def text(self) -> str:
        return json.dumps({"environment": self.environment, "id": self.id}, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Ownership:
    """Of a directory: user and group by number, and mode bits. Without a user or group: whoever makes it."""

    uid: int | None
    gid: int | None
    mode: int

    def __str__(self) -> str:
        uid = os.geteuid() if self.uid is None else self.uid
        gid = os.getegid() if self.gid is None else self.gid
        return f"directory {_user(uid)}:{_group(gid)} {self.mode:04o}"

    def of(self, found: Ownership) -> Ownership:
        """What a directory shall be that is there. Where no user is wanted, another one's is his to change."""
        if self.uid is None and found.uid != os.geteuid():
            return found
        uid = found.uid if self.uid is None else self.uid
        gid = found.gid if self.gid is None else self.gid
        return replace(self, uid=uid, gid=gid)


@dataclass(frozen=True)
class Layout:
    """A storage as it shall be."""

    path: Path
    sentinel: str
    environment: str
    sources: tuple[str, ...]
    ownership: Ownership

    def directories(self) -> list[Path]:
        return [self.path, *(self.path / source for source in self.sources)]


@dataclass
class Changes:
    """What has to be done to a storage, in that order; `problems` is what stands in the way."""

    directories: dict[Path, Ownership | None] = field(default_factory=dict)
    """Each directory that is made (None) or corrected, with how it was."""
    sentinel: Sentinel | None = None
    """The sentinel to write, None when there is one."""
    id: str | None = None
    departed: list[str] = field(default_factory=list)
    """Directories of sources that are no longer described."""
    problems: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.directories or self.sentinel)

    def difference(self, layout: Layout) -> dict[str, Any]:
        """Ansible's diff: every path that changes, with its owner and mode."""
        before = {str(path): str(ownership) for path, ownership in self.directories.items() if ownership}
        after = {
            str(path): str(layout.ownership.of(ownership) if ownership else layout.ownership)
            for path, ownership in self.directories.items()
        }
        if self.sentinel:
            after[str(layout.path / layout.sentinel)] = f"sentinel of {self.sentinel.environment}"
        return {"before": before, "after": after}


def layout(parameters: Mapping[str, Any], *, is_check: bool) -> Layout:
    """The layout that a module's parameters describe.

    In check mode an owner or group that an earlier task would have made may be missing. Raises StorageError.
    """
    names = [parameters["sentinel"], *parameters["sources"]]
    bad = [name for name in names if name in ("", ".", "..") or "/" in name or "\0" in name]
    if bad:
        raise StorageError(f"no name of a file or directory in the storage: {', '.join(map(repr, bad))}")
    if "\0" in parameters["path"]:
        raise StorageError(f"no path of a directory: {parameters['path']!r}")
    if_missing = -1 if is_check else None
    try:
        owner, group = parameters["owner"], parameters["group"]
        ownership = Ownership(
            user_number(owner, if_missing) if owner else None,
            group_number(group, if_missing) if group else None,
            mode_bits("mode", parameters["mode"], _MODE),
        )
    except OwnershipError as error:
        raise StorageError(str(error)) from None
    return Layout(
        path=Path(parameters["path"]),
        sentinel=parameters["sentinel"],
        environment=parameters["environment"],
        sources=tuple(parameters["sources"]),
        ownership=ownership,
    )


def compare(layout: Layout) -> Changes:
    """What has to be done, and what stands in the way. Reads the storage and changes nothing."""
    changes = Changes()
    for path in layout.directories():
        _compare_directory(path, layout, changes)
    if changes.problems:
        return changes
    if not layout.path.is_dir():
        changes.sentinel = _new_sentinel(layout)
        return changes
    sentinel, problem = read_sentinel(layout.path / layout.sentinel)
    if problem:
        changes.problems.append(problem)
    elif sentinel is None:
        changes.sentinel = _new_sentinel(layout)
    elif sentinel.environment != layout.environment:
        changes.problems.append(_foreign(layout.path, sentinel, layout.environment))
    else:
        changes.id = sentinel.id
    try:
        changes.departed = departed(layout.path, layout.sources)
    except OSError as error:
        changes.problems.append(f"{layout.path} cannot be read: {error.strerror}")
    return changes


def _compare_directory(path: Path, layout: Layout, changes: Changes) -> None:
    """Only the root may be a symlink: a source's would lead its publisher out of the storage."""
    try:
        status = path.stat() if path == layout.path else path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        changes.directories[path] = None
        return
    except OSError as error:
        changes.problems.append(f"{path}: {error.strerror}")
        return
    found = Ownership(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    if not stat.S_ISDIR(status.st_mode):
        changes.problems.append(f"{path} is no directory; move it away")
    elif found != layout.ownership.of(found):
        changes.directories[path] = found


def apply(layout: Layout, changes: Changes) -> None:
    """Make the storage what the layout says. Raises StorageError."""
    try:
        if changes.directories.get(layout.path, layout.ownership) is None:
            layout.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _opened(layout.path) as root:
            for path, before in changes.directories.items():
                if path == layout.path:
                    _own(root, layout.ownership)
                    continue
                if before is None:
                    with suppress(FileExistsError):
                        os.mkdir(path.name, 0o700, dir_fd=root)
                with _opened(path, root) as descriptor:
                    _own(descriptor, layout.ownership)
        if changes.sentinel:
            changes.sentinel, changes.id = _write_sentinel(layout, changes.sentinel)
    except OSError as error:
        raise StorageError(
            f"{error.filename or layout.path}: {error.strerror}. The publisher needs {layout.path} writable for"
            f" {_user(os.geteuid())}; on a share that maps root to nobody, name the owner of its files."
        ) from error


@contextmanager
def _opened(path: Path, root: int | None = None) -> Iterator[int]:
    """A directory: the root of a storage, which a link may lead to, or one in an open root, which nothing may lead away from.

    Who owns a source's directory or the root can put a link in its place at any moment.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if root is None else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path if root is None else path.name, flags, dir_fd=root)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _own(descriptor: int, ownership: Ownership) -> None:
    unchanged = -1
    uid = unchanged if ownership.uid is None else ownership.uid
    gid = unchanged if ownership.gid is None else ownership.gid
    os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, ownership.mode)


def departed(path: Path, sources: Iterable[str]) -> list[str]:
    """The directories of the storage that belong to no source, sorted. Hidden ones are nobody's source."""
    known = set(sources)
    with os.scandir(path) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.name not in known and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        )


def read_sentinel(path: Path) -> tuple[Sentinel | None, str | None]:
    """The sentinel and, where there is something else in its place, the problem. An empty file is no sentinel yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:  # the latter for what is not UTF-8, and for a NUL in the path
        return None, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
    if not text.strip():
        return None, None
    with suppress(ValueError, TypeError, KeyError):
        found = json.loads(text)
        return Sentinel(str(found["environment"]), str(found["id"])), None
    return None, f"{path} is not what the publisher writes there; move it away if nothing else needs it"


@dataclass(frozen=True)
class View:
    """A storage as a reader finds it."""

    path: Path
    is_there: bool
    is_read_only: bool
    sentinel: Sentinel | None
    sentinel_problem: str | None

    def problems(self, environment: str, storage_id: str | None, *, read_only: bool) -> list[str]:
        """What is wrong for a reader of ``environment`` whose publisher's storage is ``storage_id`` (None: not known)."""
        if not self.is_there:
            return [f"{self.path} is not there: mount the storage that the publisher writes"]
        if self.sentinel_problem:
            return [self.sentinel_problem]
        if self.sentinel is None:
            return [f"{self.path} holds no sentinel: the storage that the publisher writes is not mounted there"]
        if self.sentinel.environment != environment:
            return [_foreign(self.path, self.sentinel, environment)]
        if storage_id is not None and self.sentinel.id != storage_id:
            return [f"{self.path} is another storage than the publisher's: mount the same one on all hosts"]
        if read_only and not self.is_read_only:
            return [f"{self.path} is mounted read-write: only the publisher may write, mount it read-only"]
        return []


def look(path: Path, sentinel: str) -> View:
    """See the storage as it is on this host."""
    try:
        flags = os.statvfs(path).f_flag
        is_there = path.is_dir()
    except (OSError, ValueError):  # the latter for a NUL in the path
        return View(path, False, False, None, None)
    found, problem = read_sentinel(path / sentinel)
    return View(path, is_there, bool(flags & os.ST_RDONLY), found, problem)


def _new_sentinel(layout: Layout) -> Sentinel:
    return Sentinel(layout.environment, str(uuid.uuid4()))


def _foreign(path: Path, sentinel: Sentinel, environment: str) -> str:
    return (
        f"{path} is the storage of the environment {sentinel.environment}, not of {environment}: give each one its own"
    )


def _write_sentinel(layout: Layout, sentinel: Sentinel) -> tuple[Sentinel | None, str]:
    """Write the sentinel, and return it and the storage's identifier; None where another run was faster.

    :raises StorageError: what the other run wrote is not this storage's
    """
    path = layout.path / layout.sentinel
    if _write(path, sentinel):
        return sentinel, sentinel.id
    found, problem = read_sentinel(path)
    if problem:
        raise StorageError(problem)
    if found is None:
        raise StorageError(f"{path} was removed while it was written; run this again")
    if found.environment != layout.environment:
        raise StorageError(_foreign(layout.path, found, layout.environment))
    return None, found.id


def _write(path: Path, sentinel: Sentinel) -> bool:
    """Write a file that readers see as a whole or not at all. False: there is one, which stays, unless it is empty."""
    aside = path.with_name(f"{path.name}.{sentinel.id}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(sentinel.text())
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            if read_sentinel(path) != (None, None):
                return False
            aside.replace(path)
        except OSError:  # a file system without hard links
            aside.replace(path)
        return True
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)
