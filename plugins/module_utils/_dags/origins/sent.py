# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the controller read and sent, as an origin: the entries of a source, and the contents that the host lacks."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted, write_stream
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before, Content, Revision
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry, NotSent, SourceProblems, check


def pack(content: Content, digests: Iterable[str], file: IO[bytes]) -> None:
    """Write the entries and the files' contents with these digests, each once, compressed.

    :raises SourceProblems: a file changed or went away after it was read first
    :raises OSError: it could not be written
    """
    first = {entry.digest: entry for entry in reversed(content.entries) if entry.kind != "l"}
    with tarfile.open(fileobj=file, mode="w|gz", compresslevel=1, format=tarfile.PAX_FORMAT) as archive:
        listing = {"entries": list(content.entries), "marks": dict(content.marks)}
        _add(archive, "manifest", json.dumps(listing).encode())
        for digest in sorted(set(digests)):
            _add(archive, digest, _checked(content, first[digest]))


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _checked(content: Content, entry: Entry) -> bytes:
    try:
        data = content.read(entry)
    except OSError as error:
        raise SourceProblems([f"{entry.path} cannot be read: {error.strerror}; publish again"]) from None
    if data is None or hashlib.sha256(data).hexdigest() != entry.digest:
        raise SourceProblems([f"{entry.path} changed while it was read; publish again"])
    return data


@dataclass(frozen=True)
class SentOrigin:
    """What the controller sent, and the revision that it found there."""

    packed: Path
    found: Revision | None = None

    def revision(self) -> Revision | None:
        """Return what the controller found."""
        return self.found

    @contextmanager
    def open(self, before: Before) -> Iterator[SentContent]:
        """Read the entries, and leave the contents for `write`."""
        with self.packed.open("rb") as file, _whole():
            yield SentContent(file)


class SentContent:
    """What `pack` wrote, read once and in order."""

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = tarfile.open(fileobj=file, mode="r|gz")  # noqa: SIM115  # the caller owns the file
        manifest = self._archive.next()
        content = self._archive.extractfile(manifest) if manifest and manifest.name == "manifest" else None
        if content is None:
            raise SourceProblems(["the packed source does not begin with its manifest"])
        try:
            listing = json.load(content)
            self.entries = [_entry(*fields) for fields in listing["entries"]]
            self.marks = {str(path): str(mark) for path, mark in listing["marks"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceProblems([f"the packed source's manifest is broken ({error}); publish again"]) from None
        problems = check(self.entries)
        if problems:
            raise SourceProblems(problems)
        self._read: dict[str, bytes] | None = None

    def write(self, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes) -> int:
        """Write what was sent.

        :raises NotSent: something was not, for it was there when the controller asked
        """
        written, missing = write_stream(pool, wanted, self._contents(), attributes)
        if missing:
            paths = [each.entry.path for digest in missing for each in wanted[digest]]
            why = "since somebody else published meanwhile; publish again"
            raise NotSent([f"the content of {path} was not sent, {why}" for path in sorted(paths)])
        return written

    def read(self, entry: Entry) -> bytes | None:
        """Return a content that was sent, where none was written: for a diff in check mode."""
        if self._read is None:
            self._read = {digest: content.read() for digest, content in self._contents()}
        return self._read.get(entry.digest)

    def _contents(self) -> Iterator[tuple[str, IO[bytes]]]:
        while member := self._archive.next():
            content = self._archive.extractfile(member)
            if content is not None:
                yield member.name, content


@contextmanager
def _whole() -> Iterator[None]:
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
