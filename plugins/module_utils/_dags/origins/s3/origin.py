# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Objects in S3 as an origin: all that is beneath a prefix, or one that is an archive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags import parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.origin import require_digest
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.unpacking import unpack
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before, Content, Known
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.client import (
    Address,
    Connection,
    Unreachable,
    asking,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.objects import Bucket, Object
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import Selection, select
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.spool import (
    Spool,
    SpooledContent,
    spooled,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry, SourceProblems


@dataclass
class S3Origin:
    """What an address stands for, or a subdirectory of it, without what `exclude` covers (`tree.is_excluded`).

    sha256: of an archive, what it has to be, in hexadecimal digits.
    scratch: where the contents are kept while it is open; None stands for the system's directory for temporary files.

    S3 has neither links nor executable files; an archive may.
    """

    address: Address
    connection: Connection = field(default_factory=Connection)
    subdirectory: str | None = None
    exclude: Sequence[str] = ()
    sha256: str | None = None
    scratch: Path | None = None
    _found: _Found | None = field(default=None, init=False, repr=False, compare=False)

    def revision(self) -> Mapping[str, Any] | None:
        """List what is there; None where the endpoint does not tell contents apart."""
        self._found = self._look()
        if not all(each.etag for each in self._found.objects):
            return None
        return {
            "s3": str(self.address),
            "endpoint_url": self.connection.endpoint_url,
            **self._found.identity,
            "subdirectory": self._found.selection.subdirectory,
            "exclude": list(self.exclude),
        }

    @contextmanager
    def open(self, before: Before) -> Iterator[Content]:
        """Read what was listed, but for what is known."""
        found = self._found or self._look()
        with spooled(self.scratch) as spool:
            if self.address.is_prefix:
                yield _read_objects(found, before.known, spool)
            else:
                yield self._unpacked(found, spool)

    def _look(self) -> _Found:
        selection = select(str(self.address), self.subdirectory, self.exclude)
        with asking(self.connection, self.address):
            bucket = Bucket(self.connection.client(), self.connection, self.address.bucket)
        if not self.address.is_prefix:
            listed, answer = bucket.object(self.address.key)
            modified = answer.get("LastModified")
            identity = {
                "etag": listed.etag,
                "size": listed.size,
                "modified": modified.isoformat() if modified else None,
                "version": answer.get("VersionId"),
                "sha256": self.sha256,
            }
            return _Found(bucket, selection, [listed], identity)
        if self.sha256 is not None:
            raise SourceProblems([f"a SHA-256 is given, and {self.address} is no archive that could have one"])
        objects = bucket.objects(self.address, selection)
        listing = json.dumps([[each.path, each.etag, each.size] for each in objects])
        return _Found(bucket, selection, objects, {"listing": hashlib.sha256(listing.encode()).hexdigest()})

    def _unpacked(self, found: _Found, spool: Spool) -> SpooledContent:
        name = str(self.address)
        digest = found.bucket.fetch(found.objects[0], spool)
        require_digest(digest, self.sha256, name)
        with spool.open(digest) as file:
            return SpooledContent(unpack(file, name, found.selection, spool), spool)


@dataclass(frozen=True)
class _Found:
    """What was there at one moment.

    identity: what a revision says of it.
    """

    bucket: Bucket
    selection: Selection
    objects: Sequence[Object]
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class ObjectsContent(SpooledContent):
    """Objects, of which those that were known are read only where they are wanted after all."""

    bucket: Bucket | None = None
    unread: Mapping[str, Object] = field(default_factory=dict)

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Copy in parallel."""
        parallel.each(pool, self._fetch, [digest for digest in wanted if digest not in self.spool])
        return super().write(pool, wanted, attributes)

    def read(self, entry: Entry) -> bytes | None:
        """Return a file's content."""
        if entry.digest not in self.spool:
            self._fetch(entry.digest)
        return super().read(entry)

    def _fetch(self, digest: str) -> None:
        if self.bucket and digest in self.unread:
            self.bucket.fetch(self.unread[digest], self.spool)


def _read_objects(found: _Found, known: Mapping[str, Known], spool: Spool) -> ObjectsContent:
    """Fetch what is not known.

    :raises SourceProblems: with all that changed meanwhile or cannot be read
    """
    there = {each.mark: known[each.mark] for each in found.objects if each.mark and each.mark in known}
    spool.require(sum(each.size for each in found.objects if each.mark not in there))

    def read(each: Object) -> Entry | SourceProblems:
        if each.mark and each.mark in there:
            return Entry(each.path, "f", there[each.mark].digest, each.size)
        try:
            return Entry(each.path, "f", found.bucket.fetch(each, spool), each.size)
        except Unreachable:
            raise
        except SourceProblems as problems:
            return problems

    with ThreadPoolExecutor(parallel.THREADS) as pool:
        results = parallel.each(pool, read, found.objects)
    problems = [problem for each in results if isinstance(each, SourceProblems) for problem in each.problems]
    if problems:
        raise SourceProblems(problems)
    entries = [each for each in results if isinstance(each, Entry)]
    unread = {entry.digest: each for entry, each in zip(entries, found.objects) if entry.digest not in spool}
    marks = {each.path: each.mark for each in found.objects if each.mark}
    return ObjectsContent(entries, spool, marks, found.bucket, unread)
