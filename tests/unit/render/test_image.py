# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an image of the core is built from. The golden files show it whole."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheels
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.core import (
    core_image_base,
    core_image_context,
    core_image_trial,
)
from ansible_collections.airstack.backbone.tests.unit.render import golden_files

PULLED = core_image_context("docker.io/library/python:3.12-slim-bookworm", "3.12", ["ca-certificates", "dumb-init"])
COPIED = core_image_context("docker.io/library/python:3.12-slim-bookworm", "3.12", builder="docker")
MADE = core_image_context("localhost/airstack-core-base:bookworm-0123456789ab", "3.11")


@pytest.mark.parametrize(("folder", "made"), [("image-pulled", PULLED), ("image-made", MADE)])
def test_files_are_the_golden_ones(folder: str, made: dict[str, str]) -> None:
    files = {f"/{name}": text for name, text in made.items()}
    assert files == golden_files.of(folder, files)


def test_the_last_layer_has_what_was_installed_and_no_step_of_its_own() -> None:
    last = PULLED["Containerfile"].rsplit("FROM ", 1)[1].splitlines()
    assert last[:2] == ["base", "COPY --from=build /opt/airflow /opt/airflow"]
    assert not any(line.startswith("RUN") for line in last)


def test_what_is_copied_is_in_a_stage_that_goes_again() -> None:
    assert "--mount" not in COPIED["Containerfile"]
    build, last = COPIED["Containerfile"].split("FROM ")[1:]
    assert build.splitlines()[1:3] == ["COPY . /context", "RUN sh /context/install.sh"]
    assert "/context" not in last


def test_a_base_that_is_made_needs_no_package() -> None:
    assert "apt-get" in PULLED["Containerfile"]
    assert "apt-get" not in MADE["Containerfile"]


@pytest.mark.parametrize("made", [PULLED, MADE, COPIED])
def test_the_script_is_one_for_any_shell(made: dict[str, str]) -> None:
    checked = subprocess.run(["sh", "-n"], input=made["install.sh"], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def tried(requirements: str, imports: list[str], commands: list[str], folder: Path) -> str:
    """What the trial says, run by this Python, with an `airflow` that has but one command."""
    program = folder / "airflow"
    program.write_text('#!/bin/sh\n[ "$1" = scheduler ] || { echo "no command $1" >&2; exit 2; }\n', encoding="utf-8")
    program.chmod(0o755)
    text = core_image_trial(requirements, imports, commands)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    run = subprocess.run(
        [sys.executable, "-"], input=text, env=environment, check=False, capture_output=True, text=True
    )
    assert (run.returncode == 0) == (run.stderr == "")
    return run.stderr


def test_a_trial_says_all_that_is_wrong(tmp_path: Path) -> None:
    installed = wheels.requirements(
        wheels.Wheel(wheels.normalized(each.metadata["Name"]), each.version, "", "aa") for each in distributions()
    )
    assert tried(installed, ["json"], ["scheduler"], tmp_path) == ""
    less = installed.replace(f"pytest=={pytest.__version__}", "pytest==0")
    said = tried(
        f"{less}absent-thing==1 --hash=sha256:aa\n", ["json", "nowhere"], ["scheduler", "celery worker"], tmp_path
    )
    assert said.splitlines() == [
        "absent-thing is None, and should be 1",
        f"pytest is {pytest.__version__}, and should be 0",
        "nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        "airflow celery worker does not start: no command celery",
    ]


def test_a_base_is_told_with_its_problems() -> None:
    found = core_image_base("mmdebstrap:bookworm", "", "recipe")
    assert (found["release"], found["python"], found["problems"]) == ("bookworm", "3.11", [])
    assert core_image_base("base", "")["problems"] != []
