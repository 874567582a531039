# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""airflow_core refuses what cannot be, and foresees an image on a host that has nothing to build one with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer

PLAN = {"airflow_version": "3.3.2", "platform": "systemd", "environment": "prod"}
BUILDERS = ("podman", "docker", "mmdebstrap")


def deployer(folder: Path, tasks: list[dict[str, Any]], **environment: str) -> Deployer:
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    return Deployer(folder, [play], {"hosts": ["one"]}, {"airflow_plan": PLAN}, environment)


@pytest.fixture(name="preflight")
def preflight_of_a_host(tmp_path: Path) -> Deployer:
    role = {"name": "airstack.backbone.airflow_core", "tasks_from": "preflight"}
    problems = "{{ airflow_core_problems | join('\n') }}"
    return deployer(
        tmp_path, [{"ansible.builtin.include_role": role}, {"ansible.builtin.debug": {"msg": f"found: {problems}"}}]
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"airflow_core_provider": "image"},
            "airflow_core_provider is image, and the platform systemd runs Airflow from",
        ),
        (
            {"airflow_core_packages": [{"path": "/srv/hooks"}]},
            "what a virtual environment cannot have: /srv/hooks Nothing is built on a host",
        ),
    ],
)
def test_what_the_platform_has_no_core_of_is_refused(preflight: Deployer, variables: dict[str, Any], said: str) -> None:
    assert said in " ".join(preflight(**variables).said.split())


@pytest.fixture(name="build")
def build_on_a_bare_host(tmp_path: Path) -> Deployer:
    """All programs of this machine but those that build."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for path in Path(folder).glob("*"):
            place = programs / path.name
            if path.name not in BUILDERS and not place.is_symlink():
                place.symlink_to(path)
    role = {"name": "airstack.backbone.airflow_core"}
    return deployer(tmp_path, [{"ansible.builtin.include_role": role}], PATH=str(programs))


def described(folder: Path, **variables: str) -> dict[str, str]:
    return {
        "airflow_core_provider": "image",
        "airflow_core_image": "localhost/none",
        "airflow_core_image_directory": str(folder / "core"),
        **variables,
    }


def test_all_that_keeps_an_image_from_being_built_is_said_at_once(build: Deployer, tmp_path: Path) -> None:
    variables = described(tmp_path, airflow_core_image_base="mmdebstrap:bookworm", airflow_core_pip="/nowhere/python3")
    run = build(**variables)
    said = " ".join(run.said.split())
    assert (run.failed, run.changed) == (1, 0)
    assert "airflow_core_image_builder is podman, and podman is not on this host's PATH. Install it" in said
    assert "There is no pip to download wheels with: /nowhere/python3 cannot be run" in said
    assert "mmdebstrap:bookworm is made by mmdebstrap, which is not on this host" in said
    assert not (tmp_path / "core").exists()


def test_docker_builds_on_no_base_that_is_made(build: Deployer, tmp_path: Path) -> None:
    run = build(**described(tmp_path, airflow_core_image_base="mmdebstrap:trixie", airflow_core_image_builder="docker"))
    said = " ".join(run.said.split())
    assert (run.failed, run.changed) == (1, 0)
    assert (
        "docker is not on this host's PATH. Install it, on Debian: apt-get install --no-install-recommends docker.io"
        in said
    )
    assert "mmdebstrap:trixie is made for podman, and airflow_core_image_builder is docker" in said


def test_check_mode_foresees_an_image_on_a_bare_host(build: Deployer, tmp_path: Path) -> None:
    run = build("--check", **described(tmp_path))
    assert run.failed == 0, run.said
    assert run.changed == 3
    assert "A run would refuse to build an image" in run.said
    assert not (tmp_path / "core").exists()


def test_a_base_without_a_lock_is_refused(build: Deployer, tmp_path: Path) -> None:
    run = build(**described(tmp_path, airflow_core_image_base="docker.io/library/python:3.9"))
    assert "There is no lock of Airflow 3.3.2 for Python 3.9" in " ".join(run.said.split())
    assert run.failed == 1
