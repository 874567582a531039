# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which names of an archive or of a bucket are published, and which can be. Pure.

Nothing in such a place keeps a name from being anything at all, as a filesystem does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    ALWAYS_EXCLUDED,
    SourceProblems,
    excluded_all,
    is_excluded,
    is_plain,
)

NAME_BYTES = 255
PATH_BYTES = 4096
"""What Linux takes for one name and for a whole path: NAME_MAX and PATH_MAX of limits.h."""

FILES = 1_000_000
"""A hundred times as many as the largest DAG sources have: more is the wrong archive or bucket, and takes memory."""

LISTED_NAMES = 10
"""Names that a message offers where one is not there."""


@dataclass(frozen=True)
class Selection:
    """A subdirectory, or everything where there is none, without what `exclude` covers (`tree.is_excluded`).

    prefix: what the names of the subdirectory begin with: empty, or with a slash at its end.
    """

    prefix: str = ""
    exclude: Sequence[str] = ()
    _pruned: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    _passed_over: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def subdirectory(self) -> str | None:
        return self.prefix.rstrip("/") or None

    def place(self, name: str, is_directory: bool = False) -> str | None:
        """Return the path in the release of what has this name, or None where it is not published."""
        path = name[len(self.prefix) :]
        if not name.startswith(self.prefix):
            return None
        if not self._is_pruned(path.rpartition("/")[0]) and not is_excluded(path, is_directory, self._patterns):
            return path
        if self.exclude and not is_directory:
            self._passed_over.append(path)
        return None

    @property
    def covered(self) -> int:
        """How many of the files that were asked for would be published if there were no `exclude`."""
        without = Selection()
        return sum(without.place(path) is not None for path in self._passed_over)

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (*ALWAYS_EXCLUDED, *self.exclude)

    def _is_pruned(self, directory: str) -> bool:
        """Whether a directory, or one that it is beneath, is excluded."""
        if directory not in self._pruned:
            parts = directory.split("/") if directory else []
            above = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            self._pruned[directory] = any(is_excluded(each, True, self._patterns) for each in above)
        return self._pruned[directory]


def select(where: str, subdirectory: str | None, exclude: Sequence[str]) -> Selection:
    """Return what to publish of the archive or bucket `where`.

    :raises SourceProblems: the subdirectory is outside of it
    """
    parts = [part for part in (subdirectory or "").split("/") if part not in ("", ".")]
    if (subdirectory or "").startswith("/") or ".." in parts or not is_plain(subdirectory or ""):
        raise SourceProblems([f"the subdirectory {shown(subdirectory or '')} is outside of {where}"])
    return Selection("".join(f"{part}/" for part in parts), tuple(exclude))


def misplaced(name: str) -> str | None:
    """Say why nobody can tell where a name belongs, or return None."""
    parts = name.split("/")
    if len(name) > PATH_BYTES:
        return f"{name[:NAME_BYTES]!r}... is a name of more than {PATH_BYTES} bytes"
    if name.startswith("/"):
        return f"{shown(name)} is an absolute path"
    if ".." in parts:
        return f"{shown(name)} is a path that climbs"
    if "" in parts or "." in parts:
        return f"{name!r} is not a plain relative path"
    return None


def unfit(path: str) -> str | None:
    """Say why a release cannot hold a file of this name, or return None."""
    if not is_plain(path):
        return f"{path!r} has a control character in its name, or is not UTF-8"
    if len(path.encode()) > NAME_BYTES and any(len(part.encode()) > NAME_BYTES for part in path.split("/")):
        return f"{path} has a name of more than {NAME_BYTES} bytes"
    return None


def nothing_to_publish(where: str, selection: Selection, tops: Iterable[str], covered: int) -> str:
    """Say that nothing was found in `where`, and why: `exclude`, or which directories there are at its top.

    :param covered: how many files `exclude` covers
    """
    missing = f"has no file in {selection.subdirectory}" if selection.prefix else "holds no file to publish"
    if covered:
        return f"{where} {missing}{excluded_all(covered)}"
    there = sorted({shown(top) for top in tops})
    listed = ", ".join([*there[:LISTED_NAMES], *(["..."] if len(there) > LISTED_NAMES else [])])
    return f"{where} {missing}{f'; at its top there is {listed}' if there else ''}"


def shown(name: str) -> str:
    """Return a name as a message can hold it."""
    return name if is_plain(name) else repr(name)
