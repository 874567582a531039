# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The content of a git commit, streamed out of git's own storage: nothing is checked out, and no filter runs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted, write_stream
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.blobs import Blob
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.cache import (
    ABSENT,
    Change,
    Repository,
    mark_broken,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import CacheBroken
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.lfs import (
    POINTER_SIZE,
    Pointer,
    fetched,
    read_pointer,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.modules import File
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.process import GitFor
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before, Known
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import misplaced, unfit
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    CHUNK,
    Entry,
    SourceProblems,
    check,
    is_plain,
)

_LINK = "120000"
_PLAIN = "100644"
_EXECUTABLE = "100755"
_FILES = {_PLAIN, _EXECUTABLE}
_LINK_SIZE = 4095  # bytes of a path (PATH_MAX less its end, limits.h): a link to a longer one cannot be made


@dataclass(frozen=True)
class Streams:
    """Contents out of git's storage.

    git_for: where large files are published, git with what opens an address; None where their pointers are.
    """

    git_for: GitFor | None

    def mark(self, file: File) -> str:
        """Return what tells a content: its blob, and whether the content is another where that blob is a pointer."""
        return f"{file.blob} lfs" if self.git_for else file.blob

    def of(self, files: Iterable[File]) -> Generator[tuple[File, Blob], None, None]:
        """Yield each file with its content, which is to be read before the next; of several with one blob, the first.

        :raises CacheBroken: one is not in the storage as it should be
        :raises SourceProblems: the content of a large file cannot be had
        """
        repositories: dict[str, dict[str, File]] = {}
        for file in files:
            repositories.setdefault(str(file.repository.path), {}).setdefault(file.blob, file)
        for blobs in repositories.values():
            pointers: dict[str, Pointer] = {}
            repository, *_same = (file.repository for file in blobs.values())
            for blob in repository.blobs.read(blobs):
                file = blobs[blob.name]
                if self.git_for is None or file.mode == _LINK or blob.size >= POINTER_SIZE:
                    yield file, blob
                    continue
                data = blob.content.read()
                pointer = read_pointer(data)
                if pointer is None:
                    yield file, blob._replace(content=io.BytesIO(data))
                else:
                    pointers[blob.name] = pointer
            if pointers and self.git_for:
                places = fetched(repository, pointers, {name: blobs[name].path for name in pointers}, self.git_for)
                for name, place in places.items():
                    with place.open("rb") as large:
                        yield blobs[name], Blob(name, pointers[name].size, large)


@dataclass(frozen=True)
class GitContent:
    """The files and links of a commit. A file's mark is the name of its blob, as `Streams.mark` has it.

    file: gives the file of a path.
    """

    entries: Sequence[Entry]
    marks: Mapping[str, str]
    file: Callable[[str], File]
    streams: Streams

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Read the wanted contents once more, and write them in parallel."""
        digests = {places[0].entry.path: digest for digest, places in wanted.items()}
        try:
            with closing(self.streams.of(self.file(path) for path in digests)) as contents:
                named = ((digests[file.path], blob.content) for file, blob in contents)
                written, missing = write_stream(pool, wanted, named, attributes)
        except CacheBroken as broken:
            mark_broken(broken.directory)
            raise SourceProblems([f"{broken}; it is made anew when you publish again"]) from None
        if missing:
            paths = sorted(each.entry.path for digest in missing for each in wanted[digest])
            raise SourceProblems([f"the content of {path} was not found again; publish again" for path in paths])
        return written

    def read(self, entry: Entry) -> bytes:
        """Return a file's content, or a link's target."""
        if entry.target is not None:
            return entry.target.encode("utf-8", "surrogateescape")
        [data] = [blob.content.read() for _file, blob in self.streams.of([self.file(entry.path)])]
        return data


def read_content(
    files: Sequence[File], known: Mapping[str, Known], streams: Streams, problems: Sequence[str]
) -> GitContent:
    """Read what is published, but for the contents that are known by their marks.

    :param problems: what is wrong already
    :raises SourceProblems: with everything that keeps it from being published
    :raises CacheBroken: the storage cannot be read
    """
    problems = list(problems)
    fit = []
    for file in files:
        problem = misplaced(file.path) or unfit(file.path)
        if problem:
            problems.append(problem)
        else:
            fit.append(file)
    fit.sort(key=lambda file: file.path)
    plain = [file for file in fit if file.mode != _LINK]
    marks = {file.path: streams.mark(file) for file in plain}
    targets = _targets([file for file in fit if file.mode == _LINK], streams)
    try:
        contents = _contents(plain, marks, known, streams)
    except CacheBroken:
        raise
    except SourceProblems as error:
        raise SourceProblems([*problems, *error.problems]) from None
    entries = []
    for file in fit:
        if file.mode != _LINK:
            kind = "x" if int(file.mode, 8) & 0o100 else "f"
            entries.append(Entry(file.path, kind, *contents[marks[file.path]]))
            continue
        data = targets[file.blob]
        target = data.decode("utf-8", "surrogateescape")
        if len(data) > _LINK_SIZE:
            problems.append(f"{file.path} is a link to a path of more than {_LINK_SIZE} bytes, which none can be")
        elif is_plain(target):
            entries.append(Entry(file.path, "l", hashlib.sha256(data).hexdigest(), len(data), target))
        else:
            what = f"{target!r}, which holds a control character, or is not UTF-8"
            problems.append(f"{file.path} is a link to {what}")
    problems += check(entries)
    if problems:
        raise SourceProblems(problems)
    return GitContent(entries, marks, {file.path: file for file in fit}.__getitem__, streams)


def changed_content(repository: Repository, changes: Sequence[Change], before: Before, streams: Streams) -> GitContent:
    """Read what is published now of a commit of which only this is different from what was published before.

    :raises SourceProblems: with everything that keeps it from being published
    :raises CacheBroken: the storage cannot be read
    """
    there = [change.item for change in changes if change.item.mode != ABSENT]
    files = [File(item.path, item.mode, item.name, repository) for item in there]
    known = before.known_among({streams.mark(file) for file in files if file.mode != _LINK})
    new = read_content(files, known, streams, [])
    touched = {change.item.path for change in changes}
    entries = [entry for entry in before.entries if entry.path not in touched]
    entries = sorted([*entries, *new.entries], key=lambda entry: entry.path)
    is_same_shape = all({change.before, change.item.mode} <= _FILES for change in changes)
    problems = [] if is_same_shape else check(entries)
    if problems:
        raise SourceProblems(problems)
    kinds = {entry.path: entry.kind for entry in entries}
    marks = {**{path: mark for path, mark in before.marks.items() if path not in touched}, **new.marks}

    def file(path: str) -> File:
        mode = _EXECUTABLE if kinds[path] == "x" else _PLAIN
        return File(path, mode, marks[path].split(" ")[0], repository)

    return GitContent(entries, marks, file, streams)


def _targets(links: Sequence[File], streams: Streams) -> dict[str, bytes]:
    """Return what the blobs of links hold: of one that is too long, so much that it shows."""
    return {file.blob: blob.content.read(_LINK_SIZE + 1) for file, blob in streams.of(links)}


def _contents(
    files: Sequence[File], marks: Mapping[str, str], known: Mapping[str, Known], streams: Streams
) -> dict[str, Known]:
    """Return digests and sizes by mark; `marks` has those by path."""
    found = {}
    unread = []
    for file in files:
        mark = marks[file.path]
        if mark in known:
            found[mark] = known[mark]
        else:
            unread.append(file)
    for file, blob in streams.of(unread):
        sha, size = hashlib.sha256(), 0
        while chunk := blob.content.read(CHUNK):
            sha.update(chunk)
            size += len(chunk)
        found[marks[file.path]] = Known(sha.hexdigest(), size)
    return found
