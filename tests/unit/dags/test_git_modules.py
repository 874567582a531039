# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Submodules and large files of a git repository, from real servers."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import GitAccess
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.lfs import Pointer, read_pointer
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.modules import module_addresses
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING, Known
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags.git_contents import problems_of, published
from ansible_collections.airstack.backbone.tests.unit.dags.git_servers import Site, Upstream, daemon, git, pointer, web
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Executable, before

TOKEN = "secret-token"


@pytest.fixture
def modules(tmp_path: Path) -> Upstream:
    """`platform` has `lib` as a submodule in dags/lib, which has `deep` in inner/deep: both by relative addresses."""
    root = tmp_path / "served"
    deep, lib, platform = (
        Upstream.make(root / place, name) for place, name in [("a", "deep"), ("a", "lib"), ("", "etl")]
    )
    last = deep.commit({"d.py": b"deep", "run": Executable(b"x")})
    deep.commit({"d.py": b"newer, and not what is asked for"})
    lib.commit({"l.py": b"lib"})
    lib.add_module("inner/deep", "./../deep.git", last)
    pinned = lib.commit_index()
    platform.commit({"dags/a.py": b"a", "README": b""})
    platform.add_module("dags/lib", "../a/lib.git/", pinned)
    platform.commit_index()
    return platform


MODULES: dict[str, object] = {
    "a.py": b"a",
    "lib/.gitmodules": b'[submodule "inner/deep"]\n\tpath = inner/deep\n\turl = ./../deep.git\n',
    "lib/inner/deep/d.py": b"deep",
    "lib/inner/deep/run": Executable(b"x"),
    "lib/l.py": b"lib",
}


@pytest.mark.parametrize("kind", ["path", "http"])
def test_submodules_are_published_within(modules: Upstream, cache: Path, kind: str) -> None:
    with web(Site(modules.bare.parent)) as address:
        base = str(modules.bare) if kind == "path" else f"{address}/etl.git"
        origin = GitOrigin(base, cache, subdirectory="dags", submodules=True)
        assert published(origin) == MODULES
        with origin.open(NOTHING) as content, ThreadPoolExecutor(2) as pool:
            out = cache / "out"
            out.mkdir()
            wanted = {each.digest: [Wanted(out / each.path.replace("/", "-"), each)] for each in content.entries}
            content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
        assert (out / "lib-inner-deep-d.py").read_bytes() == b"deep"


def test_a_submodule_that_is_excluded_is_not_fetched(modules: Upstream, cache: Path) -> None:
    site = Site(modules.bare.parent)
    with web(site) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, submodules=True, exclude=["deep/", ".gitmodules", "README"])
        assert list(published(origin)) == ["dags/a.py", "dags/lib/l.py"]
    assert any("lib.git" in each for each in site.asked)
    assert not any("deep.git" in each for each in site.asked)


def test_a_submodule_is_refused_unless_it_was_asked_for(modules: Upstream, cache: Path) -> None:
    origin = GitOrigin(str(modules.bare), cache)
    assert problems_of(origin) == ["dags/lib is a submodule; set submodules, or exclude it"]
    origin.exclude = ["dags/lib"]
    assert list(published(origin)) == [".gitmodules", "README", "dags/a.py"]


def test_every_submodule_that_cannot_be_had_is_named(upstream: Upstream, cache: Path) -> None:
    commit = upstream.commit({"a": b""})
    addresses = {
        "climbs": "../../../../x",
        "gone": "../gone.git",
        "local": str(upstream.bare),
        "program": "ext::sh -c touch% /tmp/x",
        "pinned": "../etl.git",
    }
    for path, address in addresses.items():
        upstream.add_module(path, address, "1" * 40 if path == "pinned" else commit)
    git(upstream.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},unknown")
    upstream.commit_index()
    with daemon(upstream.bare.parent) as server:
        problems = problems_of(GitOrigin(f"{server}/etl.git", cache, submodules=True))
    host = server.removeprefix("git://")
    assert sorted(problems) == [
        "submodule climbs: the relative address ../../../../x climbs beyond the host",
        f"submodule gone: there is no repository {server}/gone.git, or {host} does not show it to whoever asks",
        "submodule local: its address is a path of this host, and that of the main repository is not",
        f"submodule pinned: {server}/etl.git has no commit {'1' * 40}",
        "submodule program: the repository's address would have git run a program; give a URL, or user@host:path",
        "submodule unknown: .gitmodules does not give its address",
    ]


def test_submodules_end_somewhere(upstream: Upstream, cache: Path) -> None:
    commit = upstream.commit({"a": b""})
    upstream.add_module("m", "../etl.git", commit)
    for _time in range(11):
        commit = upstream.commit_index()
        git(upstream.work, "update-index", "--cacheinfo", f"160000,{commit},m")
    origin = GitOrigin(str(upstream.bare), cache, submodules=True)
    assert problems_of(origin) == [f"{'/'.join('m' * 11)} is a submodule within 10 others; exclude it"]
    origin.exclude = ["/".join("m" * 11)]
    assert len(published(origin)) == 2 * 11


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([("submodule.a.path", "x/y"), ("submodule.a.url", "../z")], {"x/y": "../z"}),
        ([("submodule.a.b.path", "x/"), ("submodule.a.b.url", "u")], {"x": "u"}),
        ([("submodule.a.path", "x"), ("submodule.b.url", "u")], {}),
        ([("core.path", "x"), ("core.url", "u"), ("submodule", "")], {}),
        ([("submodule.a.path", "x"), ("submodule.a.url", "https://me@h/x")], {"x": "https://h/x"}),
        ([("submodule.a.path", "x"), ("submodule.a.url", "ssh://git@h/x")], {"x": "ssh://git@h/x"}),
    ],
)
def test_addresses_of_submodules_are_read(settings: list[tuple[str, str]], expected: dict[str, str]) -> None:
    assert module_addresses(settings) == expected


OID = "a" * 64


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pointer(OID, 12), Pointer(OID, 12)),
        (pointer(OID, 12).rstrip(), Pointer(OID, 12)),
        (pointer(OID, 12) + b"more", None),
        (pointer("A" * 64, 12), None),
        (pointer(OID, 12).replace(b"/v1", b"/v2"), None),
        (b"", None),
    ],
)
def test_pointers_are_read(data: bytes, expected: Pointer | None) -> None:
    assert read_pointer(data) == expected


@given(st.binary(max_size=200) | st.builds(lambda a, b: pointer(OID, 1)[:a] + b, st.integers(0, 120), st.binary()))
def test_reading_a_pointer_never_fails(data: bytes) -> None:
    read = read_pointer(data)
    assert read is None or pointer(*read).strip() == data.strip()


@pytest.fixture
def site(upstream: Upstream) -> Site:
    return Site(upstream.bare.parent, token=TOKEN)


LARGE = b"large" * 50_000


@needs.git_lfs
def test_large_files_are_published_with_their_content_where_that_is_asked_for(
    upstream: Upstream, site: Site, cache: Path, tmp_path: Path
) -> None:
    small = site.store(b"small")
    upstream.commit(
        {"large.bin": site.store(LARGE), "dags/s": small, "not,a [pointer]": b"x", "run": Executable(small)}
    )
    expected = {"large.bin": LARGE, "dags/s": b"small", "not,a [pointer]": b"x", "run": Executable(b"small")}
    with web(site) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, lfs=True, access=GitAccess(token=TOKEN))
        assert published(origin) == expected
        pointers = GitOrigin(f"{address}/etl.git", cache, access=GitAccess(token=TOKEN))
        assert published(pointers)["dags/s"] == small
        with origin.open(NOTHING) as content, pointers.open(NOTHING) as others:
            assert content.marks["dags/s"] == content.marks["run"] != others.marks["dags/s"]
            known = {content.marks[each.path]: Known(each.digest, each.size) for each in content.entries}
        shutil.rmtree(next(cache.glob("*/lfs")))
        site.asked.clear()
        with origin.open(before(known)) as content:
            assert not any("/large/" in each for each in site.asked)
            [entry] = [each for each in content.entries if each.path == "large.bin"]
            assert entry[2:4] == (hashlib.sha256(LARGE).hexdigest(), len(LARGE))
            with ThreadPoolExecutor(2) as pool:
                wanted = {entry.digest: [Wanted(tmp_path / "large", entry)]}
                content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
        assert (tmp_path / "large").read_bytes() == LARGE
        assert len([each for each in site.asked if "/large/" in each]) == 1


@needs.git_lfs
def test_a_large_file_that_the_server_lacks_is_named(upstream: Upstream, site: Site, cache: Path) -> None:
    upstream.commit({"there": site.store(b"there"), "gone": site.store(b"gone"), "out": site.store(b"out")})
    del site.large[hashlib.sha256(b"gone").hexdigest()], site.large[hashlib.sha256(b"out").hexdigest()]
    with web(site) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, lfs=True, access=GitAccess(token=TOKEN), exclude=["out"])
        [problem] = problems_of(origin)
    assert problem.startswith("the content of the large file gone is missing: ")
    assert "gone: [404]" in problem


@needs.git_lfs
def test_a_large_file_that_broke_in_the_cache_is_fetched_again(upstream: Upstream, site: Site, cache: Path) -> None:
    upstream.commit({"large": site.store(LARGE)})
    with web(site) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, lfs=True, access=GitAccess(token=TOKEN))
        published(origin)
        [place] = cache.glob("*/lfs/objects/*/*/*")
        place.write_bytes(LARGE[:-1] + b"?")
        assert published(origin) == {"large": LARGE}


@needs.git_lfs
def test_large_files_of_a_local_repository_are_taken_from_it(upstream: Upstream, origin: GitOrigin) -> None:
    digest = hashlib.sha256(LARGE).hexdigest()
    place = upstream.bare / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    place.parent.mkdir(parents=True)
    place.write_bytes(LARGE)
    upstream.commit({"large": pointer(digest, len(LARGE))})
    origin.lfs = True
    assert published(origin) == {"large": LARGE}


@needs.git_lfs
def test_another_server_for_large_files_does_not_get_the_token(upstream: Upstream, site: Site, cache: Path) -> None:
    other = Site(site.root)
    access = GitAccess(token=TOKEN)
    with web(site) as address, web(other) as elsewhere:
        config = f"[lfs]\n\turl = {elsewhere}/x/info/lfs\n".encode()
        upstream.commit({"large": other.store(LARGE), ".lfsconfig": config})
        origin = GitOrigin(f"{address}/etl.git", cache, lfs=True, access=access)
        assert published(origin)["large"] == LARGE
        shutil.rmtree(next(cache.glob("*/lfs")))
        other.token = "another"
        assert "asks for credentials" in problems_of(origin)[0]
    assert other.authorizations == []


@needs.git_lfs
@pytest.mark.parametrize("url", ["ext::sh -c x", "https://me:password@h/x", "relative"])
def test_a_server_for_large_files_is_an_address_like_others(
    upstream: Upstream, site: Site, origin: GitOrigin, url: str
) -> None:
    upstream.commit({"large": site.store(LARGE), ".lfsconfig": f"[lfs]\n\turl = {url}\n".encode()})
    origin.lfs = True
    [problem] = problems_of(origin)
    assert problem.startswith("lfs.url in .lfsconfig: the repository's address ")
    assert "password@" not in problem
