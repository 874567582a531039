# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""An archive into entries and contents: what of it may be published, and everything that may not be."""

from __future__ import annotations

import hashlib
import stat
from typing import IO

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.members import (
    COPY,
    DIRECTORY,
    FILE,
    LINK,
    TARGET_BYTES,
    Member,
    members,
    readable,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import (
    FILES,
    Selection,
    misplaced,
    nothing_to_publish,
    shown,
    unfit,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.spool import Spool
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry, SourceProblems, check, is_plain


def unpack(file: IO[bytes], name: str, selection: Selection, spool: Spool) -> list[Entry]:
    """Read an archive once, its files' contents into a spool, and return its entries in order of their paths.

    :param file: at its beginning, and seekable
    :param name: of the archive, in messages
    :raises SourceProblems: with everything that keeps it from being published
    """
    reading = _Reading(selection, spool)
    with readable(name):
        for count, member in enumerate(members(file, name), start=1):
            if count > FILES:
                raise SourceProblems([f"{name} has more than {FILES} members"])
            reading.take(member)
    entries = sorted(reading.entries.values())
    problems = [*reading.problems, *reading.conflicts(), *check(entries)]
    if not entries and not problems:
        problems.append(nothing_to_publish(name, selection, reading.tops, selection.covered))
    if problems:
        raise SourceProblems(problems)
    return entries


class _Reading:
    """What has been read of an archive.

    entries: by path in the release.
    tops: the directories at the top of the archive, published or not.
    """

    def __init__(self, selection: Selection, spool: Spool) -> None:
        self.entries: dict[str, Entry] = {}
        self.problems: list[str] = []
        self.tops: set[str] = set()
        self._directories: set[str] = set()
        self._selection = selection
        self._spool = spool

    def take(self, member: Member) -> None:
        name = member.name[2:] if member.name.startswith("./") else member.name
        if member.kind == DIRECTORY:
            name = name.rstrip("/") if name.strip("/") else name
            if name in ("", "."):
                return
        problem = misplaced(name)
        if problem:
            self.problems.append(problem)
            return
        if member.kind == DIRECTORY or "/" in name:
            self.tops.add(name.split("/")[0])
        path = self._selection.place(name, member.kind == DIRECTORY)
        if path is None:
            return
        if member.kind == DIRECTORY:
            self._directories.add(path)
            return
        problem = unfit(path) or self._refusal(path, member)
        if problem:
            self.problems.append(problem)
        elif member.kind == FILE:
            digest = self._spool.add(member.open(), member.size)
            self.entries[path] = Entry(path, "x" if member.mode & stat.S_IXUSR else "f", digest, member.size)
        elif member.kind == COPY:
            original = self._original(member)
            if original:
                self.entries[path] = original._replace(path=path)
        else:
            data = member.target.encode()
            self.entries[path] = Entry(path, "l", hashlib.sha256(data).hexdigest(), len(data), member.target)

    def conflicts(self) -> list[str]:
        """Say what is a directory and something else too."""
        problems = []
        for directory in sorted(self._directories):
            parts = directory.split("/")
            above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
            if directory in self.entries:
                problems.append(f"{shown(directory)} is a directory and something else too")
            elif any(each in self.entries for each in above):
                problems.append(f"{shown(directory)} is beneath something that is not a directory")
        return problems

    def _refusal(self, path: str, member: Member) -> str | None:
        if path in self.entries:
            return f"{path} is there twice"
        if member.kind == LINK:
            if not is_plain(member.target):
                return f"{path} is a link to {member.target!r}, which holds a control character, or is not UTF-8"
            if not 0 < len(member.target.encode()) <= TARGET_BYTES:
                return f"{path} is a link whose target has not 1 to {TARGET_BYTES} bytes"
            return None
        if member.kind not in (FILE, COPY):
            return f"{path} is {member.kind}"
        if member.kind == COPY and self._original(member) is None:
            return f"{path} is a hard link to {shown(member.target)}, which is no file that comes before it and is published"
        if member.mode & stat.S_ISUID:
            return f"{path} has the setuid bit"
        if member.mode & stat.S_ISGID:
            return f"{path} has the setgid bit"
        return None

    def _original(self, copy: Member) -> Entry | None:
        """Return the file that a hard link leads to, if it was read before."""
        name = copy.target[2:] if copy.target.startswith("./") else copy.target
        path = self._selection.place(name)
        found = self.entries.get(path) if path is not None else None
        return found if found and found.target is None else None
