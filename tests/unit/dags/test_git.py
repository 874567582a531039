# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is published of a git repository: which commit, which files, with what content. From real servers."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import scan
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import GitAccess
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING, Before, Known
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry, SourceProblems
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags.git_contents import (
    commands,
    found,
    problems_of,
    published,
    record_git,
)
from ansible_collections.airstack.backbone.tests.unit.dags.git_servers import (
    Site,
    Upstream,
    daemon,
    git,
    pointer,
    ssh,
    web,
)
from ansible_collections.airstack.backbone.tests.unit.dags.trees import TREES, Executable, Link, Tree, before, make

TOKEN = "secret-token"


class Served(NamedTuple):
    """A repository, where it is served, and what opens it."""

    upstream: Upstream
    address: str
    access: GitAccess


@contextmanager
def served(kind: str, root: Path) -> Iterator[Served]:
    upstream = Upstream.make(root / "served", "etl")
    with ExitStack() as stack:
        access = GitAccess()
        if kind == "ssh":
            server = stack.enter_context(ssh(root / "served", root / "sshd"))
            address, access = server.address, GitAccess(ssh_key=server.key, known_hosts=server.known_hosts)
        elif kind == "git":
            address = stack.enter_context(daemon(root / "served"))
        elif kind.startswith("http"):
            site = Site(root / "served", token=TOKEN, version_2=kind == "http")
            address, access = stack.enter_context(web(site)), GitAccess(token=TOKEN)
        else:
            address = f"file://{root / 'served'}" if kind == "file" else str(root / "served")
        yield Served(upstream, f"{address}/etl.git", access)


@pytest.mark.parametrize(
    "kind", ["path", "file", "git", "http", "http of version 0", pytest.param("ssh", marks=needs.sshd)]
)
def test_a_repository_is_read_by_any_protocol(kind: str, tmp_path: Path, cache: Path) -> None:
    """Its last commit, one before by the name of an annotated tag, another by its own, and one that is not there."""
    with served(kind, tmp_path) as server:
        commits = []
        for number in range(3):
            commits.append(server.upstream.commit({"a": str(number).encode()}))
            git(server.upstream.work, "tag", "--annotate", "--message", "release", f"v{number}")
        server.upstream.push("v1")

        def origin(version: str | None) -> GitOrigin:
            return GitOrigin(server.address, cache, version, access=server.access)

        assert origin(None).revision()["commit"] == commits[2]
        assert published(origin(None)) == {"a": b"2"}
        assert published(origin("v1")) == {"a": b"1"}
        assert published(origin(commits[0])) == {"a": b"0"}
        assert problems_of(origin("1" * 40)) == [f"{server.address} has no commit {'1' * 40}"]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    """A repository whose first commit has tags, and whose second has branches and a ref of another kind."""
    upstream = Upstream.make(tmp_path_factory.mktemp("versions") / "served", "etl")
    upstream.commit({"a": b"first"})
    git(upstream.work, "tag", "light")
    git(upstream.work, "tag", "--annotate", "--message", "release", "v1")
    upstream.commit({"a": b"second"})
    upstream.push("HEAD:refs/heads/team/etl", "light", "v1", "HEAD:refs/pull/7/head")
    return upstream


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, b"second"),
        ("main", b"second"),
        ("team/etl", b"second"),
        ("light", b"first"),
        ("v1", b"first"),
        ("refs/tags/v1", b"first"),
        ("refs/heads/main", b"second"),
        ("refs/pull/7/head", b"second"),
    ],
)
def test_a_version_is_a_branch_a_tag_or_a_full_name(
    versions: Upstream, cache: Path, version: str | None, expected: bytes
) -> None:
    origin = GitOrigin(str(versions.bare), cache, version)
    assert origin.revision() == {
        "repository": str(versions.bare),
        "commit": git(versions.bare, "rev-parse", f"{version or 'HEAD'}^{{commit}}"),
        "subdirectory": None,
        "exclude": [],
        "submodules": False,
        "lfs": False,
    }
    assert published(origin) == {"a": expected}


def test_a_version_is_the_name_of_a_commit_or_of_an_annotated_tag(versions: Upstream, cache: Path) -> None:
    for name, expected in (("main", b"second"), ("main~1", b"first"), ("v1", b"first")):
        sha = git(versions.bare, "rev-parse", name)
        assert GitOrigin(str(versions.bare), cache, sha.upper()).revision()["commit"] == sha
        assert published(GitOrigin(str(versions.bare), cache, sha.upper())) == {"a": expected}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("mian", "has no branch or tag mian; near it are main"),
        ("nothing-like-it", "has no branch or tag nothing-like-it"),
        ("a1b2c3d", "has no branch or tag a1b2c3d; a commit is named with all of its 40 digits"),
        ("refs/heads/mains", "has no refs/heads/mains; near it are refs/heads/main, refs/heads/team/etl"),
        ("refs/pull/8/head", "has no refs/pull/8/head"),
        ("-main", "has no branch or tag -main; near it are main"),
        ("*", "has no branch or tag *"),
    ],
)
def test_a_version_that_is_missing_is_named_with_what_is_near(
    versions: Upstream, cache: Path, version: str, expected: str
) -> None:
    assert problems_of(GitOrigin(str(versions.bare), cache, version)) == [f"{versions.bare} {expected}"]


@pytest.mark.parametrize("version", ["", "a\nb", "\ud800"])
def test_a_version_that_no_ref_can_have_is_refused_before_anybody_is_asked(cache: Path, version: str) -> None:
    assert problems_of(GitOrigin("https://nowhere.invalid/x", cache, version)) == [
        "the version is empty, or holds a control character"
    ]


def test_a_name_of_both_a_branch_and_a_tag_is_refused(upstream: Upstream, origin: GitOrigin) -> None:
    upstream.commit({"a": b""})
    upstream.push("HEAD:refs/tags/main")
    origin.version = "main"
    assert problems_of(origin) == [
        f"{upstream.bare} has both a branch and a tag main: write refs/heads/main or refs/tags/main"
    ]


def test_a_repository_without_a_commit_is_refused(upstream: Upstream, origin: GitOrigin) -> None:
    assert problems_of(origin) == [f"{upstream.bare} has no commit on a default branch; name a version"]


def test_equal_revisions_are_of_equal_content_whatever_the_version_is_called(upstream: Upstream, cache: Path) -> None:
    commit = upstream.commit({"dags/a": b""})

    def revision(**fields: Any) -> dict[str, Any]:
        return GitOrigin(str(upstream.bare), cache, **fields).revision()

    base = revision()
    assert revision(version="main") == revision(version=commit) == revision(access=GitAccess(token=TOKEN)) == base
    assert revision(subdirectory="./dags//") == revision(subdirectory="dags") != base
    others = [revision(exclude=["*.md"]), revision(submodules=True), revision(lfs=True)]
    assert all(other != base for other in others)


def test_what_the_revision_said_is_read_also_when_the_branch_has_moved_on(upstream: Upstream, cache: Path) -> None:
    upstream.commit({"a": b"first"})
    origin = GitOrigin(str(upstream.bare), cache, "main")
    revision = origin.revision()
    upstream.commit({"a": b"second"})
    assert published(origin) == {"a": b"first"}
    assert origin.revision() == revision
    assert published(GitOrigin(str(upstream.bare), cache, "main")) == {"a": b"second"}


def test_a_branch_that_was_pushed_by_force_is_followed(upstream: Upstream, cache: Path) -> None:
    upstream.commit({"a": b"first"})
    upstream.commit({"a": b"second"})
    assert published(GitOrigin(str(upstream.bare), cache, "main")) == {"a": b"second"}
    git(upstream.work, "reset", "--quiet", "--hard", "HEAD~1")
    upstream.commit({"a": b"third"})
    assert published(GitOrigin(str(upstream.bare), cache, "main")) == {"a": b"third"}


def test_a_commit_that_was_pushed_away_meanwhile_is_asked_for_again(upstream: Upstream, cache: Path) -> None:
    upstream.commit({"a": b"first"})
    with web(Site(upstream.bare.parent, version_2=False)) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, "main")
        origin.revision()
        git(upstream.work, "checkout", "--quiet", "--orphan", "other")
        upstream.commit({"a": b"second"})
        assert problems_of(origin) == [f"{address}/etl.git moved refs/heads/main on while it was read; publish again"]


def test_a_commit_that_was_fetched_is_published_without_the_server(upstream: Upstream, cache: Path) -> None:
    commit = upstream.commit({"a": b"first"})
    with daemon(upstream.bare.parent) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, commit)
        assert published(origin) == {"a": b"first"}
    assert published(GitOrigin(origin.repository, cache, commit)) == {"a": b"first"}
    assert "cannot be reached" in problems_of(GitOrigin(origin.repository, cache, "main"))[0]


def entries_or_problems(read: Callable[[], Sequence[Entry]]) -> list[object]:
    try:
        return [*read()]
    except SourceProblems as refused:
        return [*sorted(refused.problems)]


@settings(max_examples=10, deadline=None)
@given(TREES, st.sampled_from(["", "deep", "deep/er"]))
def test_any_tree_is_published_as_a_directory_of_the_same_content_is(tree: Tree, beneath: str) -> None:
    placed: Tree = {os.path.join(beneath, path): content for path, content in tree.items()}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        upstream = Upstream.make(root / "served", "etl")
        upstream.commit({**placed, "README": b"not in a subdirectory"} if beneath else placed)

        def read() -> Sequence[Entry]:
            with GitOrigin(str(upstream.bare), root / "cache", subdirectory=beneath).open(NOTHING) as content:
                assert found(content) == dict(tree)
                return content.entries

        assert entries_or_problems(read) == entries_or_problems(lambda: scan(make(root / "same", tree)))


LINKED_TREES = st.tuples(
    TREES, st.sampled_from(["", "a", "b", "a/b", "../x", "/etc"]), st.sampled_from(["l", "a/l"])
).map(lambda drawn: {**drawn[0], drawn[2]: Link(drawn[1])} if drawn[1] and "a" not in drawn[0] else drawn[0])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(LINKED_TREES, min_size=2, max_size=4), st.sampled_from(["", "deep"]), st.sampled_from([[], ["a", "*.py"]])
)
def test_what_changed_is_read_alone_and_gives_the_same(trees: list[Tree], beneath: str, exclude: list[str]) -> None:
    """Each commit after the one that was published before, and from nothing."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        upstream = Upstream.make(root / "served", "etl")
        earlier = NOTHING
        for tree in trees:
            upstream.commit({**{os.path.join(beneath, path): each for path, each in tree.items()}, "README": b"x"})

            def read(since: Before) -> tuple[Before, dict[str, object]] | set[str]:
                origin = GitOrigin(str(upstream.bare), root / "cache", None, beneath or None, exclude)
                try:
                    with origin.open(since) as content:
                        return Before(content.entries, content.marks, origin.revision()), found(content)
                except SourceProblems as refused:
                    return set(refused.problems)

            whole, again = read(NOTHING), read(earlier)
            if isinstance(whole, set):
                assert isinstance(again, set)
                assert again <= whole
            else:
                assert again == whole
                earlier = whole[0]


def test_nothing_is_listed_but_what_changed(
    upstream: Upstream, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree: dict[str, Any] = {"a": b"1", "b": Executable(b"2"), "c/d": b"3"}
    upstream.commit(tree)
    origin = GitOrigin(str(upstream.bare), cache)
    with origin.open(NOTHING) as content:
        earlier = Before(content.entries, content.marks, origin.revision())
    upstream.commit({**tree, "b": Executable(b"4"), "c/e": b"5"})
    log = record_git(tmp_path, monkeypatch)
    with GitOrigin(str(upstream.bare), cache).open(earlier) as content:
        assert found(content) == {**tree, "b": Executable(b"4"), "c/e": b"5"}
    assert "ls-tree" not in commands(log)
    assert "diff-tree" in commands(log)
    other = replace(earlier, revision={**(earlier.revision or {}), "exclude": ["a"]})
    gone = replace(earlier, revision={**(earlier.revision or {}), "commit": "1" * 40})
    for unlike in (other, gone):
        log.write_text("")
        with GitOrigin(str(upstream.bare), cache).open(unlike) as content:
            assert found(content) == {**tree, "b": Executable(b"4"), "c/e": b"5"}
        assert "ls-tree" in commands(log)


@pytest.mark.parametrize(
    ("subdirectory", "exclude", "expected"),
    [
        (None, [], ["README.md", "dags/a.py", "dags/sql/b.sql", "dags/sql/old/c.sql", "tests/t.py"]),
        ("dags", [], ["a.py", "sql/b.sql", "sql/old/c.sql"]),
        ("dags/sql", [], ["b.sql", "old/c.sql"]),
        ("dags/./sql/", [], ["b.sql", "old/c.sql"]),
        (None, ["*.md", "tests/", "dags/sql/old"], ["dags/a.py", "dags/sql/b.sql"]),
        (None, ["dags"], ["README.md", "tests/t.py"]),
        ("dags", ["dags", "sql/*"], ["a.py"]),
        ("dags", ["a.py/", "old"], ["a.py", "sql/b.sql"]),
    ],
)
def test_a_part_is_published(
    upstream: Upstream, cache: Path, subdirectory: str | None, exclude: list[str], expected: list[str]
) -> None:
    names = ["README.md", "dags/a.py", "dags/__pycache__/a.pyc", "dags/sql/b.sql", "dags/sql/old/c.sql", "tests/t.py"]
    upstream.commit({name: name.encode() for name in names})
    origin = GitOrigin(str(upstream.bare), cache, subdirectory=subdirectory, exclude=exclude)
    assert list(published(origin)) == expected


@pytest.mark.parametrize(
    ("subdirectory", "expected"),
    [
        ("dag", "has no directory dag; at the top it has dags, tests"),
        ("dags/b", "has no directory dags/b; at the top it has dags, tests"),
        ("dags/a.py", "has no directory dags/a.py; at the top it has dags, tests"),
        ("link", "has no directory link; at the top it has dags, tests"),
        ("../x", "the subdirectory ../x is outside of {bare}"),
        ("/dags", "the subdirectory /dags is outside of {bare}"),
        ("a\nb", "the subdirectory 'a\\nb' is outside of {bare}"),
        ("dags/vendor", "dags/vendor is a submodule; make its repository a source, instead of dags/vendor"),
        ("dags/vendor/x", "dags/vendor is a submodule; make its repository a source, instead of dags/vendor/x"),
    ],
)
def test_a_subdirectory_that_is_none_is_refused(
    upstream: Upstream, origin: GitOrigin, subdirectory: str, expected: str
) -> None:
    commit = upstream.commit({"dags/a.py": b"", "tests/t.py": b"", "README": b"", "link": Link("dags")})
    upstream.add_module("dags/vendor", "../vendor.git", commit)
    last = upstream.commit_index()
    origin.subdirectory = subdirectory
    expected = expected.format(bare=upstream.bare)
    assert problems_of(origin) == [f"commit {last} {expected}" if expected.startswith("has") else expected]


@pytest.mark.parametrize(
    ("subdirectory", "expected"),
    [
        (None, "holds no file to publish: exclude covers all 2 files that are there"),
        ("dags", "has no file in dags: exclude covers the one file that is there"),
    ],
)
def test_nothing_to_publish_is_refused(
    upstream: Upstream, cache: Path, subdirectory: str | None, expected: str
) -> None:
    upstream.commit({"dags/a.md": b"", "b.md": b"", "dags/a.pyc": b""})
    origin = GitOrigin(str(upstream.bare), cache, subdirectory=subdirectory, exclude=["*.md"])
    assert problems_of(origin) == [f"{upstream.bare} {expected}"]


def test_everything_that_cannot_be_published_is_refused_at_once_and_by_name(
    upstream: Upstream, origin: GitOrigin
) -> None:
    commit = upstream.commit(
        {
            "absolute": Link("/etc/passwd"),
            "climbing": Link("../outside"),
            "odd": Link("a\nb"),
            "long": Link("x" * 4000 + "/" * 95),
            ".release.json": b"{}",
            "good.py": b"",
        }
    )
    blob = git(upstream.work, "hash-object", "-w", "--stdin", data=b"x")
    long = git(upstream.work, "hash-object", "-w", "--stdin", data=b"x" * 5000)
    names = [
        f"100644 {blob}\t{'n' * 300}",
        f"100644 {blob}\tline\nbreak",
        f"100644 {blob}\tno-\udcff-utf8",
        f"120000 {long}\ttoo-long",
    ]
    lines = "".join(f"{name}\0" for name in [*names, f"160000 {commit}\tvendor"])
    git(upstream.work, "update-index", "-z", "--index-info", data=lines.encode("utf-8", "surrogateescape"))
    upstream.commit_index()
    assert sorted(problems_of(origin)) == [
        "'line\\nbreak' has a control character in its name, or is not UTF-8",
        "'no-\\udcff-utf8' has a control character in its name, or is not UTF-8",
        ".release.json is a name that a release keeps for itself",
        "absolute is a link to the absolute path /etc/passwd",
        "climbing is a link that climbs out of the source: ../outside",
        f"{'n' * 300} has a name of more than 255 bytes",
        "odd is a link to 'a\\nb', which holds a control character, or is not UTF-8",
        "too-long is a link to a path of more than 4095 bytes, which none can be",
        "vendor is a submodule; set submodules, or exclude it",
    ]


def test_a_tree_that_no_checkout_would_make_is_refused(upstream: Upstream, origin: GitOrigin) -> None:
    blob = git(upstream.work, "hash-object", "-w", "--stdin", data=b"x")
    inner = git(upstream.work, "mktree", data=f"100644 blob {blob}\t..\n".encode())
    tree = git(upstream.work, "mktree", data=f"040000 tree {inner}\t..\n100644 blob {blob}\t.git\n".encode())
    commit = git(upstream.work, "commit-tree", "-m", "x", tree)
    upstream.push(f"{commit}:refs/heads/main")
    assert problems_of(origin) == ["../.. is a path that climbs"]


def test_what_is_known_is_not_read(upstream: Upstream, cache: Path) -> None:
    """A digest that is not the content's shows that it was taken from what is known."""
    upstream.commit({"a": b"a", "same": b"a", "b": b"b"})
    with GitOrigin(str(upstream.bare), cache).open(NOTHING) as content:
        marks = dict(content.marks)
    assert marks["a"] == marks["same"] != marks["b"]
    upstream.commit({"a": b"a", "b": b"changed", "moved": b"b"})
    known = {marks["a"]: Known("0" * 64, 7), marks["b"]: Known("1" * 64, 8)}
    with GitOrigin(str(upstream.bare), cache).open(before(known)) as content:
        read = {entry.path: (entry.digest, entry.size) for entry in content.entries}
    changed = (hashlib.sha256(b"changed").hexdigest(), 7)
    assert read == {"a": ("0" * 64, 7), "b": changed, "moved": ("1" * 64, 8)}


def test_only_what_is_new_is_fetched(upstream: Upstream, cache: Path) -> None:
    site = Site(upstream.bare.parent)
    tree = {f"f{number}": os.urandom(1000) for number in range(120)}
    with web(site) as address:
        sent = []
        for content in (b"old", b"new"):
            tree["f7"] = content
            upstream.commit(tree)
            site.sent = 0
            assert published(GitOrigin(f"{address}/etl.git", cache)) == tree
            sent.append(site.sent)
    assert sent[0] > 120_000
    assert sent[1] < 5000


def test_a_commit_is_written(upstream: Upstream, origin: GitOrigin, tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    upstream.commit({"large": large, "small": b"s", "run": Executable(b"r"), "empty": b"", "link": Link("small")})
    out = tmp_path / "out"
    out.mkdir()
    with origin.open(NOTHING) as content, ThreadPoolExecutor(4) as pool:
        wanted: dict[str, list[Wanted]] = {}
        for entry in content.entries:
            if entry.kind != "l":
                places = [Wanted(out / entry.path, entry), Wanted(out / f"{entry.path}.copy", entry)]
                wanted[entry.digest] = places[: 1 if entry.path == "large" else 2]
        written = content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
        assert content.write(pool, {}, Attributes(os.geteuid(), os.getegid())) == 0
    assert written == len(large) + 2 + 2
    expected = {"large": large, "small": b"s", "small.copy": b"s", "run": b"r", "run.copy": b"r", "empty": b""}
    assert {each.name: each.read_bytes() for each in out.iterdir()} == {**expected, "empty.copy": b""}
    assert {each.name for each in out.iterdir() if each.stat().st_mode & 0o111} == {"run", "run.copy"}


def test_the_number_of_processes_does_not_depend_on_the_number_of_files(
    upstream: Upstream, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = record_git(tmp_path, monkeypatch)
    upstream.commit({f"d{number % 7}/f{number}": str(number).encode() for number in range(300)})
    out = tmp_path / "out"
    out.mkdir()
    with GitOrigin(str(upstream.bare), cache).open(NOTHING) as content, ThreadPoolExecutor(4) as pool:
        for entry in content.entries[:20]:
            content.read(entry)
        wanted = {each.digest: [Wanted(out / str(number), each)] for number, each in enumerate(content.entries)}
        content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
        marks = {content.marks[entry.path]: Known(entry.digest, entry.size) for entry in content.entries}
    assert commands(log) == ["ls-remote", "init", "fetch", "gc", "ls-tree", "cat-file"]
    log.unlink()
    with GitOrigin(str(upstream.bare), cache).open(before(marks)):
        pass
    assert commands(log) == ["ls-remote", "ls-tree"]


def test_nothing_of_the_repository_or_the_machine_runs(
    upstream: Upstream, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters, attributes, hooks and settings that would each leave a file behind, or bend the address."""
    ran = tmp_path / "ran"
    (tmp_path / ".gitconfig").write_text(
        f'[url "/nowhere/"]\n\tinsteadOf = {tmp_path}/\n[filter "evil"]\n\tsmudge = touch {ran}\n\tprocess = touch {ran}\n'
        f"[core]\n\thooksPath = {tmp_path}/hooks\n\tfsmonitor = touch {ran}\n"
        f"[uploadpack]\n\tpackObjectsHook = touch {ran};\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {ran}")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (hooks / name).chmod(0o755)
    upstream.commit({".gitattributes": b"* filter=evil text eol=crlf ident\n", "a": b"$Id$\n"})
    expected = {".gitattributes": b"* filter=evil text eol=crlf ident\n", "a": b"$Id$\n"}
    assert published(GitOrigin(str(upstream.bare), cache)) == expected
    assert not ran.exists()


@pytest.mark.parametrize(
    ("programs", "is_lfs", "expected"),
    [
        ([], False, "git is not installed on this host; install the package git"),
        (
            ["git"],
            True,
            "its large files cannot be fetched: git-lfs is not installed on this host; install the package",
        ),
    ],
)
def test_a_program_that_is_missing_is_named(
    upstream: Upstream,
    origin: GitOrigin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: list[str],
    is_lfs: bool,
    expected: str,
) -> None:
    upstream.commit({"large": pointer("a" * 64, 12)})
    (tmp_path / "bin").mkdir()
    for each in programs:
        (tmp_path / "bin" / each).symlink_to(str(shutil.which(each)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    origin.lfs = is_lfs
    assert problems_of(origin)[0].startswith(expected)
