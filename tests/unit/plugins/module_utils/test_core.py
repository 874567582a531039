# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._core import index, installer
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.lock import locked
from ansible_collections.airstack.backbone.plugins.module_utils._core.releases import (
    Release,
    current,
    superfluous,
    switch,
    users_of,
)
from ansible_collections.airstack.backbone.plugins.module_utils._core.space import (
    CACHE_BYTES,
    RELEASE_BYTES,
    Space,
    space,
)

FILE = "uv-1.2.3-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
PAGE_URL = "https://packages.example.com/root/simple/uv/"


def wheel(program: str = "uv-1.2.3.data/scripts/uv") -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        # Of a fixed time each (1980), unlike writestr by name: the same wheel has the same hash in every process.
        archive.writestr(zipfile.ZipInfo("uv/__init__.py"), "")
        archive.writestr(zipfile.ZipInfo(program), "#!/bin/sh\necho installed\n")
    return content.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Index:
    """A simple index of one project, which counts what is fetched from it."""

    def __init__(self, content: bytes, file: str = FILE) -> None:
        self.pages = {
            PAGE_URL: f'<a href="../../files/{file}#sha256=x">{file}</a>'.encode(),
            f"https://packages.example.com/root/files/{file}#sha256=x": content,
        }
        self.fetched: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self.pages[url]

    def install(self, target: Path, sha: str, cache: Path | None) -> None:
        installer.install_uv(target, wheel=FILE, sha256=sha, index_url=PAGE_URL[:-4], cache=cache, fetch=self.fetch)


def test_uv_comes_out_of_the_indexs_wheel_and_then_out_of_the_cache(tmp_path: Path) -> None:
    index, cache = Index(wheel()), tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "uv-1.2.2").touch()

    index.install(tmp_path / "one" / "uv-1.2.3", sha256(wheel()), cache)
    index.install(tmp_path / "two" / "uv-1.2.3", sha256(wheel()), cache)

    assert len(index.fetched) == 2
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["uv-1.2.3"]
    for host in ("one", "two"):
        assert subprocess.check_output([tmp_path / host / "uv-1.2.3"], text=True) == "installed\n"


def test_a_wheel_that_was_changed_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    index = Index(wheel())
    index.install(tmp_path / "one" / "uv-1.2.3", sha256(wheel()), tmp_path)
    (tmp_path / ".airstack" / FILE).write_bytes(wheel("uv-1.2.3.data/scripts/uv") + b"x")

    index.install(tmp_path / "two" / "uv-1.2.3", sha256(wheel()), tmp_path)

    assert len(index.fetched) == 4
    assert (tmp_path / ".airstack" / FILE).read_bytes() == wheel()


@pytest.mark.parametrize(
    ("content", "file", "sha", "message"),
    [
        (wheel(), FILE, "0" * 64, f"{FILE} has the hash {sha256(wheel())} in the package index, and {'0' * 64} was"),
        (wheel(), "other.whl", sha256(wheel()), f"The package index has no {FILE}; mirror it, or name a uv"),
        (wheel("uv/uv"), FILE, sha256(wheel("uv/uv")), f"{FILE} holds no program uv."),
    ],
)
def test_a_wheel_that_is_not_the_locked_one_is_refused(
    tmp_path: Path, content: bytes, file: str, sha: str, message: str
) -> None:
    with pytest.raises(CoreError) as refused:
        Index(content, file).install(tmp_path / "bin" / "uv", sha, None)
    assert str(refused.value).startswith(message)
    assert not (tmp_path / "bin" / "uv").exists()


@pytest.mark.parametrize(
    ("href", "found"),
    [
        (f"https://files.example.com/a/{FILE}#sha256=1", f"https://files.example.com/a/{FILE}#sha256=1"),
        (f"/packages/{FILE}?token=1&amp;x=2", f"https://packages.example.com/packages/{FILE}?token=1&x=2"),
        (FILE.replace("_", "%5F"), PAGE_URL + FILE.replace("_", "%5F")),
        (FILE + ".metadata", None),
        ("x-" + FILE, None),
    ],
)
def test_a_link_is_found_in_all_forms_that_indexes_write(href: str, found: str | None) -> None:
    page = f'<html><a>no link</a><a data-yanked="" href="{href}">{FILE}</a></html>'
    assert index.link_to(FILE, page, PAGE_URL) == found


@given(user=st.text(st.characters(codec="ascii"), min_size=1), password=st.text(st.characters(codec="ascii")))
def test_credentials_in_a_url_are_taken_apart(user: str, password: str) -> None:
    url = f"https://{quote(user, safe='')}:{quote(password, safe='')}@packages.example.com:8443/simple/?a=b"
    assert index.without_credentials(url) == ("https://packages.example.com:8443/simple/?a=b", user, password)


def test_a_url_without_credentials_stays() -> None:
    assert index.without_credentials("https://packages.example.com/simple") == (
        "https://packages.example.com/simple",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("url", "environment", "pip", "expected"),
    [
        (None, {}, "", index.Index(None, None)),
        ("https://asked", {"UV_DEFAULT_INDEX": "https://uv"}, "", index.Index("https://asked", None)),
        ("", {"PIP_INDEX_URL": "https://pip", "UV_INDEX_URL": "https://uv"}, "", index.Index("https://uv", None)),
        (None, {"PIP_INDEX_URL": "https://pip"}, "[global]\nindex-url=https://no", index.Index("https://pip", None)),
        (None, {}, "[global]\nindex-url=https://g\n[install]\nindex-url=https://i", index.Index("https://i", None)),
        (None, {}, "[global]\ncert = /c.pem\nindex-url = https://a%40b", index.Index("https://a%40b", "/c.pem")),
        (None, {"SSL_CERT_FILE": "/e.pem"}, "[global]\ncert = /c.pem", index.Index(None, "/e.pem")),
        (None, {}, "no configuration at all", index.Index(None, None)),
    ],
)
def test_the_index_is_the_one_asked_for_or_the_hosts_own(
    tmp_path: Path, url: str | None, environment: dict[str, str], pip: str, expected: index.Index
) -> None:
    (tmp_path / "pip.conf").write_text(pip)
    assert index.index(url, environment, [str(tmp_path / "pip.conf"), "/not/there"]) == expected


release_lists = st.lists(
    st.builds(Release, st.from_regex(r"r[0-9]{1,3}", fullmatch=True), st.booleans(), st.floats(0, 9)),
    unique_by=lambda release: release.name,
)


@given(found=release_lists, keep=st.integers(-1, 5), data=st.data())
def test_what_goes_is_never_current_nor_used_nor_among_the_newest(
    found: list[Release], keep: int, data: st.DataObject
) -> None:
    found.append(Release("current", True, 5.0))
    found.sort(key=lambda release: (not release.is_complete, -release.built))
    in_use = data.draw(st.sets(st.sampled_from([release.name for release in found])))

    going = superfluous(found, keep=keep, current_name="current", in_use=in_use)

    assert not {"current", *in_use} & set(going)
    staying = [release for release in found if release.name not in going]
    others = [release.name for release in found if release.is_complete and release.name != "current"]
    assert set(others[: max(keep - 1, 0)]) <= {release.name for release in staying}
    assert all(release.is_complete or release.name in in_use for release in staying)
    assert len([release for release in staying if release.name not in in_use]) <= max(keep, 1)


def test_a_configuration_of_another_encoding_is_read(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_bytes("[global]\n# für alle\nindex-url=https://a\n".encode("latin-1"))
    assert index.index(None, {}, [str(tmp_path / "pip.conf")]) == index.Index("https://a", None)


@pytest.mark.parametrize("file", ["maps", "cmdline"])
@pytest.mark.parametrize("seen", ["link", "data"])
def test_a_release_below_a_link_is_in_use_by_either_path(tmp_path: Path, file: str, seen: str) -> None:
    (tmp_path / "data" / "core").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "proc" / "1").mkdir(parents=True)
    (tmp_path / "proc" / "1" / file).write_text(f"r-xp 0 {tmp_path}/{seen}/core/1-a/bin/python\0")
    assert users_of(tmp_path / "link" / "core", ["1-a", "1-b"], tmp_path / "proc") == {"1-a"}


def test_room_is_asked_for_once_per_file_system(tmp_path: Path) -> None:
    [room] = space(tmp_path / "not" / "there" / "core", tmp_path / "cache")

    assert room.path == str(tmp_path / "not" / "there" / "core")
    assert room.needed == RELEASE_BYTES + CACHE_BYTES
    assert room.missing == max(room.needed - room.free, 0)


def test_missing_room_is_what_is_needed_and_not_free() -> None:
    assert Space("/opt", free=1, needed=5).missing == 4
    assert Space("/opt", free=5, needed=1).missing == 0


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(CoreError, match=f"Another process has held {path}"), locked(path, seconds=0.3):
            pass
        process.kill()
    with locked(path, seconds=60):
        assert path.exists()


def test_switching_leaves_one_link_though_an_earlier_switch_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / ".current").symlink_to("interrupted")
    for release in ("1-a", "1-b"):
        switch(tmp_path, release)
        assert current(tmp_path) == release
    assert [path.name for path in tmp_path.iterdir()] == ["current"]
