# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What may be published, what it is called, and how it travels; with real files."""

from __future__ import annotations

import io
import os
import random
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import (
    DirectoryContent,
    directory_to_publish,
    scan,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.sent import SentContent, pack
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    LISTED_PROBLEMS,
    Entry,
    SourceProblems,
    check,
    is_excluded,
    leaves,
    refusal,
    tree_hash,
)
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags.trees import TREES, Executable, Link, Tree, make


def scanned(tree: Tree) -> list[Entry]:
    with tempfile.TemporaryDirectory() as directory:
        return scan(make(Path(directory), tree))


def problems_of(root: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SourceProblems) as refused:
        scan(root, exclude)
    return refused.value.problems


@given(TREES, TREES)
def test_two_trees_have_one_hash_exactly_when_they_are_the_same(first: Tree, second: Tree) -> None:
    assert (tree_hash(scanned(first)) == tree_hash(scanned(second))) == (first == second)


@given(TREES, st.randoms())
def test_the_hash_depends_neither_on_order_nor_on_times(tree: Tree, order: random.Random) -> None:
    entries = scanned(tree)
    shuffled = list(entries)
    order.shuffle(shuffled)
    assert tree_hash(shuffled) == tree_hash(entries) == tree_hash(scanned(tree))


def test_the_hash_is_of_this_format(tmp_path: Path) -> None:
    """Another one would publish every source anew. With sha256sum: the lines `f <x> a.py`, `l <a.py> latest`, `x <> run`."""
    tree: Tree = {"a.py": b"x", "run": Executable(b""), "latest": Link("a.py")}
    assert tree_hash(scan(make(tmp_path, tree))) == "7951171694a5d4b8c3f75f7028a9c2d61d73b928f2b8a1d9f50617e17b40cab8"


@pytest.mark.parametrize(
    ("pattern", "path", "is_directory", "expected"),
    [
        ("*.md", "README.md", False, True),
        ("*.md", "docs/a.md", False, True),
        ("*.md", "a.md.py", False, False),
        ("tests", "tests", True, True),
        ("tests", "tests", False, True),
        ("tests/", "tests", True, True),
        ("tests/", "etl/tests", True, True),
        ("tests/", "tests", False, False),
        ("etl/tests", "etl/tests", True, True),
        ("/tests", "tests", True, True),
        ("/tests", "etl/tests", True, False),
        ("etl/*.sql", "etl/deep/a.sql", False, True),
        ("etl/*.sql", "ml/a.sql", False, False),
        ("[ab].py", "b.py", False, True),
        ("A.py", "a.py", False, False),
    ],
)
def test_a_pattern_excludes(pattern: str, path: str, is_directory: bool, expected: bool) -> None:
    assert is_excluded(path, is_directory, [pattern]) is expected


def test_what_never_belongs_into_a_release_is_left_out(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.py": b"", ".git/HEAD": b"", "b/__pycache__/a.cpython-311.pyc": b"", "old.pyc": b""})
    (root / "empty").mkdir()
    assert [entry.path for entry in scan(root)] == ["a.py"]
    assert [entry.path for entry in scan(make(root, {"t/x": b""}), ["t/"])] == ["a.py"]


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            "fine.py": b"",
            "line\nbreak.py": b"",
            "escape\x1b[31m": b"",
            ".release.json": b"",
            ".release.manifest": b"",
            "deep/.release.json": b"",
            "absolute": Link("/etc/passwd"),
            "deep/out": Link("../../secret"),
            "deep/inside": Link("../fine.py"),
            "dangling": Link("nowhere"),
            "broken link": Link("a\nb"),
        },
    )
    (root / os.fsdecode(b"latin\xe9.py")).write_bytes(b"")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
        assert sorted(problems_of(root)) == [
            "'escape\\x1b[31m' has a control character in its name, or is not UTF-8",
            "'latin\\udce9.py' has a control character in its name, or is not UTF-8",
            "'line\\nbreak.py' has a control character in its name, or is not UTF-8",
            ".release.json is a name that a release keeps for itself",
            ".release.manifest is a name that a release keeps for itself",
            "absolute is a link to the absolute path /etc/passwd",
            "broken link is a link to 'a\\nb', which holds a control character, or is not UTF-8",
            "deep/out is a link that climbs out of the source: ../../secret",
            "pipe is a pipe, neither a file nor a link",
            "socket is a socket, neither a file nor a link",
        ]
    everything = ("*release*", "*\n*", "*\x1b*", "absolute", "out", "broken*", "pipe", "socket", "latin*")
    assert [entry.path for entry in scan(root, everything)] == ["dangling", "deep/inside", "fine.py"]


@needs.root
def test_a_device_is_refused(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs the right to make devices")
    assert problems_of(tmp_path) == ["null is a device, neither a file nor a link"]


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {".git/HEAD": b"", "__pycache__/a.pyc": b""})
    assert problems_of(tmp_path) == problems_of(tmp_path, ("*",)) == [f"{tmp_path} holds no file to publish"]


@pytest.mark.parametrize(
    ("exclude", "reason"),
    [
        (["tests/", "*.md"], "exclude covers all 3 files that are there"),
        (["*"], "exclude covers all 3 files that are there"),
        (["tests"], None),
    ],
)
def test_what_is_excluded_altogether_is_said_to_be(tmp_path: Path, exclude: list[str], reason: str | None) -> None:
    make(tmp_path, {"tests/a.py": b"", "tests/b/c.py": b"", "notes.md": b"", ".git/HEAD": b"", "tests/a.pyc": b""})
    if reason:
        assert problems_of(tmp_path, exclude) == [f"{tmp_path} holds no file to publish: {reason}"]
    else:
        assert [entry.path for entry in scan(tmp_path, exclude)] == ["notes.md"]


def test_what_is_published_is_a_directory_inside_of_src(tmp_path: Path) -> None:
    make(tmp_path / "src", {"dags/a.py": b"", "file": b"", "out": Link("..")})
    assert directory_to_publish(tmp_path / "src", "dags") == tmp_path / "src/dags"
    for subdirectory, reason in [
        ("..", f"the subdirectory .. is outside of {tmp_path}/src"),
        ("out", f"the subdirectory out is outside of {tmp_path}/src"),
        ("/etc", f"the subdirectory /etc is outside of {tmp_path}/src"),
        ("file", f"{tmp_path}/src has no directory file"),
        ("gone", f"{tmp_path}/src has no directory gone"),
    ]:
        with pytest.raises(SourceProblems) as refused:
            directory_to_publish(tmp_path / "src", subdirectory)
        assert refused.value.problems == [reason]
    with pytest.raises(SourceProblems, match="gone is not a directory"):
        directory_to_publish(tmp_path / "gone", "dags")


TARGETS = st.lists(st.sampled_from(["..", ".", "a", "b", "c", ""]), min_size=1, max_size=6).map("/".join)


@given(st.dictionaries(st.sampled_from(["l", "a/l", "a/b/l", "a/b/m", "b/m", "c"]), TARGETS, min_size=1))
def test_a_link_leaves_exactly_when_the_system_says_so(targets: dict[str, str]) -> None:
    """Against the kernel's own resolution, in trees where links lead through links."""
    links = {path: target for path, target in targets.items() if target.strip("/") and not target.startswith("/")}
    with tempfile.TemporaryDirectory() as directory:
        # Deep enough that no run of `..` reaches the real root, and every directory on the way exists outside too.
        outside = Path(directory).resolve() / "a/b/c/a/b/c/a/b/c"
        root = outside / "root"
        make(root, {"a/b/x": b"", "b/x": b"", **{path: Link(target) for path, target in links.items()}})
        for path in links:
            try:
                resolved = (root / path).resolve(strict=True)
            except (OSError, RuntimeError):
                continue
            if root != resolved and root not in resolved.parents:
                assert leaves(path, links)


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({"a": "b"}, False),
        ({"a": ".."}, True),
        ({"a/b": ".."}, False),
        ({"a/b": "../.."}, True),
        ({"a": "b/../../x"}, True),
        # Each looks inside by its text alone, and one leads out through the other.
        ({"l": "a/b/up/../x", "a/b/up": "../.."}, True),
        # Out and in again, by the name that the release happens to have
        ({"a": "../releases/x"}, True),
        ({"a": "b", "b": "/etc"}, True),
        ({"a": "b", "b": "a"}, False),
        ({"a": "a/.."}, False),
    ],
)
def test_a_link_leaves(links: dict[str, str], expected: bool) -> None:
    assert leaves(next(iter(links)), links) is expected


def test_entries_from_elsewhere_are_checked_as_files_are() -> None:
    digest = "0" * 64
    bad = [
        Entry("../a", "f", digest, 1),
        Entry("/b", "f", digest, 1),
        Entry("c//d", "f", digest, 1),
        Entry("e", "f", digest, 1),
        Entry("e/f", "f", digest, 1),
        Entry("e/f", "f", digest, 1),
        Entry("g", "l", digest, 1),
        Entry("h", "f", digest, 1, "e"),
        Entry("i", "d", digest, 1),
        Entry(".release.json", "f", digest, 1),
    ]
    assert check([Entry("fine/a", "f", digest, 1), Entry("fine/b", "l", digest, 1, "a")]) == []
    found = "\n".join(check(bad))
    for path in ("'../a'", "'/b'", "'c//d'", "e/f", "g ", "h ", "i ", ".release.json", "twice"):
        assert path in found


@given(TREES, st.data())
def test_what_is_packed_comes_out_again(tree: Tree, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = make(Path(directory), tree)
        entries = scan(root)
        contents = {entry.digest: (root / entry.path).read_bytes() for entry in entries}
        wanted = data.draw(st.sets(st.sampled_from(sorted(contents))))
        file = io.BytesIO()
        pack(DirectoryContent(root, entries), wanted, file)
    file.seek(0)
    sent = SentContent(file)
    assert sent.entries == entries
    assert {entry.digest: sent.read(entry) for entry in entries if sent.read(entry) is not None} == {
        each: contents[each] for each in wanted
    }


def test_a_file_that_changes_while_it_is_packed_is_noticed(tmp_path: Path) -> None:
    entries = scan(make(tmp_path, {"a.py": b"before"}))
    (tmp_path / "a.py").write_bytes(b"after!")
    with pytest.raises(SourceProblems, match=r"a\.py changed while it was read"):
        pack(DirectoryContent(tmp_path, entries), [entries[0].digest], io.BytesIO())


def test_a_file_that_is_gone_when_it_is_packed_is_named(tmp_path: Path) -> None:
    entries = scan(make(tmp_path, {"a.py": b"before"}))
    (tmp_path / "a.py").unlink()
    with pytest.raises(SourceProblems, match=r"^a\.py cannot be read: No such file or directory; publish again$"):
        pack(DirectoryContent(tmp_path, entries), [entries[0].digest], io.BytesIO())


def test_a_refusal_of_very_many_problems_can_be_read() -> None:
    message = refusal("etl", [f"file {number} is wrong" for number in range(1000)])
    assert message.startswith("Source 'etl' cannot be published:\n- file 0 is wrong\n")
    assert message.endswith("\n- and 950 more")
    assert len(message.splitlines()) == LISTED_PROBLEMS + 2
