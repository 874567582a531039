# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The members of a tar or a zip, one after the other and alike. Nothing is judged here, and nothing extracted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.spool import Readable
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK, SourceProblems, special

HEADER_BYTES = 1 << 20
"""What a member's headers, read into memory, may take: names, and in a pax archive all kinds of attributes."""

END_BYTES = 64 << 20
"""The zeros after the end of a tar that are looked at: the longest blocks that are in use are of some MiB."""

TARGET_BYTES = 4095
"""The longest target that Linux takes for a link (symlink(2))."""

FILE, DIRECTORY, LINK, COPY = "file", "directory", "link", "copy"

_COMPRESSIONS: Mapping[bytes, Callable[[IO[bytes]], Readable]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the latter where there is no member
_UNIX = (3, 19)  # the systems of a zip's members (APPNOTE 4.4.2.2) whose external attributes hold a Unix mode
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of APPNOTE 4.4.4
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Member(NamedTuple):
    """A member as the archive describes it.

    kind: `file`, `directory`, `link` (symbolic), `copy` (hard link); anything else says what it is instead.
    mode: as stat(2) has it.
    size: in bytes, of a file.
    target: of both kinds of links.
    open: returns the content of a file, until the next member is asked for.
    """

    name: str
    kind: str
    mode: int = 0o644
    size: int = 0
    target: str = ""
    open: Callable[[], Readable] = io.BytesIO


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Refuse an archive that turns out to be broken while it is read.

    :raises SourceProblems: instead of all that the readers of a stranger's bytes raise
    """
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        ArithmeticError,
        EOFError,
        LookupError,
        MemoryError,
        RuntimeError,
        ValueError,
    ) as error:
        raise SourceProblems([f"{name} is broken or was cut off: {error or type(error).__name__}"]) from None
    except OSError as error:  # without a number: from gzip and bz2, about the content
        if error.errno is None:
            raise SourceProblems([f"{name} is broken or was cut off: {error}"]) from None
        raise SourceProblems([f"{name} cannot be read: {error.strerror}"]) from None


def members(file: IO[bytes], name: str) -> Iterator[Member]:
    """Yield the members of an archive, which its content tells: a zip, or a tar, compressed or not.

    :param file: at its beginning, and seekable
    :param name: of the archive, in messages
    :raises SourceProblems: it is no archive. Whatever else may come is for `readable`
    """
    begin = file.read(8)
    file.seek(0)
    if begin.startswith(_ZIP):
        return _zip_members(file)
    for mark, unpacked in _COMPRESSIONS.items():
        if begin.startswith(mark):
            return _tar_members(unpacked(file), f"{name} is compressed, and what it holds is no tar archive")
    return _tar_members(file, f"{name} is neither a tar archive, as it is or by gzip, bzip2 or xz, nor a zip archive")


class _Header(tarfile.TarInfo):
    """A header that is whole: what is not would be the end of the archive to tarfile, and half of it be published."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[override]  # pylint: disable=arguments-renamed
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"at byte {archive.offset} there is {error}") from None


class _Limited:
    """What is read of a stream, up to a limit that changes."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.limit: int | None = None

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        if self.limit is not None:
            self.limit -= len(chunk)
            if self.limit < 0:
                raise ValueError("it goes on and on where nothing more is expected")
        return chunk


def _tar_members(stream: Readable, no_tar: str) -> Iterator[Member]:
    limited = _Limited(stream)
    limited.limit = HEADER_BYTES
    try:
        archive = tarfile.open(  # noqa: SIM115  # the caller owns the file
            fileobj=limited,  # type: ignore[call-overload]
            mode="r|",
            tarinfo=_Header,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except tarfile.ReadError:
        raise SourceProblems([no_tar]) from None
    for header in archive:
        archive.members = []  # of which it keeps all otherwise
        limited.limit = None
        content = archive.extractfile(header) if header.isreg() and not header.issparse() else None
        yield _tar_member(header, content or io.BytesIO())
        while content and content.read(CHUNK):
            pass
        limited.limit = HEADER_BYTES
    limited.limit = END_BYTES
    while chunk := limited.read(CHUNK):  # to the end, for that is where the checksums of compressions are
        if chunk.strip(b"\0"):
            raise ValueError("something follows its end")


def _tar_member(header: tarfile.TarInfo, content: Readable) -> Member:
    kinds = {
        tarfile.DIRTYPE: DIRECTORY,
        tarfile.SYMTYPE: LINK,
        tarfile.LNKTYPE: COPY,
        tarfile.FIFOTYPE: special(stat.S_IFIFO),
        tarfile.CHRTYPE: special(stat.S_IFCHR),
        tarfile.BLKTYPE: special(stat.S_IFBLK),
    }
    kind = FILE if header.isreg() else kinds.get(header.type, f"of the unknown type {header.type!r}")
    if header.issparse():
        kind = "a sparse file, which tar packs as a whole one without --sparse"
    return Member(header.name, kind, header.mode, header.size, header.linkname, lambda: content)


def _zip_members(file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            yield _zip_member(archive, info)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = _zip_name(info)
    mode = info.external_attr >> 16 if info.create_system in _UNIX else 0
    kind = _zip_kind(name, info, mode)
    if kind != LINK:
        return Member(name, kind, mode or 0o644, info.file_size, open=lambda: archive.open(info))
    with archive.open(info) as content:
        target = content.read(TARGET_BYTES + 1)
    return Member(name, kind, target=target.decode("utf-8", "surrogateescape"))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name as a tar would have it: bytes that are not UTF-8 as lone surrogates.

    What does not say that it is UTF-8 is all the same where it was packed on Linux, and comes decoded as code page 437.
    """
    name = info.orig_filename
    return name if info.flag_bits & 0x800 else name.encode("cp437").decode("utf-8", "surrogateescape")


def _zip_kind(name: str, info: zipfile.ZipInfo, mode: int) -> str:
    if "\\" in name:
        return "named with a backslash, which is no separator in a zip"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in _METHODS:
        return f"compressed by the method {info.compress_type}, which is not known here"
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR or (not kind and (name.endswith("/") or info.external_attr & 0x10)):
        return f"a directory with {info.file_size} bytes of content" if info.file_size else DIRECTORY
    if kind in (0, stat.S_IFREG):
        return FILE
    return LINK if kind == stat.S_IFLNK else special(mode)
