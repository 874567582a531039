# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""core_release with real directories and virtual environments, and an installer that only plays its part."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import core_release, core_release_info

Run = Callable[..., dict[str, Any]]

PASSWORD = "p%40ss"
INDEX = f"https://deployer:{PASSWORD}@packages.example.com/simple"

# Notes what it is called with; makes an environment that starts, and puts a module `core` into it. A line "broken" in
# the requirements stands for a package that cannot be installed.
UV = f"""#!{sys.executable}
import json, os, pathlib, subprocess, sys
arguments = sys.argv[1:]
options = dict(zip(arguments, arguments[1:]))
config = pathlib.Path(options["--config-file"]) if "--config-file" in options else None
note = {{
    "arguments": arguments,
    "environment": dict(os.environ),
    "config": config.read_text() if config else None,
    "config_mode": oct(config.stat().st_mode & 0o777) if config else None,
}}
with open(os.environ["NOTES"], "a") as notes:
    print(json.dumps(note), file=notes)
if arguments[0] == "venv":
    subprocess.run([options["--python"], "-m", "venv", "--without-pip", arguments[-1]], check=True)
elif arguments[:2] == ["pip", "sync"]:
    if "broken" in pathlib.Path(arguments[-1]).read_text():
        sys.exit("no such wheel")
    environment = pathlib.Path(options["--python"]).parents[1]
    if "unfit" in pathlib.Path(arguments[-1]).read_text():
        environment.joinpath("unfit").touch()
    next(environment.glob("lib/python*/site-packages")).joinpath("core.py").write_text("answer = 42\\n")
elif arguments[:2] == ["pip", "check"]:
    sys.exit(int(pathlib.Path(options["--python"]).parents[1].joinpath("unfit").exists()))
"""


@pytest.fixture(name="host")
def host_with_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    (tmp_path / "uv").write_text(UV)
    (tmp_path / "uv").chmod(0o755)
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "requirements.txt").write_text("apache-airflow==3.3.2\n")
    return tmp_path


@pytest.fixture(name="run")
def run_core_release(run_module: Any, host: Path) -> Run:
    return partial(
        run_module,
        core_release.main,
        path=str(host / "core"),
        sources=str(host / "sources"),
        python=sys.executable,
        cache=str(host / "cache"),
        uv=str(host / "uv"),
        imports=["core", "json"],
    )


@pytest.fixture(name="look")
def run_core_release_info(run_module: Any, host: Path) -> Run:
    return partial(
        run_module, core_release_info.main, path=str(host / "core"), python=sys.executable, cache=str(host / "cache")
    )


def notes(host: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (host / "notes").read_text().splitlines()]


def current(host: Path) -> str:
    return str((host / "core" / "current").readlink())


def test_a_release_is_built_and_becomes_the_current_one_once(run: Run, look: Run, host: Path) -> None:
    result = run(release="1-a")

    assert (result["changed"], result["built"], result["removed"]) == (True, True, [])
    assert result["release_path"] == str(host / "core" / "1-a")
    assert set(result["seconds"]) == {"uv", "packages", "imports"}
    assert result["diff"]["after"] == "1-a\n"
    assert current(host) == "1-a"
    assert list((host / "core" / "1-a").glob("lib/python*/site-packages/__pycache__/core.*.pyc"))
    assert look()["releases"] == [{"name": "1-a", "is_complete": True}]
    assert look()["current"] == "1-a"

    before = notes(host)
    again = run(release="1-a")
    assert (again["changed"], again["built"]) == (False, False)
    assert notes(host) == before


def test_wheels_are_installed_without_an_index_and_have_to_fit(run: Run, host: Path) -> None:
    assert run(release="1-a", wheels=["hooks-1.0-py3-none-any.whl"])["built"]
    install, check = (note["arguments"] for note in notes(host)[-2:])
    wheel = str(host / "sources" / "hooks-1.0-py3-none-any.whl")
    assert (install[:2], install[-3:]) == (["pip", "install"], ["--no-index", "--no-deps", wheel])
    assert check[:2] == ["pip", "check"]
    (host / "sources" / "requirements.txt").write_text("unfit\n")
    refused = run(release="1-b", wheels=["hooks-1.0-py3-none-any.whl"])
    assert "so this release does not become the current one" in refused["msg"]
    assert current(host) == "1-a"


def test_a_python_that_does_not_run_is_told(look: Run, tmp_path: Path) -> None:
    script = tmp_path / "python9"
    script.write_text("#!/bin/sh\necho not today >&2\nexit 3\n")
    script.chmod(0o755)

    assert look()["python"] == {
        "path": str(Path(sys.executable).resolve()),
        "version": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    missing = look(python="/not/there")["python"]
    assert missing == {"problem": "/not/there cannot be run: No such file or directory"}
    assert look(python=str(script))["python"] == {"problem": f"{script} does not run as a Python 3: not today"}


@pytest.mark.parametrize("said", ["hello", "3.11\\n/a\\n/b", "2.7\\n/usr/bin/python2", ""])
def test_what_is_no_python_is_told(look: Run, tmp_path: Path, said: str) -> None:
    script = tmp_path / "python9"
    script.write_text(f"#!/bin/sh\nprintf '{said}\\n'\n")
    script.chmod(0o755)
    assert (
        f"{script} is no Python 3: asked for its version and path, it said"
        in look(python=str(script))["python"]["problem"]
    )


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("name", ["current", "../precious", "a/b", ".", "..", ".hidden", "", "-a", "a b", "a\n"])
def test_what_is_no_name_of_a_release_is_refused(run: Run, host: Path, name: str, check: bool) -> None:
    before = sorted(host.iterdir())
    result = run(check=check, release=name)
    assert result["failed"] is True
    assert f"The release is named {name!r}; give it a name" in result["msg"]
    assert sorted(host.iterdir()) == before


def test_a_link_in_the_place_of_a_release_is_told_with_its_reason(run: Run, host: Path) -> None:
    (host / "core").mkdir()
    (host / "precious").mkdir()
    (host / "core" / "1-a").symlink_to(host / "precious")
    result = run(release="1-a")
    assert "symbolic link" in result["msg"]
    assert "None" not in result["msg"]
    assert (host / "precious").is_dir()


def test_an_old_release_that_cannot_be_removed_is_a_warning(
    run: Run, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, release in enumerate(["1-a", "1-b"]):
        run(release=release, keep=9)
        os.utime(host / "core" / release / "release.json", (number, number))
    remove = core_release.releases.remove

    def stubborn(root: Path, release: str) -> None:
        if release == "1-b":
            raise OSError(errno.EBUSY, "Device or resource busy", str(root / release / "bin"))
        remove(root, release)

    monkeypatch.setattr(core_release.releases, "remove", stubborn)
    result = run(release="1-c", keep=1)
    assert (result["changed"], result["removed"], current(host)) == (True, ["1-a"], "1-c")
    (warning,) = result["warnings"]
    assert f"old release 1-b cannot be removed: {host}/core/1-b/bin: Device or resource busy." in warning


def test_check_mode_tells_and_does_nothing(run: Run, look: Run, host: Path) -> None:
    result = run(check=True, release="1-a", sources="/not/there")

    assert (result["changed"], result["built"]) == (True, True)
    assert (result["diff"]["before"], result["diff"]["after"]) == ("", "1-a\n")
    assert sorted(path.name for path in host.iterdir()) == ["sources", "uv"]
    assert (look(check=True)["releases"], look()["current"]) == ([], None)


def test_a_build_that_was_cut_short_is_done_again(run: Run, look: Run, host: Path) -> None:
    leftover = host / "core" / "1-a" / "lib" / "leftover"
    leftover.mkdir(parents=True)
    assert look()["releases"] == [{"name": "1-a", "is_complete": False}]

    assert run(release="1-a")["built"] is True

    assert not leftover.exists()
    assert current(host) == "1-a"


def test_what_cannot_be_imported_does_not_become_current(run: Run, look: Run, host: Path) -> None:
    run(release="1-a")

    result = run(release="1-b", imports=["core", "not_there"])

    assert result["failed"] is True
    assert "could not import core, not_there, so this release does not become the current one" in result["msg"]
    assert "No module named 'not_there'" in result["msg"]
    assert current(host) == "1-a"
    assert {"name": "1-b", "is_complete": False} in look()["releases"]
    assert run(release="1-b")["built"] is True


def test_what_cannot_be_installed_is_told_in_the_installers_words(run: Run, host: Path) -> None:
    (host / "sources" / "requirements.txt").write_text("broken\n")

    result = run(release="1-a")

    assert result["msg"] == f"{host}/uv could not install the packages:\nno such wheel"
    assert not (host / "core" / "current").exists()


def test_an_earlier_release_comes_back_without_a_build(run: Run, host: Path) -> None:
    run(release="1-a")
    run(release="1-b")

    result = run(release="1-a")

    assert (result["changed"], result["built"]) == (True, False)
    assert (result["diff"]["before"], result["diff"]["after"]) == ("1-b\n", "1-a\n")
    assert current(host) == "1-a"


def test_only_the_newest_releases_and_those_in_use_remain(run: Run, look: Run, host: Path) -> None:
    for number, release in enumerate(["1-a", "1-b", "1-c"]):
        run(release=release, keep=9)
        os.utime(host / "core" / release / "release.json", (number, number))
        (host / "core" / ".sources" / release).mkdir(parents=True)
    (host / "core" / "1-half").mkdir()
    worker = [str(host / "core" / "1-a" / "bin" / "python"), "-c", "import time; print(flush=True); time.sleep(120)"]
    with subprocess.Popen(worker, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()

        result = run(release="1-d", keep=2)
        process.kill()

    assert result["removed"] == ["1-b", "1-half"]
    assert [release["name"] for release in look()["releases"]] == ["1-d", "1-c", "1-a"]
    assert sorted(path.name for path in (host / "core" / ".sources").iterdir()) == ["1-a", "1-c"]


def test_the_indexs_password_is_in_a_private_file_alone(run: Run, host: Path) -> None:
    result = run(release="1-a", index_url=INDEX, verbose=True)

    assert result["built"] is True
    for note in notes(host):
        assert note["config"] == f'[[index]]\nurl = "{INDEX}"\ndefault = true\n'
        assert note["config_mode"] == "0o600"
        assert PASSWORD not in json.dumps([note["arguments"], note["environment"]])
    logged = run.func.logged  # type: ignore[attr-defined]
    printed = run.func.printed  # type: ignore[attr-defined]
    assert any("Invoked with" in line for line in logged)
    assert not any(PASSWORD in text for text in [printed, *logged])


def test_pips_own_index_and_certificates_are_handed_on(run: Run, host: Path) -> None:
    (host / ".config" / "pip").mkdir(parents=True)
    (host / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.example.com/simple\ncert = /etc/ssl/company.pem\n"
    )

    run(release="1-a")

    assert {note["config"] for note in notes(host)} == {
        '[[index]]\nurl = "https://mirror.example.com/simple"\ndefault = true\n'
    }
    assert {note["environment"]["SSL_CERT_FILE"] for note in notes(host)} <= {
        "/etc/ssl/company.pem",
        os.environ.get("SSL_CERT_FILE"),
    }


def test_packages_come_with_hashes_as_wheels_and_through_the_cache(run: Run, host: Path) -> None:
    run(release="1-a", projects=["one", "two"])

    venv, sync, install = [note["arguments"] for note in notes(host)]
    assert venv[0] == "venv"
    assert {"--require-hashes", "--no-build", "--cache-dir", str(host / "cache")} <= set(sync)
    assert {"--no-index", "--no-deps", "--no-cache"} <= set(install)
    assert install[-2:] == [str(host / "sources" / "one"), str(host / "sources" / "two")]
    assert {note["environment"]["UV_SYSTEM_CERTS"] for note in notes(host)} == {"true"}


def test_others_can_read_it_whatever_the_umask(run: Run, host: Path) -> None:
    before = os.umask(0o077)
    try:
        run(release="1-a")
    finally:
        os.umask(before)

    assert (host / "core" / "1-a").stat().st_mode & 0o777 == 0o755
    assert (host / "core" / "1-a" / "bin" / "python").parent.stat().st_mode & 0o777 == 0o755


def test_a_missing_installer_is_told(run: Run, host: Path) -> None:
    result = run(release="1-a", uv=str(host / "no-uv"))
    assert result["msg"] == f"{host}/no-uv cannot be run: No such file or directory."


def test_info_names_the_interpreter_behind_all_symlinks(look: Run, host: Path) -> None:
    (host / "python3").symlink_to(sys.executable)

    result = look(python=str(host / "python3"))

    assert result["python"] == {
        "path": os.path.realpath(sys.executable),
        "version": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    assert result["machine"] == os.uname().machine
    assert sum(space["needed"] for space in result["space"]) == 2_000_000_000
