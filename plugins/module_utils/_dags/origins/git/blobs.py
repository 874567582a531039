# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Contents out of git's own storage."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import CacheBroken
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.process import Git, stop
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK

_BATCH = (
    50  # names of 41 bytes that are asked for at once: they fit into the smallest pipe, so that git never waits for us
)


class Blob(NamedTuple):
    """A blob's name, its size in bytes, and its content, which is to be read before the next blob's."""

    name: str
    size: int
    content: IO[bytes]


class Blobs:
    """The contents of a repository's blobs, by one process of git that is asked for one after the other."""

    def __init__(self, git: Git, directory: Path) -> None:
        self._git = git
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, names: Iterable[str]) -> Iterator[Blob]:
        """Yield each blob, in the order of the names.

        :raises CacheBroken: one is not there, or not whole
        """
        process = self._process or self._git.start(
            self._directory, ["cat-file", "--batch"], subprocess.PIPE, subprocess.DEVNULL
        )
        self._process = None
        is_in_order = False
        try:
            yield from self._asked(process, names)
            is_in_order = True
        finally:
            if is_in_order:
                self._process = process
            else:
                stop(process)

    def _asked(self, process: subprocess.Popen[bytes], names: Iterable[str]) -> Iterator[Blob]:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process was started without its pipes")
        ahead = iter(names)
        while batch := list(itertools.islice(ahead, _BATCH)):
            try:
                process.stdin.write("".join(f"{name}\n" for name in batch).encode())
                process.stdin.flush()
            except BrokenPipeError:
                raise self._broken(batch[0]) from None
            for name in batch:
                blob = self._answer(name, process.stdout)
                yield blob
                while blob.content.read(CHUNK):
                    pass
                process.stdout.read(1)  # the line break after each

    def _answer(self, name: str, stream: IO[bytes]) -> Blob:
        found = re.fullmatch(rb"[0-9a-f]+ blob ([0-9]+)\n", stream.readline())
        if found is None:
            raise self._broken(name)
        size = int(found[1])
        if size > CHUNK:
            return Blob(name, size, io.BufferedReader(_Part(stream, size, lambda: self._broken(name)), CHUNK))
        data = stream.read(size)
        if len(data) < size:
            raise self._broken(name)
        return Blob(name, size, io.BytesIO(data))

    def _broken(self, name: str) -> CacheBroken:
        return CacheBroken(self._directory, f"lacks the blob {name}")

    def close(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None


class _Part(io.RawIOBase):
    """The next bytes of a stream."""

    def __init__(self, stream: IO[bytes], size: int, broken: Callable[[], CacheBroken]) -> None:
        self._stream = stream
        self._left = size
        self._broken = broken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a buffer of any type
        data = self._stream.read(min(len(buffer), self._left))
        if self._left and not data:
            raise self._broken()
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
