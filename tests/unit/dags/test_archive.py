# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Archives as sources: what comes out of good ones, and that nothing comes out of any other; with real files."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import kinds
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive import members
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.origin import ArchiveOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import scan
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Origin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.spool import SpooledContent
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry, SourceProblems, check
from ansible_collections.airstack.backbone.tests.unit.dags.trees import TREES, Executable, Link, Tree, make, read


class Tarred(NamedTuple):
    """A member of a tar whose header says whatever a test wants."""

    name: str
    type: bytes = tarfile.REGTYPE
    data: bytes = b""
    mode: int = 0o644
    target: str = ""
    pax: Mapping[str, str] = {}


class Zipped(NamedTuple):
    """A member of a zip whose header says whatever a test wants."""

    name: str
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    system: int = 3
    flags: int = 0


Members = Sequence[Union[Tarred, Zipped]]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def tar(*packed: Tarred) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for each in packed:
            info = tarfile.TarInfo(each.name)
            info.type, info.mode, info.linkname, info.size = each.type, each.mode, each.target, len(each.data)
            info.pax_headers = dict(each.pax)
            archive.addfile(info, io.BytesIO(each.data))
    return file.getvalue()


def zipped(*packed: Zipped) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in packed:
            info = zipfile.ZipInfo(each.name)
            info.create_system, info.external_attr = each.system, each.mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, each.data)
    data = file.getvalue()
    for each in packed:
        if each.flags:
            data = _flagged(data, each)
    return data


def _flagged(data: bytes, member: Zipped) -> bytes:
    """Set a member's flags, in its header and in the directory at the end, which zipfile itself does not write."""
    name = member.name.encode()
    for mark, flags, to_name in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        start = data.index(mark)
        while data[start + to_name : start + to_name + len(name)] != name:
            start = data.index(mark, start + 1)
        data = data[: start + flags] + bytes([data[start + flags] | member.flags]) + data[start + flags + 1 :]
    return data


def packed_tree(tree: Tree, kind: str) -> bytes:
    """Pack a tree as one of the usual tools would."""
    modes = {path: 0o755 if isinstance(content, Executable) else 0o644 for path, content in tree.items()}
    datas = {path: content.data if isinstance(content, Executable) else content for path, content in tree.items()}
    if kind == "zip":
        return zipped(
            *(
                Zipped(path, data.target.encode(), stat.S_IFLNK | 0o777)
                if isinstance(data, Link)
                else Zipped(path, data, stat.S_IFREG | modes[path])
                for path, data in datas.items()
            )
        )
    return COMPRESSIONS[kind](
        tar(
            *(
                Tarred(f"./{path}", tarfile.SYMTYPE, target=data.target)
                if isinstance(data, Link)
                else Tarred(f"./{path}", data=data, mode=modes[path])
                for path, data in datas.items()
            )
        )
    )


@contextmanager
def archive(data: bytes, **options: object) -> Iterator[ArchiveOrigin]:
    """Write an archive, and watch that reading it leaves nothing behind anywhere near."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "etl.archive"
        path.write_bytes(data)
        scratch = Path(directory) / "a/b/c/scratch"
        scratch.mkdir(parents=True)
        yield ArchiveOrigin(path, scratch=scratch, **options)  # type: ignore[arg-type]
        found = sorted(str(each.relative_to(directory)) for each in Path(directory).rglob("*"))
        assert found == ["a", "a/b", "a/b/c", "a/b/c/scratch", "etl.archive"]


def entries_of(data: bytes, **options: object) -> list[Entry]:
    with archive(data, **options) as origin, origin.open({}) as content:
        return list(content.entries)


def problems_of(data: bytes, **options: object) -> list[str]:
    with archive(data, **options) as origin:
        with pytest.raises(SourceProblems) as refused, origin.open({}):
            pass
        return refused.value.problems


def written(content: SpooledContent, root: Path) -> Tree:
    """Let a content write itself, and read the result back."""
    wanted: dict[str, list[Wanted]] = {}
    for entry in content.entries:
        (root / entry.path).parent.mkdir(parents=True, exist_ok=True)
        if entry.target is not None:
            os.symlink(entry.target, root / entry.path)
        else:
            wanted.setdefault(entry.digest, []).append(Wanted(root / entry.path, entry))
    with ThreadPoolExecutor(4) as pool:
        size = content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
    assert size == sum(entry.size for entry in content.entries if entry.target is None)
    return read(root)


def test_it_is_an_origin(tmp_path: Path) -> None:
    origin: Origin = ArchiveOrigin(tmp_path / "etl.tar")
    assert origin


@pytest.mark.parametrize("kind", [*COMPRESSIONS, "zip"])
@given(tree=TREES)
@settings(max_examples=30, deadline=None)
def test_a_tree_comes_out_as_a_directory_would(kind: str, tree: Tree) -> None:
    tree = {**tree, "link to it": Link(next(iter(tree)))}
    with tempfile.TemporaryDirectory() as directory:
        found = make(Path(directory) / "tree", tree)
        with archive(packed_tree(tree, kind)) as origin, origin.open({}) as content:
            assert content.entries == scan(found)
            assert written(content, Path(directory) / "written") == tree
            for entry in content.entries:
                if entry.target is None:
                    assert content.read(entry) == (found / entry.path).read_bytes()


@pytest.mark.parametrize(
    "command", [["tar", "-czf"], ["tar", "--format=gnu", "-cJf"], ["tar", "--format=ustar", "-cjf"]]
)
def test_what_tar_packs_comes_out(tmp_path: Path, command: list[str]) -> None:
    """With hard links, which tar finds by itself, and names that are too long for its oldest header."""
    tree = {"a.py": b"x", "é/deep/b.py": b"y" * 100_000, "run": Executable(b"#!"), "l": Link("a.py"), "n" * 90: b""}
    root = make(tmp_path / "tree", tree)
    os.link(root / "run", root / "run-too")
    subprocess.run([*command, str(tmp_path / "etl"), "-C", str(root), "."], check=True)
    assert entries_of((tmp_path / "etl").read_bytes()) == scan(root)


def test_equal_revisions_are_of_equal_contents(tmp_path: Path) -> None:
    data = tar(Tarred("a/x"))
    (tmp_path / "one").mkdir()
    for directory in (tmp_path, tmp_path / "one"):
        (directory / "etl.tar").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    revision = {"archive": "etl.tar", "sha256": digest, "subdirectory": None, "exclude": []}
    assert ArchiveOrigin(tmp_path / "etl.tar").revision() == revision
    assert ArchiveOrigin(tmp_path / "one/etl.tar", sha256=digest.upper()).revision() == revision
    part = ArchiveOrigin(tmp_path / "etl.tar", subdirectory="./a/", exclude=("*.md",)).revision()
    assert part == {**revision, "subdirectory": "a", "exclude": ["*.md"]}


def test_another_sha256_than_was_asked_for_is_named() -> None:
    data = tar(Tarred("x"))
    found, wanted = hashlib.sha256(data).hexdigest(), "0" * 64
    expected = [f"etl.archive has the SHA-256 {found}, and {wanted} was asked for"]
    assert problems_of(data, sha256=wanted) == expected
    with archive(data, sha256=wanted) as origin, pytest.raises(SourceProblems) as refused:
        origin.revision()
    assert refused.value.problems == expected
    assert problems_of(data, sha256="abc") == ["abc is not a SHA-256, which has 64 hexadecimal digits"]


@pytest.mark.parametrize("replace", [True, False], ids=["another file", "in place"])
def test_an_archive_that_changes_after_it_was_looked_at_is_noticed(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "etl.tar"
    path.write_bytes(tar(Tarred("x", data=b"before")))
    origin = ArchiveOrigin(path)
    origin.revision()
    if replace:
        (tmp_path / "new").write_bytes(tar(Tarred("x", data=b"after!")))
        os.replace(tmp_path / "new", path)
    else:
        path.write_bytes(tar(Tarred("x", data=b"after")))
    with pytest.raises(SourceProblems, match=r"^etl\.tar changed while it was read; publish again$"), origin.open({}):
        pass
    origin.revision()
    with origin.open({}) as content:
        assert content.read(content.entries[0]) in (b"after", b"after!")


PARTS = (
    Tarred("etl-1.0/", tarfile.DIRTYPE),
    Tarred("etl-1.0/dags/a.py", data=b"a"),
    Tarred("etl-1.0/dags/tests/test_a.py", data=b"t"),
    Tarred("etl-1.0/dags/__pycache__/a.pyc"),
    Tarred("etl-1.0/dags/l", tarfile.SYMTYPE, target="a.py"),
    # Not published, and no problem therefore
    Tarred("etl-1.0/other/pipe", tarfile.FIFOTYPE),
    Tarred("etl-1.0/other/out", tarfile.SYMTYPE, target="../../.."),
    Tarred("docs/line\nbreak"),
)


@pytest.mark.parametrize(
    ("subdirectory", "exclude", "expected"),
    [
        ("etl-1.0/dags", ["tests/"], ["a.py", "l"]),
        ("./etl-1.0//dags/", [], ["a.py", "l", "tests/test_a.py"]),
        ("etl-1.0", ["pipe", "out", "dags/*.py"], ["dags/l"]),
        (None, ["other", "docs", "l"], ["etl-1.0/dags/a.py", "etl-1.0/dags/tests/test_a.py"]),
    ],
)
def test_a_part_is_published(subdirectory: str | None, exclude: list[str], expected: list[str]) -> None:
    found = entries_of(tar(*PARTS), subdirectory=subdirectory, exclude=exclude)
    assert [entry.path for entry in found] == expected


@pytest.mark.parametrize(
    ("subdirectory", "expected"),
    [
        ("dags", "etl.archive has no file in dags; at its top there is docs, etl-1.0"),
        ("etl", "etl.archive has no file in etl; at its top there is docs, etl-1.0"),
        ("etl-1.0/../..", "the subdirectory etl-1.0/../.. is outside of etl.archive"),
        ("/etl-1.0", "the subdirectory /etl-1.0 is outside of etl.archive"),
    ],
)
def test_a_subdirectory_that_is_not_there_is_named(subdirectory: str, expected: str) -> None:
    assert problems_of(tar(*PARTS), subdirectory=subdirectory) == [expected]


@pytest.mark.parametrize(
    "data",
    [tar(), zipped(), tar(Tarred("a/", tarfile.DIRTYPE), Tarred("a/x.pyc"))],
    ids=["tar", "zip", "excluded"],
)
def test_an_archive_without_files_is_refused(data: bytes) -> None:
    [problem] = problems_of(data)
    assert problem in (
        "etl.archive holds no file to publish",
        "etl.archive holds no file to publish; at its top there is a",
    )


@pytest.mark.parametrize(
    ("subdirectory", "exclude", "expected"),
    [
        (None, ["etl-1.0/", "docs"], "etl.archive holds no file to publish: exclude covers all 6 files that are there"),
        ("docs", ["line*", "*.md"], "etl.archive has no file in docs: exclude covers the one file that is there"),
    ],
)
def test_what_is_excluded_altogether_is_said_to_be(subdirectory: str | None, exclude: list[str], expected: str) -> None:
    assert problems_of(tar(*PARTS), subdirectory=subdirectory, exclude=exclude) == [expected]


def test_everything_wrong_in_a_tar_is_said_at_once() -> None:
    evil = [
        Tarred("fine.py"),
        Tarred("/etc/passwd"),
        Tarred("../above"),
        Tarred("a/../../above"),
        Tarred("a//b"),
        Tarred("null", tarfile.CHRTYPE),
        Tarred("disk", tarfile.BLKTYPE),
        Tarred("pipe", tarfile.FIFOTYPE),
        Tarred("holes", pax={"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}),
        Tarred("strange", b"Z"),
        Tarred("etl/x", mode=0o4755),
        Tarred("etl/y", mode=0o2755),
        Tarred("line\nbreak"),
        Tarred("escape\x1b[31m"),
        Tarred("latin\udce9.py"),
        Tarred("n" * 256),
        Tarred("p/" * 3000 + "x"),
        Tarred(".release.json"),
        Tarred("deep/.release.json"),
        Tarred("absolute", tarfile.SYMTYPE, target="/etc/passwd"),
        Tarred("deep/out", tarfile.SYMTYPE, target="../../secret"),
        Tarred("broken", tarfile.SYMTYPE, target="a\nb"),
        Tarred("empty", tarfile.SYMTYPE),
        Tarred("endless", tarfile.SYMTYPE, target="x" * 5000),
        Tarred("fine.py"),
        Tarred("./fine.py"),
        Tarred("hard-fine", tarfile.LNKTYPE, target="./fine.py"),
        Tarred("hard-later", tarfile.LNKTYPE, target="later"),
        Tarred("hard-link", tarfile.LNKTYPE, target="absolute"),
        Tarred("hard-out", tarfile.LNKTYPE, target="../../etc/shadow"),
        Tarred("later"),
        Tarred("later/x"),
        Tarred("fine.py/", tarfile.DIRTYPE),
        Tarred("fine.py/x/y", tarfile.DIRTYPE),
    ]
    no_original = "which is no file that comes before it and is published"
    expected = [
        "'escape\\x1b[31m' has a control character in its name, or is not UTF-8",
        "'latin\\udce9.py' has a control character in its name, or is not UTF-8",
        "'line\\nbreak' has a control character in its name, or is not UTF-8",
        "../above is a path that climbs",
        ".release.json is a name that a release keeps for itself",
        "/etc/passwd is an absolute path",
        "'a//b' is not a plain relative path",
        "a/../../above is a path that climbs",
        "absolute is a link to the absolute path /etc/passwd",
        "broken is a link to 'a\\nb', which holds a control character, or is not UTF-8",
        "deep/out is a link that climbs out of the source: ../../secret",
        "disk is a device",
        "empty is a link whose target has not 1 to 4095 bytes",
        "endless is a link whose target has not 1 to 4095 bytes",
        "etl/x has the setuid bit",
        "etl/y has the setgid bit",
        "fine.py is a directory and something else too",
        "fine.py is there twice",
        "fine.py is there twice",
        "fine.py/x/y is beneath something that is not a directory",
        f"hard-later is a hard link to later, {no_original}",
        f"hard-link is a hard link to absolute, {no_original}",
        f"hard-out is a hard link to ../../etc/shadow, {no_original}",
        "holes is a sparse file, which tar packs as a whole one without --sparse",
        "later/x is beneath something that is not a directory",
        f"{'n' * 256} has a name of more than 255 bytes",
        "null is a device",
        f"{('p/' * 3000)[:255]!r}... is a name of more than 4096 bytes",
        "pipe is a pipe",
        "strange is of the unknown type b'Z'",
    ]
    assert sorted(problems_of(tar(*evil))) == sorted(expected)


def test_everything_wrong_in_a_zip_is_said_at_once() -> None:
    evil = [
        Zipped("fine.py"),
        Zipped("/etc/passwd"),
        Zipped("../above"),
        Zipped("dos\\name"),
        Zipped("pipe", mode=stat.S_IFIFO | 0o644),
        Zipped("null", mode=stat.S_IFCHR | 0o666),
        Zipped("etl/x", mode=stat.S_IFREG | 0o4755),
        Zipped("line\nbreak"),
        Zipped("link/", b"/etc", mode=stat.S_IFLNK | 0o777),
        Zipped("absolute", b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
        Zipped("endless", b"x" * 5000, mode=stat.S_IFLNK | 0o777),
        Zipped("latin", b"\xe9", mode=stat.S_IFLNK | 0o777),
        Zipped("secret", b"?", flags=0x1),
        Zipped("full/", b"content", mode=stat.S_IFDIR | 0o755),
        Zipped(".release.manifest"),
        Zipped("fine.py/x"),
    ]
    expected = [
        ".release.manifest is a name that a release keeps for itself",
        "../above is a path that climbs",
        "/etc/passwd is an absolute path",
        "absolute is a link to the absolute path /etc/passwd",
        "dos\\name is named with a backslash, which is no separator in a zip",
        "endless is a link whose target has not 1 to 4095 bytes",
        "etl/x has the setuid bit",
        "fine.py/x is beneath something that is not a directory",
        "'full/' is not a plain relative path",
        "latin is a link to '\\udce9', which holds a control character, or is not UTF-8",
        "'line\\nbreak' has a control character in its name, or is not UTF-8",
        "'link/' is not a plain relative path",
        "null is a device",
        "pipe is a pipe",
        "secret is encrypted",
    ]
    assert sorted(problems_of(zipped(*evil))) == sorted(expected)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_a_zip_with_one_name_are_refused() -> None:
    assert problems_of(zipped(Zipped("x", b"1"), Zipped("x", b"2"))) == ["x is there twice"]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (Zipped("run", mode=stat.S_IFREG | 0o755), "x"),
        (Zipped("run", mode=stat.S_IFREG | 0o655), "f"),
        # Modes of other systems are not ones: what is in their place may be anything.
        (Zipped("run", mode=stat.S_IFLNK | 0o4777, system=0), "f"),
        (Zipped("run", mode=0), "f"),
    ],
)
def test_the_mode_of_a_zip_is_that_of_unix(member: Zipped, expected: str) -> None:
    assert [entry.kind for entry in entries_of(zipped(member))] == [expected]


@pytest.mark.parametrize(
    ("name", "path"),
    [("été.py".encode(), "été.py"), (b"\xe9t\xe9.py", None)],
)
def test_a_name_of_a_zip_that_does_not_say_utf8_is_what_its_bytes_are(name: bytes, path: str | None) -> None:
    """As Info-ZIP writes them on Linux: without the flag, though they are UTF-8."""
    data = zipped(Zipped("?" * len(name))).replace(b"?" * len(name), name)
    if path:
        assert [entry.path for entry in entries_of(data)] == [path]
    else:
        assert problems_of(data) == ["'\\udce9t\\udce9.py' has a control character in its name, or is not UTF-8"]


def test_a_hard_link_is_a_copy() -> None:
    found = entries_of(tar(Tarred("a", data=b"x", mode=0o755), Tarred("b", tarfile.LNKTYPE, target="a", mode=0)))
    digest = hashlib.sha256(b"x").hexdigest()
    assert found == [Entry("a", "x", digest, 1), Entry("b", "x", digest, 1)]


GOOD = tar(*(Tarred(f"dags/{number}.py", data=random.Random(number).randbytes(3000)) for number in range(8)))
"""Plain, as the others are made of it. Each member takes 7 blocks of 512 bytes."""


@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, "all but the end", "one member"])
def test_an_archive_that_was_cut_off_is_refused(kind: str, kept: float | str) -> None:
    data = COMPRESSIONS[kind](GOOD)
    if kept == "one member":  # where nothing tells but that the end's mark is missing
        data = COMPRESSIONS[kind](GOOD[: 7 * 512])
    else:
        data = data[: -10000 if kind == "tar" else -3] if isinstance(kept, str) else data[: int(len(data) * kept)]
    assert "etl.archive is broken or was cut off: " in problems_of(data)[0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is neither a tar archive"),
        (b"<!DOCTYPE html>" * 100, "is neither a tar archive"),
        (gzip.compress(b"a dump of a database" * 100), "is compressed, and what it holds is no tar archive"),
        (GOOD[: 7 * 512] + b"\1" + GOOD[7 * 512 + 1 :], "is broken or was cut off: at byte 3584 there is bad checksum"),
        (GOOD + GOOD, "is broken or was cut off: something follows its end"),
        (zipped(Zipped("x", b"y" * 100))[:-5], "is broken or was cut off: "),
        (zipped(Zipped("x", b"y" * 100)).replace(b"x", b"z", 1), "is broken or was cut off: "),
    ],
    ids=["empty", "web page", "no tar", "header", "two in one", "zip cut off", "zip names"],
)
def test_what_is_no_whole_archive_is_refused(data: bytes, expected: str) -> None:
    problems = problems_of(data)
    assert len(problems) == 1
    assert problems[0].startswith(f"etl.archive {expected}")


def test_headers_do_not_fill_the_memory() -> None:
    """A name, which is read at once, of a size that grows out of very little."""
    name = Tarred("x", tarfile.GNUTYPE_LONGNAME, data=b"a" * (members.HEADER_BYTES * 2))
    assert "goes on and on" in problems_of(gzip.compress(tar(name)))[0]


def test_an_end_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "END_BYTES", 1 << 20)
    assert "goes on and on" in problems_of(gzip.compress(GOOD + bytes(3 << 20)))[0]


def test_a_zip_that_lies_about_a_size_is_refused() -> None:
    data = zipped(Zipped("x", b"y" * 1000))
    size = (1000).to_bytes(4, "little")
    for lie in (10, 999, 1001, 2**31):
        assert len(problems_of(data.replace(size, lie.to_bytes(4, "little")))) == 1


def test_a_size_that_no_disk_holds_is_refused_before_anything_is_read() -> None:
    header = tarfile.TarInfo("huge")
    header.size = 1 << 60
    data = header.tobuf(tarfile.GNU_FORMAT) + bytes(10240)
    assert "has room for" in problems_of(data)[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A filesystem of one MiB."""
    root = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a filesystem")
    yield root
    subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("kind", ["tar", "gzip", "zip"])
def test_a_bomb_does_not_fill_the_disk(small: Path, kind: str) -> None:
    tree = {str(number): bytes([number]) * 300_000 for number in range(10)}
    with archive(packed_tree(tree, kind)) as origin:
        origin.scratch = small
        expected = f"the contents need .* MiB, and {small}, .* has room for 0.9 MiB"
        with pytest.raises(SourceProblems, match=expected), origin.open({}):
            pass
        assert os.listdir(small) == []


def test_contents_that_are_equal_take_room_once(small: Path) -> None:
    tree = {str(number): b"x" * 300_000 for number in range(10)}
    with archive(packed_tree(tree, "gzip")) as origin:
        origin.scratch = small
        with origin.open({}) as content:
            # And once more, while it is not known that one is there.
            assert os.statvfs(small).f_bfree * 4096 >= (1 << 20) - 2 * 304_000
            assert content.read(content.entries[-1]) == b"x" * 300_000
    assert os.statvfs(small).f_bfree * 4096 == 1 << 20


def test_a_scratch_that_is_full_is_named(small: Path) -> None:
    """Filled by somebody else after the room was measured."""
    with archive(packed_tree({"x": random.Random(0).randbytes(500_000)}, "tar")) as origin:
        origin.scratch = small
        with origin.open({}) as content:
            spool = content.spool
            with (small / "other").open("wb") as other:
                other.write(bytes(450_000))
            with pytest.raises(SourceProblems, match=f"{small} cannot take the contents: No space left on device"):
                spool.add(io.BytesIO(bytes(300_000)), 300_000)
        (small / "other").unlink()


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda path: None, "does not exist on the controller; if it is on"),
        (lambda path: path.mkdir(), "is not a file"),
        (os.mkfifo, "is not a file"),
    ],
    ids=["missing", "directory", "pipe"],
)
def test_what_is_no_file_is_refused(tmp_path: Path, prepare: Callable[[Path], None], expected: str) -> None:
    prepare(tmp_path / "etl")
    with pytest.raises(SourceProblems, match=f"^{tmp_path}/etl {expected}"):
        ArchiveOrigin(tmp_path / "etl", searched=kinds.ON_CONTROLLER).revision()


def test_a_scratch_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "etl").write_bytes(GOOD)
    origin = ArchiveOrigin(tmp_path / "etl", scratch=tmp_path / "gone")
    with pytest.raises(SourceProblems, match=f"^{tmp_path}/gone cannot be written to: No such file"), origin.open({}):
        pass


def _old_sparse() -> bytes:
    """As tar --sparse --format=gnu packs it: 4 maps in the header, of bytes at 0 and at 1 MiB, and more in a block of its own."""
    header = tarfile.TarInfo("holes")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 1024
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[386:483] = b"%011o\0%011o\0" % (0, 512) + b"%011o\0%011o\0" % (1 << 20, 512) + bytes(48) + b"\1"
    block[483:495] = b"%011o\0" % (2 << 20)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    return bytes(block) + bytes(512) + b"x" * 1024 + bytes(10240)


OLD_SPARSE = _old_sparse()
NEW_SPARSE = tar(
    Tarred(
        "GNUSparseFile.1/holes",
        data=b"2\n0\n512\n1048576\n512\n".ljust(512, b"\0") + b"x" * 1024,
        pax={
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "holes",
            "GNU.sparse.realsize": "2097152",
        },
    )
)


@pytest.mark.parametrize("data", [OLD_SPARSE, NEW_SPARSE], ids=["old", "new"])
def test_a_sparse_file_is_refused(data: bytes) -> None:
    assert problems_of(data) == ["holes is a sparse file, which tar packs as a whole one without --sparse"]


SEEDS = [
    *(pack(GOOD) for pack in COMPRESSIONS.values()),
    zipped(*(Zipped(f"dags/{number}.py", bytes([number]) * 3000) for number in range(8))),
    tar(*PARTS[:5], Tarred("x" * 200, tarfile.SYMTYPE, target="y" * 200), Tarred("z", pax={"comment": "é"})),
    OLD_SPARSE,
    NEW_SPARSE,
]


def is_refused_or_sound(data: bytes) -> None:
    with archive(data) as origin, suppress(SourceProblems), origin.open({}) as content:
        assert check(content.entries) == []
        for entry in content.entries:
            if entry.target is None:
                found = content.read(entry) or b""
                assert (hashlib.sha256(found).hexdigest(), len(found)) == (entry.digest, entry.size)


@settings(deadline=None)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"PK\x03\x04"]))
def test_random_bytes_are_refused(data: bytes, begin: bytes) -> None:
    is_refused_or_sound(begin + data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_a_damaged_archive_is_refused_or_sound(seed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(seed)
    places = st.integers(0, min(len(seed), 4000) - 1) | st.integers(0, len(seed) - 1)
    for _time in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(places)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | places)
    is_refused_or_sound(bytes(damaged[:cut]))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_header_with_a_good_checksum_is_refused_or_sound(data: st.DataObject) -> None:
    """What a checksum alone would catch is let through to the readers of sizes, types, maps and numbers."""
    kinds = b"0\x00125346SKLxgXVMDN7Z"
    blocks = bytearray(data.draw(st.sampled_from(SEEDS[-3:])))
    for _time in range(data.draw(st.integers(1, 3))):
        block = data.draw(st.integers(0, len(blocks) // 512 - 1)) * 512
        offset = data.draw(st.sampled_from([0, 100, 124, 124, 156, 157, 257, 345, 386, 482, 483]))
        value = bytes([data.draw(st.sampled_from(kinds))]) if offset == 156 else data.draw(st.binary(max_size=12))
        blocks[block + offset : block + offset + len(value)] = value
        total = sum(blocks[block : block + 148]) + 256 + sum(blocks[block + 156 : block + 512])
        blocks[block + 148 : block + 156] = b"%06o\0 " % total
    is_refused_or_sound(bytes(blocks))


FUZZ_NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "c", "a\n", "\udce9", ".release.json", "x" * 300, "\\", "é"]),
    min_size=1,
    max_size=4,
).map("/".join)
TYPES = st.sampled_from([b"0", b"\0", b"1", b"2", b"2", b"2", b"3", b"4", b"5", b"6", b"7", b"V", b"Z"])
TARRED = st.builds(
    Tarred,
    FUZZ_NAMES,
    TYPES,
    st.sampled_from([b"", b"x"]),
    st.sampled_from([0o644, 0o755, 0o4755, 0o2644]),
    FUZZ_NAMES,
    st.just({}),
)
ZIPPED = st.builds(
    Zipped,
    FUZZ_NAMES.filter(lambda name: "\udce9" not in name),
    FUZZ_NAMES.map(lambda target: target.encode(errors="surrogateescape")),
    st.sampled_from([0, 0o100644, 0o100755, 0o104755, 0o120777, 0o040755, 0o010644]),
    st.sampled_from([0, 3]),
    st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TARRED, min_size=1, max_size=6))
def test_whatever_a_tar_holds_is_refused_or_sound(packed: list[Tarred]) -> None:
    is_refused_or_sound(tar(*packed))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=300, deadline=None)
@given(st.lists(ZIPPED, min_size=1, max_size=6))
def test_whatever_a_zip_holds_is_refused_or_sound(packed: list[Zipped]) -> None:
    is_refused_or_sound(zipped(*packed))
