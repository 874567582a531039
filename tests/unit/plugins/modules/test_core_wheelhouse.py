# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""core_wheelhouse with real pip and uv, an index of this machine, and packages of each kind."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import core_wheelhouse, core_wheelhouse_info

Run = Callable[..., dict[str, Any]]

UV = Path(sys.executable).with_name("uv")
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def make_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel as the packaging specifications want it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {path: hashlib.sha256(text.encode()).digest() for path, text in files.items()}
    encoded = {path: base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for path, digest in hashes.items()}
    record = "".join(f"{path},sha256={encoded[path]},{len(text)}\n" for path, text in files.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(file, (2026, 9, 17, 0, 0, 0)), text)
    return path


def make_project(folder: Path, name: str) -> Path:
    """A project that uv builds without fetching anything."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text('"""Ours."""\n', encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
        '[build-system]\nrequires = ["uv_build>=0.9,<1"]\nbuild-backend = "uv_build"\n'
        '[tool.uv.build-backend]\nmodule-root = ""\n',
        encoding="utf-8",
    )
    return folder


def commit(folder: Path) -> Path:
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "one"]):
        subprocess.run([*git, *command], check=True)
    return folder


@pytest.fixture(name="place")
def place_with_an_index(tmp_path: Path) -> Path:
    """An index of one package, the lock of it, and the project that comes with the lock."""
    page = tmp_path / "simple" / "flask-like"
    page.mkdir(parents=True)
    file = make_wheel(page, "flask_like", "2.0")
    (page / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>', encoding="utf-8")
    sources = tmp_path / "sources"
    make_project(sources / "core", "core")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (sources / "requirements.txt").write_text(f"flask-like==2.0 \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(name="run")
def run_core_wheelhouse(run_module: Any, place: Path) -> Run:
    return partial(
        run_module,
        core_wheelhouse.main,
        path=str(place / "root"),
        sources=str(place / "sources"),
        projects=["core"],
        python=PYTHON,
        pip=sys.executable,
        uv=str(UV),
        index_url=f"file://{place}/simple",
    )


def packages_of_each_kind(place: Path) -> list[dict[str, str]]:
    return [
        {"path": str(make_wheel(place, "built", "3.0"))},
        {"path": str(make_project(place / "hooks", "hooks"))},
        {
            "repository": str(commit(make_project(place / "checkout" / "python", "operators").parent)),
            "subdirectory": "python",
        },
    ]


def files(result: dict[str, Any]) -> list[str]:
    return sorted(path.name for path in Path(result["wheelhouse"]["path"]).glob("*.whl"))


def test_a_link_on_the_way_to_the_sources_is_followed(run: Run, place: Path) -> None:
    (place / "linked").symlink_to(place)
    made = run(sources=str(place / "linked" / "sources"))
    assert made["changed"], made


def test_the_lock_and_packages_of_each_kind_are_in_it(run: Run, place: Path) -> None:
    packages = packages_of_each_kind(place)
    made = run(packages=packages)
    assert made["changed"], made
    assert files(made) == [
        "built-3.0-py3-none-any.whl",
        "core-1.0-py3-none-any.whl",
        "flask_like-2.0-py3-none-any.whl",
        "hooks-1.0-py3-none-any.whl",
        "operators-1.0-py3-none-any.whl",
    ]
    assert Path(made["wheelhouse"]["path"]).name == made["wheelhouse"]["hash"]
    assert made["diff"]["after"].splitlines() == [
        "built==3.0",
        "core==1.0",
        "flask-like==2.0",
        "hooks==1.0",
        "operators==1.0",
    ]
    assert not (place / "hooks" / "dist").exists()

    again = run(packages=packages)
    assert not again["changed"]
    assert again["wheelhouse"] == made["wheelhouse"]
    assert not run(packages=packages, check=True)["changed"]

    elsewhere = run(packages=packages, path=str(place / "elsewhere"))
    assert elsewhere["changed"]
    assert elsewhere["wheelhouse"]["hash"] == made["wheelhouse"]["hash"]

    (place / "hooks" / "hooks" / "__init__.py").write_text('"""Others."""\n', encoding="utf-8")
    foreseen = run(packages=packages, check=True)
    other = run(packages=packages)
    assert foreseen["changed"]
    assert "wheelhouse" not in foreseen
    assert other["changed"]
    assert other["wheelhouse"]["hash"] != made["wheelhouse"]["hash"]


def test_check_mode_needs_no_sources_and_leaves_nothing(run: Run, place: Path) -> None:
    result = run(check=True, sources=str(place / "later"))
    assert result["changed"]
    assert not (place / "root").exists()


def test_packages_that_cannot_be_had_are_told_all_at_once(run: Run, place: Path) -> None:
    packages = [{"path": str(place / "absent.whl")}, {"path": str(place / "nowhere")}]
    for check in (True, False):
        said = run(packages=packages, check=check)["msg"]
        assert f"- {place}/absent.whl cannot be read: No such file or directory" in said
        assert f"- {place}/nowhere: {place}/nowhere is not a directory" in said


def test_what_is_no_python_project_is_refused(run: Run, place: Path) -> None:
    (place / "hooks").mkdir()
    (place / "hooks" / "hooks.py").write_text("", encoding="utf-8")
    said = run(packages=[{"path": str(place / "hooks")}])["msg"]
    assert f"{place}/hooks holds none of pyproject.toml, setup.py, setup.cfg" in said
    assert list((place / "root").glob("wheelhouses/*")) == []


def test_a_package_that_the_lock_has_is_refused(run: Run, place: Path) -> None:
    said = run(packages=[{"path": str(make_wheel(place, "flask_like", "9.0"))}])["msg"]
    assert "flask_like-9.0-py3-none-any.whl was built, and the lock has flask-like==2.0" in said


def test_another_file_of_the_same_name_is_refused(run: Run, place: Path) -> None:
    (place / "sources" / "requirements.txt").write_text(f"flask-like==2.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    said = run()["msg"]
    assert f"{sys.executable} could not download the wheels of {place}/sources/requirements.txt" in said
    assert "0" * 64 in said


def test_a_password_of_the_index_is_not_seen(run: Run, place: Path, run_module: Any) -> None:
    run(index_url="http://user:p4ssw0rd@127.0.0.1:9/simple", verbose=True)
    assert "p4ssw0rd" not in run_module.printed
    assert not any("p4ssw0rd" in line for line in run_module.logged)


def test_what_is_there_is_told(run: Run, run_module: Any, place: Path) -> None:
    look = partial(run_module, core_wheelhouse_info.main, path=str(place / "root"))
    assert look(pip=sys.executable)["wheelhouses"] == []
    made = run()["wheelhouse"]
    found = look(pip=sys.executable)
    assert found["wheelhouses"] == [{key: made[key] for key in ("path", "hash", "python")}]
    assert "version" in found["pip"]
    assert look(pip=str(place / "python"))["pip"]["problem"] == (
        f"{place}/python cannot be run: No such file or directory"
    )
