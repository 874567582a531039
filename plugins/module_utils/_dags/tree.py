# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A tree of files as a release holds it: its entries, what may be among them, and what it is called. Pure."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import IO, NamedTuple

METADATA = ".release.json"
MANIFEST = ".release.manifest"
RESERVED = frozenset({METADATA, MANIFEST})
"""What the publisher writes into a release's root."""

ALWAYS_EXCLUDED = (".git", "__pycache__", "*.pyc")

LISTED_PROBLEMS = 50
"""Problems that a message names, so that it can be read when the wrong directory was given."""

CHUNK = 1 << 20
"""Bytes that are read at once of a content of any size."""

DEPTH = 200
"""Directories within one another: Python's own walks, such as Airflow's for DAGs, end at a thousand."""

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOTHING = r"(?!)"
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


def tree_hash(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 that names a tree: of its paths, kinds and contents, whatever their order, times and owners."""
    lines = [f"{kind} {digest} {path}\n" for path, kind, digest, _size, _target in sorted(entries)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_excluded(path: str, is_directory: bool, patterns: Iterable[str]) -> bool:
    """Whether one of the shell patterns covers a path.

    A pattern without a slash is for the last name of a path; one with a slash is for the whole path, and its `*` covers
    slashes too; one that ends in a slash is for directories.
    """
    names, paths = _patterns(tuple(patterns), is_directory)
    return names.match(path.rpartition("/")[2]) is not None or paths.match(path) is not None


@lru_cache(maxsize=64)
def _patterns(patterns: tuple[str, ...], is_directory: bool) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what covers a last name, and what covers a whole path: one pattern for all of them each."""
    bare = [pattern.rstrip("/") for pattern in patterns if is_directory or not pattern.endswith("/")]
    names = [translate(pattern) for pattern in bare if "/" not in pattern]
    paths = [translate(pattern.lstrip("/")) for pattern in bare if "/" in pattern]
    return re.compile("|".join(names or [_NOTHING])), re.compile("|".join(paths or [_NOTHING]))


def excluded_all(count: int) -> str:
    """Say, after "nothing is there", that `exclude` is why: it covers so many files, the only ones."""
    if not count:
        return ""
    return f": exclude covers {f'all {count} files that are' if count > 1 else 'the one file that is'} there"


def directories_of(paths: Iterable[str]) -> set[str]:
    """Return all directories that paths are beneath."""
    found: set[str] = set()
    for parent in {path.rpartition("/")[0] for path in paths}:
        directory = parent
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    return found


def check(entries: Iterable[Entry]) -> list[str]:
    """Say what is wrong with the entries' names and links, wherever they came from."""
    entries = list(entries)
    links = {entry.path: entry.target for entry in entries if entry.target is not None}
    files = {entry.path for entry in entries}
    problems = ["a path occurs twice"] if len(files) < len(entries) else []
    for entry in entries:
        problems += _wrong(entry, links)
    above = tuple(f"{path}/" for path in files & directories_of(files))
    if above:
        beneath = [entry.path for entry in entries if entry.path.startswith(above)]
        problems += [f"{path} is beneath something that is not a directory" for path in beneath]
    return problems


def _wrong(entry: Entry, links: Mapping[str, str]) -> Iterator[str]:
    path, kind, _digest, _size, target = entry
    parts = path.split("/")
    if not is_plain(path):
        yield f"{path!r} has a control character in its name, or is not UTF-8"
    if "" in parts or "." in parts or ".." in parts:
        yield f"{path!r} is not a plain relative path"
    if len(parts) > DEPTH:
        yield f"{path} is within more than {DEPTH} directories"
    if path in RESERVED:
        yield f"{path} is a name that a release keeps for itself"
    if kind not in ("f", "x", "l") or (kind == "l") != (target is not None):
        yield f"{path} is of an unknown kind"
    if target is not None:
        if target.startswith("/"):
            yield f"{path} is a link to the absolute path {target}"
        elif leaves(path, links):
            yield f"{path} is a link that climbs out of the source: {target}"


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
    while chunk := source.read(CHUNK):
        sha.update(chunk)
        destination.write(chunk)
    return sha.hexdigest() == digest


def special(mode: int) -> str:
    """Say what a mode stands for that is neither a file, a directory nor a link."""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something else")
