# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is skipped on a person's machine fails in CI: tests/conftest.py, in a run of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.airstack.backbone.tests import conftest

TESTS = Path(__file__).parents[1]

ONE_FILE = """
import pytest

@pytest.mark.skipif(True, reason="needs a mark")
def test_mark() -> None: ...

@pytest.fixture
def absent() -> None:
    pytest.skip("needs a fixture")

def test_fixture(absent: None) -> None: ...

@pytest.mark.parametrize("one", [pytest.param(1, marks=pytest.mark.skip("needs a parameter"))])
def test_parameter(one: int) -> None: ...

def test_itself() -> None:
    pytest.skip("needs SQS; the broker is another")

@pytest.mark.xfail
def test_known() -> None:
    raise AssertionError
"""
ANOTHER = """
import pytest

pytest.importorskip("absent", reason="needs a module")
"""


def run(folder: Path, ci: str) -> str:
    for name, text in {"test_one.py": ONE_FILE, "test_another.py": ANOTHER}.items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(conftest.__file__, folder)
    environment = {**os.environ, "CI": ci, "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:xdist -p no:pytest-ansible"}
    environment["COLUMNS"] = "200"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rsfE",
        "--continue-on-collection-errors",
        f"--rootdir={folder}",
        folder,
    ]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("ci", ["", "false"])
def test_a_person_may_lack_what_tests_need(tmp_path: Path, ci: str) -> None:
    said = run(tmp_path, ci)
    assert "5 skipped, 1 xfailed" in said, said


def test_ci_may_not(tmp_path: Path) -> None:
    said = run(tmp_path, "true")
    assert "1 skipped, 1 xfailed, 4 errors" in said, said
    for need in ("a mark", "a fixture", "a parameter", "a module"):
        assert f"Skipped in CI: needs {need}.\nLet scripts/setup install what is missing" in said
    assert "needs SQS; the broker is another" in said


@pytest.mark.parametrize("reason", sorted(conftest.HOLDS_IN_CI))
def test_a_reason_that_holds_in_ci_is_one_of_a_test(reason: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py") if path.parent != TESTS]
    # A mark's own reason stands in a table: by a marker, who needs it.
    said = (f'skip("{reason}', f'skip(f"{reason}', f': ("{reason}"')
    assert any(each in text for text in texts for each in said)
