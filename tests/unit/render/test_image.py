# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an image of the core is built from. The golden files show it whole."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.airstack.backbone.plugins.filter.core import core_image_base, core_image_context
from ansible_collections.airstack.backbone.tests.unit.render import golden_files

IMPORTS = ["airflow.sdk", "airflow_backbone.policy"]
PULLED = core_image_context(
    "docker.io/library/python:3.12-slim-bookworm", "3.12", ["ca-certificates", "dumb-init"], IMPORTS
)
MADE = core_image_context("localhost/airstack-core-base:bookworm-0123456789ab", "3.11", [], IMPORTS)


@pytest.mark.parametrize(("folder", "made"), [("image-pulled", PULLED), ("image-made", MADE)])
def test_files_are_the_golden_ones(folder: str, made: dict[str, str]) -> None:
    files = {f"/{name}": text for name, text in made.items()}
    assert files == golden_files.of(folder, files)


def test_the_last_layer_has_what_was_installed_and_no_step_of_its_own() -> None:
    last = PULLED["Containerfile"].rsplit("FROM ", 1)[1].splitlines()
    assert last[:2] == ["base", "COPY --from=build /opt/airflow /opt/airflow"]
    assert not any(line.startswith("RUN") for line in last)


def test_a_base_that_is_made_needs_no_package() -> None:
    assert "apt-get" in PULLED["Containerfile"]
    assert "apt-get" not in MADE["Containerfile"]


@pytest.mark.parametrize("made", [PULLED, MADE])
def test_the_script_is_one_for_any_shell(made: dict[str, str]) -> None:
    checked = subprocess.run(["sh", "-n"], input=made["install.sh"], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_a_base_is_told_with_its_problems() -> None:
    found = core_image_base("mmdebstrap:bookworm", "", "recipe")
    assert (found["release"], found["python"], found["problems"]) == ("bookworm", "3.11", [])
    assert core_image_base("base", "")["problems"] != []
