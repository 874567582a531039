# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Contents that came in some order, kept by their SHA-256 until they are written in another."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Protocol

from ansible_collections.airstack.backbone.plugins.module_utils._dags import parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted, write_file
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK, Entry, SourceProblems

USED_SHARE = 0.9
"""Of the room that is free when a spool is opened: whoever else works there keeps some."""


class Readable(Protocol):
    """A stream, such as a file or the body of an answer."""

    def read(self, size: int, /) -> bytes:
        """Return at most that many bytes, and none at the end."""


class WrongSize(ValueError):
    """A stream is shorter or longer than was said before."""


class Spool:
    """One file without a name, which is gone with this process however that ends; for many threads.

    It never grows past the room that it was given, whatever the streams turn out to be: a stream's size is claimed
    before it is read, and no more than that is written.
    """

    def __init__(self, file: int, directory: str, room: int) -> None:
        self._file = file
        self._directory = directory
        self._room = room
        self._end = 0
        self._lock = Lock()
        self._places: dict[str, tuple[int, int]] = {}

    def require(self, size: int) -> None:
        """Raise `SourceProblems` where there is no room for that many bytes besides what is there."""
        if size > self._room - self._end:
            needed, room = mebibytes(size + self._end), mebibytes(self._room)
            why = (
                f"the contents need {needed}, and {self._directory}, where they are kept meanwhile, has room for {room}"
            )
            raise SourceProblems([f"{why}. Make room, or name another directory for it."])

    def add(self, stream: Readable, size: int) -> str:
        """Keep what a stream holds, and return its SHA-256.

        :param size: in bytes
        :raises WrongSize: the stream is of another one
        :raises SourceProblems: there is no room for it
        """
        with self._lock:
            self.require(size)
            start = self._end
            self._end += size
        try:
            digest = self._copy(stream, start, size)
        except BaseException:
            self._give_back(start, size)
            raise
        with self._lock:
            is_new = self._places.setdefault(digest, (start, size)) == (start, size)
        if not is_new:
            self._give_back(start, size)
        return digest

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def open(self, digest: str) -> IO[bytes]:
        """Return a content to read, of which there may be many at once."""
        return io.BufferedReader(_Part(self._file, *self._places[digest]))

    def _copy(self, stream: Readable, start: int, size: int) -> str:
        sha, copied = hashlib.sha256(), 0
        while chunk := stream.read(min(CHUNK, size - copied + 1)):
            if copied + len(chunk) > size:
                raise WrongSize(f"more than {size} bytes")
            sha.update(chunk)
            self._put(chunk, start + copied)
            copied += len(chunk)
        if copied < size:
            raise WrongSize(f"{copied} of {size} bytes")
        return sha.hexdigest()

    def _put(self, chunk: bytes, offset: int) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                put = os.pwrite(self._file, rest, offset)
                rest, offset = rest[put:], offset + put
        except OSError as error:
            raise SourceProblems([f"{self._directory} cannot take the contents: {error.strerror}"]) from None

    def _give_back(self, start: int, size: int) -> None:
        with self._lock:
            if start + size == self._end:
                self._end = start


@contextmanager
def spooled(scratch: Path | None) -> Iterator[Spool]:
    """Make a spool in a directory; where none is given, in the system's for temporary files.

    :raises SourceProblems: nothing can be written there
    """
    directory = str(scratch or tempfile.gettempdir())
    try:
        file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115  # closed below, and only there
    except OSError as error:
        raise SourceProblems([f"{directory} cannot be written to: {error.strerror}"]) from None
    with file:
        free = os.fstatvfs(file.fileno())
        yield Spool(file.fileno(), directory, int(free.f_bavail * free.f_frsize * USED_SHARE))


@dataclass(frozen=True)
class SpooledContent:
    """Entries whose files' contents are all in a spool."""

    entries: Sequence[Entry]
    spool: Spool
    marks: Mapping[str, str] = field(default_factory=dict)

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Copy in parallel."""
        missing = [each.entry.path for digest in wanted if digest not in self.spool for each in wanted[digest]]
        if missing:
            raise SourceProblems([f"the content of {path} is not what was read before" for path in sorted(missing)])

        def copy(each: Wanted) -> int:
            with self.spool.open(each.entry.digest) as source:
                write_file(each, source, attributes)
            return each.entry.size

        return sum(parallel.each(pool, copy, [each for places in wanted.values() for each in places]))

    def read(self, entry: Entry) -> bytes | None:
        """Return a file's content."""
        if entry.digest not in self.spool:
            return None
        with self.spool.open(entry.digest) as source:
            return source.read()


def mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


class _Part(io.RawIOBase):
    """A part of a file, read independently of every other."""

    def __init__(self, file: int, start: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        left = max(0, self._size - self._position)
        read = os.preadv(self._file, [memoryview(buffer)[:left]], self._start + self._position)
        self._position += read
        return read
