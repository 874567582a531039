# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A DAG source's content: what is in a directory, whether it may be published, what it is called, and how it travels.

Runs on the controller and on managed hosts. Nothing here writes, except `pack` into the file that it is given.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pwd
import re
import socket
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, NamedTuple

METADATA = ".release.json"
MANIFEST = ".release.manifest"
RESERVED = frozenset({METADATA, MANIFEST})
"""What the publisher writes into a release's root."""

ALWAYS_EXCLUDED = (".git", "__pycache__", "*.pyc")

RELEASE_NAME_LENGTH = 16
"""Hexadecimal digits of the tree hash: 64 bits, for the few releases that one source ever has."""

THREADS = 16
"""A network filesystem answers one call in milliseconds, and many at the same time."""

LISTED_PROBLEMS = 50
"""Problems that a message names, so that it can be read when the wrong directory was given."""

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CHUNK = 1 << 20
_LINKS_FOLLOWED = 40  # as Linux does (path_resolution(7)); a longer chain cannot be followed by anybody


class SourceProblems(Exception):
    """The content cannot be published; `problems` says all that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class NotSent(SourceProblems):
    """A release that the sender was told of is no longer current, and its contents are needed now."""


class Entry(NamedTuple):
    """One file or symbolic link of a tree.

    `path` is relative, with slashes. `kind` is `f` (file), `x` (executable file) or `l` (symbolic link). `digest` is the
    SHA-256 of the content, or of the link's target, which `target` holds (None for files). `size` is in bytes.
    """

    path: str
    kind: str
    digest: str
    size: int
    target: str | None = None

    @property
    def content(self) -> tuple[str, str]:
        """What two files have to have in common to be one file on disk."""
        return self.digest, self.kind


def refusal(source: str, problems: Sequence[str]) -> str:
    """Return one message of everything that keeps a source from being published."""
    listed = [f"- {problem}" for problem in problems[:LISTED_PROBLEMS]]
    if len(problems) > LISTED_PROBLEMS:
        listed.append(f"- and {len(problems) - LISTED_PROBLEMS} more")
    return "\n".join([f"Source '{source}' cannot be published:", *listed])


def identity() -> str:
    """Return `user@host` of this process."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def directory_to_publish(src: Path, subdirectory: str | None) -> Path:
    """Return the directory whose content is the source, its own links resolved.

    :raises SourceProblems: it is not a directory, or the subdirectory is outside of it
    """
    try:
        top = src.resolve()
        root = (top / subdirectory).resolve() if subdirectory else top
        if not top.is_dir():
            raise SourceProblems([f"{src} is not a directory"])
        if root != top and top not in root.parents:
            raise SourceProblems([f"the subdirectory {subdirectory} is outside of {src}"])
        if not root.is_dir():
            raise SourceProblems([f"{src} has no directory {subdirectory}"])
    except (OSError, RuntimeError, ValueError) as error:  # the last two: links that go in circles, a NUL in a path
        path = f"{src}/{subdirectory}" if subdirectory else str(src)
        raise SourceProblems([f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    return root


def tree_hash(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 that names a tree: of its paths, kinds and contents, whatever their order, times and owners."""
    tree = hashlib.sha256()
    for entry in sorted(entries):
        tree.update(f"{entry.kind} {entry.digest} {entry.path}\n".encode())
    return tree.hexdigest()


def release_name(tree: str) -> str:
    return tree[:RELEASE_NAME_LENGTH]


def scan(root: Path, exclude: Sequence[str] = ()) -> list[Entry]:
    """Read a directory into entries, sorted by path. Empty directories leave no trace.

    :param exclude: patterns besides `ALWAYS_EXCLUDED`; see `is_excluded`
    :raises SourceProblems: with everything that keeps the directory from being published
    """
    problems: list[str] = []
    found = sorted(_walk(root, (*ALWAYS_EXCLUDED, *exclude), problems))
    with ThreadPoolExecutor(THREADS) as pool:
        read = list(pool.map(lambda each: _read(root, *each), found))
    entries = [each for each in read if isinstance(each, Entry)]
    problems += [each for each in read if isinstance(each, str)]
    problems += check(entries)
    if not found and not problems:
        problems.append(f"{root} holds no file to publish")
    if problems:
        raise SourceProblems(problems)
    return entries


def is_excluded(path: str, is_directory: bool, patterns: Iterable[str]) -> bool:
    """Whether one of the shell patterns covers a path.

    A pattern without a slash is for the last name of a path; one with a slash is for the whole path, and its `*` covers
    slashes too; one that ends in a slash is for directories.
    """
    name = path.rsplit("/", 1)[-1]
    for pattern in patterns:
        bare = pattern.rstrip("/")
        if pattern.endswith("/") and not is_directory:
            continue
        if fnmatchcase(path, bare.lstrip("/")) if "/" in bare else fnmatchcase(name, bare):
            return True
    return False


def check(entries: Iterable[Entry]) -> list[str]:
    """Say what is wrong with the entries' names and links, wherever they came from."""
    problems = []
    entries = list(entries)
    links = {entry.path: entry.target for entry in entries if entry.target is not None}
    files = {entry.path for entry in entries}
    if len(files) < len(entries):
        problems.append("a path occurs twice")
    for entry in entries:
        parts = entry.path.split("/")
        if not is_plain(entry.path):
            problems.append(f"{entry.path!r} has a control character in its name, or is not UTF-8")
        if any(part in ("", ".", "..") for part in parts):
            problems.append(f"{entry.path!r} is not a plain relative path")
        if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
            problems.append(f"{entry.path} is beneath something that is not a directory")
        if entry.path in RESERVED:
            problems.append(f"{entry.path} is a name that a release keeps for itself")
        if entry.kind not in ("f", "x", "l") or (entry.kind == "l") != (entry.target is not None):
            problems.append(f"{entry.path} is of an unknown kind")
        if entry.target is not None:
            if entry.target.startswith("/"):
                problems.append(f"{entry.path} is a link to the absolute path {entry.target}")
            elif leaves(entry.path, links):
                problems.append(f"{entry.path} is a link that climbs out of the source: {entry.target}")
    return problems


def is_plain(name: str) -> bool:
    """Whether a name holds neither control characters, nor line breaks of any kind, nor anything that is not UTF-8.

    Python carries bytes that are not UTF-8 as lone surrogates.
    """
    return not _UNFIT.search(name)


def leaves(link: str, links: Mapping[str, str]) -> bool:
    """Whether following a link leaves the tree, at any step and by way of whatever other links of the tree."""
    position = link.split("/")[:-1]
    ahead = links[link].split("/")[::-1]
    followed = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            if not position:
                return True
            position.pop()
        elif part not in ("", "."):
            position.append(part)
            target = links.get("/".join(position))
            if target is not None:
                followed += 1
                if target.startswith("/"):
                    return True
                if followed > _LINKS_FOLLOWED:
                    return False
                position.pop()
                ahead.extend(target.split("/")[::-1])
    return False


def copy_checked(source: IO[bytes], destination: IO[bytes], digest: str) -> bool:
    """Copy a stream. False: it is not what the digest says, since it changed after it was read first."""
    sha = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        sha.update(chunk)
        destination.write(chunk)
    return sha.hexdigest() == digest


def pack(root: Path, entries: Sequence[Entry], digests: Iterable[str], file: IO[bytes]) -> None:
    """Write the manifest and the files' contents with these digests, each once, compressed.

    :raises SourceProblems: a file changed or went away after it was read first
    :raises OSError: it could not be written
    """
    first = {entry.digest: entry for entry in reversed(entries) if entry.kind != "l"}
    with tarfile.open(fileobj=file, mode="w|gz", compresslevel=1, format=tarfile.PAX_FORMAT) as archive:
        manifest = json.dumps(entries).encode()
        member = tarfile.TarInfo("manifest")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
        for digest in sorted(set(digests)):
            entry = first[digest]
            try:
                data = (root / entry.path).read_bytes()
            except OSError as error:
                raise SourceProblems([f"{entry.path} cannot be read: {error.strerror}; publish again"]) from None
            if hashlib.sha256(data).hexdigest() != digest:
                raise SourceProblems([f"{entry.path} changed while it was read; publish again"])
            member = tarfile.TarInfo(digest)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


class Packed:
    """What `pack` wrote, read once and in order, while `whole`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = tarfile.open(fileobj=file, mode="r|gz")  # noqa: SIM115  # the caller owns the file
        manifest = self._archive.next()
        content = self._archive.extractfile(manifest) if manifest and manifest.name == "manifest" else None
        if content is None:
            raise SourceProblems(["the packed source does not begin with its manifest"])
        try:
            self.entries = [_entry(*fields) for fields in json.load(content)]
        except (TypeError, ValueError) as error:
            raise SourceProblems([f"the packed source's manifest is broken ({error}); publish again"]) from None

    def contents(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield each digest with its content, to be read before the next."""
        while member := self._archive.next():
            content = self._archive.extractfile(member)
            if content is not None:
                yield member.name, content


@contextmanager
def whole() -> Iterator[None]:
    """Refuse a packed source that turns out to be broken.

    :raises SourceProblems: instead of what tarfile raises
    """
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceProblems([f"the packed source is broken ({error}); publish again"]) from None


def _entry(path: object, kind: object, digest: object, size: object, target: object = None) -> Entry:
    if (
        isinstance(path, str)
        and isinstance(kind, str)
        and isinstance(digest, str)
        and isinstance(size, int)
        and (target is None or isinstance(target, str))
    ):
        return Entry(path, kind, digest, size, target)
    raise TypeError("an entry's fields are of other types")


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
        if not stat.S_ISREG(status.st_mode):
            return f"{path} is {_special(status.st_mode)}, neither a file nor a link"
        sha, size = hashlib.sha256(), 0
        with (root / path).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
                size += len(chunk)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return Entry(path, "x" if status.st_mode & stat.S_IXUSR else "f", sha.hexdigest(), size)


def _special(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something else")
