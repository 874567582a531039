# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""An archive on the host that this runs on, as an origin: tar, also by gzip, bzip2 or xz, and zip."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.members import readable
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.unpacking import unpack
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import select, shown
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.spool import SpooledContent, spooled
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK, SourceProblems

_Status = tuple[int, int, int, int, int]


@dataclass
class ArchiveOrigin:
    """An archive, or a subdirectory in it, without what `exclude` covers (`tree.is_excluded`).

    sha256: what the whole file's has to be, in hexadecimal digits.
    scratch: where the contents are kept while it is open; None stands for the system's directory for temporary files.
    searched: what to say after "does not exist" of where it was looked for.
    """

    path: Path
    sha256: str | None = None
    subdirectory: str | None = None
    exclude: Sequence[str] = ()
    scratch: Path | None = None
    searched: str = ""
    _seen: tuple[_Status, str] | None = field(default=None, init=False, repr=False, compare=False)

    def revision(self) -> Mapping[str, Any]:
        """Say which bytes the archive has."""
        selection = select(self.path.name, self.subdirectory, self.exclude)
        self._seen = None
        with _opened(self.path, self.searched) as file:
            digest = self._digest(file)
        return {
            "archive": self.path.name,
            "sha256": digest,
            "subdirectory": selection.subdirectory,
            "exclude": list(self.exclude),
        }

    @contextmanager
    def open(self, before: Before) -> Iterator[SpooledContent]:
        """Read all of it, once."""
        selection = select(self.path.name, self.subdirectory, self.exclude)
        with spooled(self.scratch) as spool:
            with _opened(self.path, self.searched) as file:
                self._digest(file)
                try:
                    entries = unpack(file, self.path.name, selection, spool)
                finally:
                    self._require_unchanged(file)
            yield SpooledContent(entries, spool)

    def _digest(self, file: IO[bytes]) -> str:
        """Return the SHA-256 of the file, which is at its beginning again then."""
        status = _status(file)
        if self._seen is None or self._seen[0] != status:
            digest = file_digest(file, self.path.name)
            require_digest(digest, self.sha256, self.path.name)
            if self._seen is not None and self._seen[1] != digest:
                raise SourceProblems([f"{self.path.name} changed while it was read; publish again"])
            self._seen = status, digest
        return self._seen[1]

    def _require_unchanged(self, file: IO[bytes]) -> None:
        if self._seen is None or self._seen[0] != _status(file):
            raise SourceProblems([f"{self.path.name} changed while it was read; publish again"])


def file_digest(file: IO[bytes], name: str) -> str:
    """Return the SHA-256 of a file, and leave it at its beginning."""
    sha = hashlib.sha256()
    with readable(name):
        while chunk := file.read(CHUNK):
            sha.update(chunk)
        file.seek(0)
    return sha.hexdigest()


def require_digest(found: str, wanted: str | None, name: str) -> None:
    """Raise `SourceProblems` where an archive's SHA-256 is not the one that was given, if one was."""
    if wanted is None:
        return
    if not re.fullmatch("[0-9a-fA-F]{64}", wanted):
        raise SourceProblems([f"{shown(wanted)} is not a SHA-256, which has 64 hexadecimal digits"])
    if found != wanted.lower():
        raise SourceProblems([f"{name} has the SHA-256 {found}, and {wanted.lower()} was asked for"])


@contextmanager
def _opened(path: Path, searched: str) -> Iterator[IO[bytes]]:
    """Open a file, and nothing else: to open a pipe would wait for whoever writes into it.

    :raises SourceProblems: it is not there, or no file
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceProblems([f"{shown(str(path))} does not exist{searched}"]) from None
    except (OSError, ValueError) as error:  # the latter: a NUL in a path
        reason = getattr(error, "strerror", None) or error
        raise SourceProblems([f"{shown(str(path))} cannot be read: {reason}"]) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceProblems([f"{path} is not a file; a directory is published as one, with no archive"])
    with open(descriptor, "rb") as file:
        yield file


def _status(file: IO[bytes]) -> _Status:
    """Return what changes when somebody writes into a file."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
