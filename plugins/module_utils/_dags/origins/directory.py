# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A directory of the host that this runs on, as an origin."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ansible_collections.airstack.backbone.plugins.module_utils._dags import parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import (
    Attributes,
    Wanted,
    write_file,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    ALWAYS_EXCLUDED,
    CHUNK,
    Entry,
    SourceProblems,
    check,
    excluded_all,
    is_excluded,
    is_plain,
    special,
)


@dataclass(frozen=True)
class DirectoryOrigin:
    """A directory, or a subdirectory of it, without what `exclude` covers (`tree.is_excluded`).

    searched: what to say after "is not a directory" of where it was looked for.
    """

    path: Path
    subdirectory: str | None = None
    exclude: Sequence[str] = ()
    searched: str = ""

    def revision(self) -> None:
        """Return None: no directory tells what is in it."""

    @contextmanager
    def open(self, before: Before) -> Iterator[DirectoryContent]:
        """Read all of it."""
        root = directory_to_publish(self.path, self.subdirectory, self.searched)
        yield DirectoryContent(root, scan(root, self.exclude))


@dataclass(frozen=True)
class DirectoryContent:
    """What was found in a directory, read again when it is written."""

    root: Path
    entries: Sequence[Entry]
    marks: Mapping[str, str] = field(default_factory=dict)

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Copy in parallel."""

        def copy(each: Wanted) -> int:
            try:
                source = open_file(self.root, each.entry.path)
            except OSError as error:
                raise SourceProblems([f"{each.entry.path} cannot be read: {error.strerror}"]) from None
            with source:
                write_file(each, source, attributes)
            return each.entry.size

        return sum(parallel.each(pool, copy, [each for places in wanted.values() for each in places]))

    def read(self, entry: Entry) -> bytes:
        """Return a file's content."""
        with open_file(self.root, entry.path) as file:
            return file.read()


def open_file(root: Path, path: str) -> IO[bytes]:
    """Open a file that is beneath a directory, of which somebody else may make a link or a pipe at this moment.

    :param root: with its own links resolved
    :raises OSError: it cannot be opened, or is somewhere else
    """
    descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = open(descriptor, "rb", buffering=0)  # noqa: SIM115  # the caller closes it
    is_itself = os.readlink(f"/proc/self/fd/{descriptor}") == f"{root}/{path}".replace("//", "/")
    if is_itself and stat.S_ISREG(os.fstat(descriptor).st_mode):
        return file
    file.close()
    raise OSError(errno.ESTALE, "it changed while it was read; publish again", path)


def directory_to_publish(src: Path, subdirectory: str | None, searched: str = "") -> Path:
    """Return the directory whose content is the source, its own links resolved.

    :param searched: see `DirectoryOrigin`
    :raises SourceProblems: it is not a directory, or the subdirectory is outside of it
    """
    try:
        top = src.resolve()
        root = (top / subdirectory).resolve() if subdirectory else top
        if not top.is_dir():
            raise SourceProblems([f"{src} is not a directory{searched}"])
        if root != top and top not in root.parents:
            raise SourceProblems([f"the subdirectory {subdirectory} is outside of {src}"])
        if not root.is_dir():
            raise SourceProblems([f"{src} has no directory {subdirectory}"])
    except (OSError, RuntimeError, ValueError) as error:  # the last two: links that go in circles, a NUL in a path
        path = f"{src}/{subdirectory}" if subdirectory else str(src)
        raise SourceProblems([f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    return root


def scan(root: Path, exclude: Sequence[str] = ()) -> list[Entry]:
    """Read a directory into entries, sorted by path. Empty directories leave no trace.

    :param exclude: patterns besides `ALWAYS_EXCLUDED`; see `is_excluded`
    :raises SourceProblems: with everything that keeps the directory from being published
    """
    problems: list[str] = []
    found = sorted(_walk(root, (*ALWAYS_EXCLUDED, *exclude), problems))
    with ThreadPoolExecutor(parallel.THREADS) as pool:
        read = parallel.each(pool, lambda each: _read(root, *each), found)
    entries = [each for each in read if isinstance(each, Entry)]
    problems += [each for each in read if isinstance(each, str)]
    problems += check(entries)
    if not found and not problems:
        covered = sum(1 for _file in _walk(root, ALWAYS_EXCLUDED, problems)) if exclude else 0
        problems.append(f"{root} holds no file to publish{excluded_all(covered)}")
    if problems:
        raise SourceProblems(problems)
    return entries


def _walk(root: Path, patterns: Sequence[str], problems: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the relative path and status of everything that is not a directory and not excluded."""
    ahead = [""]
    while ahead:
        directory = ahead.pop()
        try:
            with os.scandir(root / directory) as found:
                for each in found:
                    path = f"{directory}/{each.name}" if directory else each.name
                    is_directory = each.is_dir(follow_symlinks=False)
                    if is_excluded(path, is_directory, patterns):
                        continue
                    if is_directory:
                        ahead.append(path)
                    else:
                        yield path, each.stat(follow_symlinks=False)
        except OSError as error:
            problems.append(f"{directory or root} cannot be read: {error.strerror}")


def _read(root: Path, path: str, status: os.stat_result) -> Entry | str:
    """Return the entry, or what is wrong with it."""
    if not is_plain(path):
        return f"{path!r} has a control character in its name, or is not UTF-8"
    try:
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(root / path)
            if not is_plain(target):
                return f"{path} is a link to {target!r}, which holds a control character, or is not UTF-8"
            data = target.encode()
            return Entry(path, "l", hashlib.sha256(data).hexdigest(), len(data), target)
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            return f"{path} has the setuid or setgid bit"
        if not stat.S_ISREG(status.st_mode):
            return f"{path} is {special(status.st_mode)}, neither a file nor a link"
        sha, size = hashlib.sha256(), 0
        with open_file(root, path) as file:
            while chunk := file.read(CHUNK):
                sha.update(chunk)
                size += len(chunk)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return Entry(path, "x" if status.st_mode & stat.S_IXUSR else "f", sha.hexdigest(), size)
