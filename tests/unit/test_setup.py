# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""scripts/setup refuses in one line, before it changes anything."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# What a machine holds at the least, so that PATH names nothing else: neither Python, podman nor apt-get
PROGRAMS = ("bash", "env", "dirname", "cat", "cmp", "sha256sum", "readlink", "mkdir", "ln", "flock")
NOBODY = 65534


@pytest.fixture(name="clone")
def bare_clone() -> t.Iterator[pathlib.Path]:
    """A copy of what scripts/setup needs, beside a folder `bin` for PATH and an empty home, open to every user."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        folder.chmod(0o755)
        clone = folder / "clone"
        shutil.copytree(ROOT / "scripts", clone / "scripts")
        shutil.copytree(ROOT / "requirements", clone / "requirements")
        (folder / "bin").mkdir()
        (folder / "home").mkdir()
        for name in PROGRAMS:
            found = shutil.which(name)
            assert found, name
            (folder / "bin" / name).symlink_to(found)
        yield clone


def program(clone: pathlib.Path, name: str, script: str) -> pathlib.Path:
    path = clone.parent / "bin" / name
    path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def setup(clone: pathlib.Path, *purposes: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs scripts/setup as a user without rights, also where the tests run as root."""
    unprivileged = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        [clone / "scripts" / "setup", *purposes],
        env={"PATH": str(clone.parent / "bin"), "HOME": str(clone.parent / "home"), **variables},
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        **unprivileged,  # type: ignore[call-overload]
    )


def assert_refused(clone: pathlib.Path, result: subprocess.CompletedProcess[str], *fragments: str) -> None:
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for fragment in fragments:
        assert fragment in result.stderr
    assert sorted(path.name for path in clone.iterdir()) == ["requirements", "scripts"]


def test_no_python(clone: pathlib.Path) -> None:
    assert_refused(clone, setup(clone, "controller"), "no Python 3.12, 3.13 or 3.14 found", "make PYTHON=")


def test_a_shim_that_does_not_run_is_no_python(clone: pathlib.Path) -> None:
    program(clone, "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    assert_refused(clone, setup(clone, "controller"), "no Python 3.12, 3.13 or 3.14 found")


def test_an_old_python_is_refused_by_name(clone: pathlib.Path) -> None:
    old = program(clone, "python-old", "exit 1")
    assert_refused(clone, setup(clone, "controller", PYTHON=str(old)), f"PYTHON={old}", "is not Python 3.12")


def test_podman_missing_and_not_root(clone: pathlib.Path) -> None:
    program(clone, "python3.13", "exit 0")
    assert_refused(
        clone,
        setup(clone, "lab", "controller"),
        "only root may install them",
        "apt-get install --no-install-recommends podman",
    )


def test_python_without_venv_and_not_root(clone: pathlib.Path) -> None:
    program(clone, "python3.13", 'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.13;; esac')
    assert_refused(clone, setup(clone, "controller"), "apt-get install --no-install-recommends python3.13-venv")


def test_unknown_purpose(clone: pathlib.Path) -> None:
    assert_refused(clone, setup(clone, "nonsense"), "no requirements/nonsense.txt")


def test_kubectl_missing_and_not_root(clone: pathlib.Path) -> None:
    program(clone, "python3.13", "exit 0")
    assert_refused(
        clone,
        setup(clone, "cluster", "controller"),
        "only root may install them",
        "apt-get install --no-install-recommends kubernetes-client",
    )
