# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a publisher asks of the place that a source's content comes from.

A new kind of origin is one file beside this one that has these two forms, and one line in `kinds`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry

Revision = Mapping[str, Any]
"""What names a content for good: of two that are equal, the contents are equal. JSON, without any secret.

Of a git repository, for instance, its address, the commit, and which part of the commit is published. A publisher writes it
into `.release.json`, `commit` being what a person looks for there.
"""


class Known(NamedTuple):
    """The content of a file that was published before: its SHA-256, and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Before:
    """What was published before: its entries in order, and by path their marks, as `Content` has them.

    revision: what it is of; None where nobody knows.
    """

    entries: Sequence[Entry] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    revision: Revision | None = None

    @cached_property
    def known(self) -> Mapping[str, Known]:
        """Its contents by their marks."""
        return self.known_among(set(self.marks.values()))

    def known_among(self, marks: Collection[str]) -> Mapping[str, Known]:
        """Those of its contents that have one of these marks."""
        paths = {path for path, mark in self.marks.items() if mark in marks}
        return {self.marks[each.path]: Known(each.digest, each.size) for each in self.entries if each.path in paths}


NOTHING = Before()


class Content(Protocol):
    """A source's content, which stays the same while this is open."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Its files and links, in order of their paths, with nothing that `tree.check` finds wrong."""

    @property
    def marks(self) -> Mapping[str, str]:
        """By path, what tells a file's content at its origin without reading it, such as the name of git's blob.

        What has no such mark is not in it.
        """

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Write each wanted content, by its digest, to its places, and return the number of bytes written.

        :raises SourceProblems: the source changed, or a content is missing
        """

    def read(self, entry: Entry) -> bytes | None:
        """Return a file's content, for a diff; None where it is not at hand."""


class Origin(Protocol):
    """Where a source's content comes from."""

    def revision(self) -> Revision | None:
        """Say which content is there now; None where only reading all of it tells.

        :raises SourceProblems: it cannot be reached, or what was asked for is not there
        """

    def open(self, before: Before) -> AbstractContextManager[Content]:
        """Read what is there. What `revision` said is what is read, also where the origin has moved on since.

        :param before: what is in it need not be read
        :raises SourceProblems: with everything that keeps it from being published
        """
