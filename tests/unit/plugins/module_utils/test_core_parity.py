# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether two environments have the same core, as the filters say it and as playbooks/parity.yml does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._core.deployed import text
from ansible_collections.airstack.backbone.plugins.module_utils._dags import lock as dags_lock
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.core import core_differing, core_parity
from ansible_collections.airstack.backbone.tests.unit.dags.locks import all_locked
from ansible_collections.airstack.backbone.tests.unit.parity_run import parity

ACCEPTANCE: dict[str, Any] = {
    "environment": "acceptance",
    "airflow_version": "3.3.2",
    "image": "registry.example.com/data/airflow",
    "digest": "sha256:" + "0a" * 32,
    "wheelhouse": "1e" * 32,
    "commit": "12" * 20,
}
PRODUCTION = {**ACCEPTANCE, "environment": "production"}
OTHER = {**PRODUCTION, "digest": "sha256:" + "0b" * 32, "wheelhouse": "2f" * 32, "commit": None}


def test_the_table_is_of_this_form() -> None:
    assert core_parity(text(ACCEPTANCE), text(OTHER)).splitlines() == [
        "CORE (ACCEPTANCE / PRODUCTION)",
        "  of it       what",
        "  Airflow     same",
        "  image       0a0a0a0a0a0a / 0b0b0b0b0b0b",
        "  wheelhouse  1e1e1e1e1e1e / 2f2f2f2f2f2f",
        "  comes from  same",
        "  commit      121212121212 / none",
        "",
        "acceptance and production have different cores",
    ]


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, []),
        ({"image": "mirror.example.com/airflow", "commit": "34" * 20}, []),
        ({"digest": "sha256:" + "0b" * 32}, ["image"]),
        ({"airflow_version": "3.3.1", "wheelhouse": "2f" * 32}, ["Airflow", "wheelhouse"]),
    ],
)
def test_the_image_decides(changes: dict[str, Any], differing: list[str]) -> None:
    first, second = text(ACCEPTANCE), text({**PRODUCTION, **changes})
    assert core_differing(first, second) == core_differing(second, first) == differing
    summary = "different cores" if differing else "the same core"
    assert core_parity(first, second).splitlines()[-1] == f"acceptance and production have {summary}"


VENV: dict[str, Any] = {
    "environment": "acceptance",
    "airflow_version": "3.3.2",
    "locks": {"3.11": "3a" * 32, "3.13": "4b" * 32},
    "backbone": "5c" * 32,
    "commit": None,
}


@pytest.mark.parametrize(
    ("second", "differing"),
    [
        ({**VENV, "environment": "production"}, []),
        ({**VENV, "locks": {"3.13": "3a" * 32}}, ["lock 3.11", "lock 3.13"]),
        ({**VENV, "backbone": "0" * 64}, ["airflow_backbone"]),
        (PRODUCTION, ["image", "wheelhouse", "airflow_backbone", "lock 3.11", "lock 3.13"]),
    ],
)
def test_the_locks_of_virtual_environments_decide(second: dict[str, Any], differing: list[str]) -> None:
    assert core_differing(text(VENV), text(second)) == core_differing(text(second), text(VENV)) == differing


def test_the_table_has_what_either_has() -> None:
    second = {**VENV, "environment": "production", "locks": {"3.13": "0" * 64}}
    assert core_parity(text(VENV), text(second)).splitlines()[1:-2] == [
        "  of it             what",
        "  Airflow           same",
        "  airflow_backbone  same",
        "  commit            same",
        "  lock 3.11         3a3a3a3a3a3a / none",
        "  lock 3.13         4b4b4b4b4b4b / 000000000000",
    ]


def test_a_file_that_is_no_lock_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^prod/core\.lock\.yml is not a lock"):
        core_parity(text(ACCEPTANCE), "", ["acceptance/core.lock.yml", "prod/core.lock.yml"])


@pytest.fixture(name="folder")
def two_inventories(tmp_path: Path) -> Path:
    for name, content in {"acceptance": ACCEPTANCE, "prod": OTHER}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "core.lock.yml").write_text(text(content), encoding="utf-8")
    return tmp_path


BOTH = ("airflow_parity_from=acceptance", "airflow_parity_to=prod")


def test_the_playbook_compares_the_cores_of_environments_without_dags(folder: Path) -> None:
    run = parity(folder, *BOTH)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "acceptance and production have different cores" in run.stdout
    assert "playbooks/core.yml -i prod -e airflow_core_promote_from=acceptance/core.lock.yml" in run.stdout
    assert "SOURCES" not in run.stdout


def test_the_playbook_fails_with_everything_that_differs(folder: Path) -> None:
    for name, sources in (("acceptance", all_locked()), ("prod", {**all_locked("production"), "sources": {}})):
        (folder / name / "dags.lock.yml").write_text(dags_lock.text(sources), encoding="utf-8")
    run = parity(folder, *BOTH, "airflow_parity_required=true")
    assert run.returncode != 0
    assert "4 of 4 sources differ: etl, lake, ml, ops" in run.stdout
    assert "acceptance and production have different cores: image, wheelhouse" in run.stdout
    (folder / "prod" / "core.lock.yml").write_text(text(PRODUCTION), encoding="utf-8")
    (folder / "prod" / "dags.lock.yml").write_text(dags_lock.text(all_locked("production")), encoding="utf-8")
    run = parity(folder, *BOTH, "airflow_parity_required=true")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Nothing is left to do." in run.stdout


def test_who_names_sources_or_a_file_of_dags_asks_for_no_core(folder: Path) -> None:
    for name in ("acceptance", "prod"):
        content = dags_lock.text(all_locked("production" if name == "prod" else name))
        (folder / name / "dags.lock.yml").write_text(content, encoding="utf-8")
    files = ("airflow_parity_from=acceptance/dags.lock.yml", "airflow_parity_to=prod")
    for asked in ((*BOTH, "airflow_dags_only=etl"), files):
        run = parity(folder, *asked, "airflow_parity_required=true")
        assert run.returncode == 0, run.stdout + run.stderr
        assert "hold the same DAGs" in run.stdout
    run = parity(folder, "airflow_parity_from=acceptance/core.lock.yml", "airflow_parity_to=prod")
    assert "have different cores" in run.stdout
    assert "SOURCES" not in run.stdout


def test_a_core_that_one_environment_has_alone_is_told(folder: Path) -> None:
    (folder / "prod" / "core.lock.yml").unlink()
    run = parity(folder, *BOTH)
    assert run.returncode != 0
    assert f"- there is no file {folder}/prod/core.lock.yml\n" in run.stdout
    assert "dags.lock.yml\n" not in run.stdout


def test_the_playbook_says_what_is_wrong_with_a_file(folder: Path) -> None:
    (folder / "prod" / "core.lock.yml").write_text("x: [", encoding="utf-8")
    run = parity(folder, *BOTH)
    assert run.returncode != 0
    assert f"{folder}/prod/core.lock.yml is not a lock as playbooks/core.yml writes it:\n" in run.stdout
    assert "filter plugin" not in run.stdout + run.stderr
