# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A release's files as they are written: with owner and mode, the content that was promised, and on disk for good."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.parallel import THREADS, each, stream
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry, SourceProblems, copy_checked

_FLUSHED_ONE_BY_ONE = 256
_ADVICE = {
    errno.EROFS: "it is mounted read-only here: publish from the host that has it read-write, or mount it so",
    errno.EDQUOT: "the filesystem may have room, but its quota is used up: have it raised, or keep fewer releases",
}
_LARGE = 1 << 20  # what is larger is written as it is read, and not handed to a thread


@dataclass(frozen=True)
class Attributes:
    """Owner and modes of what a publisher makes. Files that are executable in the source are so for all who may read."""

    uid: int
    gid: int
    file_mode: int = 0o644
    directory_mode: int = 0o755

    def mode(self, kind: str) -> int:
        return self.file_mode | (self.file_mode & 0o444) >> 2 if kind == "x" else self.file_mode


class Wanted(NamedTuple):
    """A file to be written, and where its content is in the source."""

    place: Path
    entry: Entry


def write_stream(
    pool: ThreadPoolExecutor,
    wanted: Mapping[str, list[Wanted]],
    contents: Iterable[tuple[str, IO[bytes]]],
    attributes: Attributes,
) -> tuple[int, set[str]]:
    """Write contents that come one after the other, each to all its places, in parallel.

    :param contents: each digest with its content, which is read before the next; what nobody wants is passed over
    :return: the number of bytes written, and the digests that did not come
    :raises SourceProblems: a content is not what its digest says
    """
    missing = set(wanted)
    written = 0

    def copies() -> Iterator[tuple[Wanted, bytes]]:
        nonlocal written
        for digest, content in contents:
            if digest not in missing:
                continue
            missing.discard(digest)
            places = wanted[digest]
            written += sum(place.entry.size for place in places)
            if len(places) == 1 and places[0].entry.size > _LARGE:
                write_file(places[0], content, attributes)
                continue
            data = content.read()
            yield from ((place, data) for place in places)

    stream(pool, lambda copy: write_file(copy[0], io.BytesIO(copy[1]), attributes), copies())
    return written, missing


def write_file(wanted: Wanted, source: IO[bytes], attributes: Attributes) -> None:
    """Write one content to its place.

    :raises SourceProblems: it is not what its digest says
    """
    with _created(wanted.place, attributes, wanted.entry.kind) as file:
        if not copy_checked(source, file, wanted.entry.digest):
            raise SourceProblems([f"{wanted.entry.path} changed while it was read; publish again"])


def make_directory(path: str, attributes: Attributes) -> None:
    """Make a directory that nobody else can reach yet."""
    os.mkdir(path, 0o700)
    if (attributes.uid, attributes.gid) != (os.geteuid(), os.getegid()):
        os.chown(path, attributes.uid, attributes.gid, follow_symlinks=False)
    os.chmod(path, attributes.directory_mode)


def have_directory(path: Path, attributes: Attributes) -> None:
    """Make a directory unless it is there. Who removes it at this very moment is not waited for.

    :raises OSError: it cannot be made, or is something else, such as a link
    """
    is_made = False
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        is_made = True
    with suppress(FileNotFoundError), opened_directory(path) as descriptor:
        if is_made:
            own(descriptor, attributes, attributes.directory_mode)


@contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """A directory that stays the same whatever its name leads to by then: another user may own what it is in."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def inside(descriptor: int) -> Path:
    """Return a path of an open directory (proc(5)), for calls that take none but paths."""
    return Path(f"/proc/self/fd/{descriptor}")


def read_file(path: Path) -> bytes:
    """Return what a file holds. A link or a pipe in its place, which could lead anywhere or have no end, is an error."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "It is not a file", str(path))
        return file.read()


def flush(root: Path, paths: Sequence[str]) -> None:
    """Wait until these files and directories are on disk: each by itself, or, when they are many, the whole filesystem.

    The latter is one call, and has to wait for whatever else is being written there.
    """
    if len(paths) <= _FLUSHED_ONE_BY_ONE:
        with ThreadPoolExecutor(THREADS) as pool:
            each(pool, lambda path: sync(f"{root}/{path}"), paths)
        return
    descriptor = os.open(root, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(root))
    finally:
        os.close(descriptor)


def sync(path: str) -> None:
    """Wait until a file's content, or a directory's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe(error: OSError) -> str:
    """Return an error's reason, its path where it has one, and what to do where that is known."""
    advice = _ADVICE.get(error.errno or 0)
    place = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{place}{f'; {advice}' if advice else ''}"


def share(old: str, old_root: int, new: str, new_root: int) -> bool:
    """Let two releases, whose directories are open, share a file. False: it was copied, as no more links can be had."""
    try:
        os.link(old, new, src_dir_fd=old_root, dst_dir_fd=new_root, follow_symlinks=False)
    except OSError:
        source, copy = f"{inside(old_root)}/{old}", f"{inside(new_root)}/{new}"
        shutil.copy2(source, copy)
        status = os.stat(source)
        os.chown(copy, status.st_uid, status.st_gid)
        return False
    return True


def link(target: str, path: str, attributes: Attributes) -> None:
    os.symlink(target, path)
    chown(path, attributes)


@contextmanager
def _created(path: Path, attributes: Attributes, kind: str) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        yield file
        if (attributes.uid, attributes.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, attributes.uid, attributes.gid)
        os.fchmod(descriptor, attributes.mode(kind))


def write_text(path: Path, text: str, attributes: Attributes) -> None:
    with _created(path, attributes, "f") as file:
        file.write(text.encode())


def own(descriptor: int, attributes: Attributes, mode: int) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (attributes.uid, attributes.gid):
        os.fchown(descriptor, attributes.uid, attributes.gid)
    os.fchmod(descriptor, mode)


def chown(path: str, attributes: Attributes) -> None:
    status = os.lstat(path)
    if (status.st_uid, status.st_gid) != (attributes.uid, attributes.gid):
        os.chown(path, attributes.uid, attributes.gid, follow_symlinks=False)
