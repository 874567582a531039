# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether two environments hold the same DAGs, as the filters say it and as playbooks/parity.yml does."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._dags.lock import text
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters import dags_lock
from ansible_collections.airstack.backbone.tests.unit.dags.locks import (
    COMMIT,
    OTHER_COMMIT,
    OTHER_TREE,
    SOURCES,
    TREE,
    Lock,
    all_locked,
    entry,
    locked,
)
from ansible_collections.airstack.backbone.tests.unit.parity_run import parity

ACCEPTANCE = all_locked()
PRODUCTION = locked(
    "production",
    etl=entry("etl", commit=OTHER_COMMIT, tree=OTHER_TREE),
    lake=entry("lake", s3="s3://production-dags/lake"),
    ml=entry("ml"),
)
SAME_CONTENT = all_locked("production", etl=entry("etl", commit=OTHER_COMMIT))


def test_the_table_is_of_this_form() -> None:
    assert dags_lock.dags_parity(text(ACCEPTANCE), text(PRODUCTION)).splitlines() == [
        "SOURCES (ACCEPTANCE / PRODUCTION)",
        "  source  content                      commit                       comes from",
        "  etl     41c3a0e2b5d9 / 0f0f0f0f0f0f  3f9c2ab81d04 / 88ee11ff2233  same",
        "  lake    same                         same                         s3://example-dags/lake/ / s3://production-dags/lake",
        "  ml      same                         same                         same",
        "  ops     only in acceptance           -                            -",
        "",
        "2 of 4 sources differ",
    ]


@pytest.mark.parametrize(
    ("first", "second", "only", "differing", "summary"),
    [
        (ACCEPTANCE, PRODUCTION, [], ["etl", "ops"], "2 of 4 sources differ"),
        (PRODUCTION, ACCEPTANCE, [], ["etl", "ops"], "2 of 4 sources differ"),
        (ACCEPTANCE, all_locked("production"), [], [], "acceptance and production hold the same DAGs"),
        (ACCEPTANCE, SAME_CONTENT, [], [], "acceptance and production hold the same DAGs"),
        (ACCEPTANCE, PRODUCTION, ["ml", "lake"], [], "acceptance and production hold the same DAGs"),
        (ACCEPTANCE, PRODUCTION, ["ml", "etl"], ["etl"], "1 of 2 sources differs"),
        (ACCEPTANCE, ACCEPTANCE, ["unheard_of"], ["unheard_of"], "1 of 1 sources differs"),
    ],
)
def test_the_content_decides(first: Lock, second: Lock, only: list[str], differing: list[str], summary: str) -> None:
    assert dags_lock.dags_differing(text(first), text(second), only=only) == differing
    assert dags_lock.dags_parity(text(first), text(second), only=only).splitlines()[-1] == summary


@pytest.mark.parametrize(
    ("first", "second", "only", "advice"),
    [
        (ACCEPTANCE, PRODUCTION, [], {}),
        (ACCEPTANCE, PRODUCTION, ["ops", "ml"], {}),
        (PRODUCTION, ACCEPTANCE, [], {"ops": "ops: production has not deployed it; deploy it there first, or take it"}),
        (
            ACCEPTANCE,
            PRODUCTION,
            ["opps"],
            {"opps": "opps: neither acceptance nor production has deployed it; correct"},
        ),
    ],
)
def test_what_the_first_has_not_deployed_is_not_to_be_had_from_it(
    first: Lock, second: Lock, only: list[str], advice: dict[str, str]
) -> None:
    found = dags_lock.dags_not_deployed(text(first), text(second), only=only)
    assert {name: said[: len(advice[name])] for name, said in found.items()} == advice


def test_a_file_that_is_no_lock_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^prod/dags\.lock\.yml is not a lock .*\n- inventory: found nothing"):
        dags_lock.dags_parity(text(ACCEPTANCE), "", ["acceptance/dags.lock.yml", "prod/dags.lock.yml"])


REFUSED = "These DAGs cannot be deployed as f says; nothing was changed.\n"
PLAN: Lock = {
    "environment": "production",
    "sources": [
        {"name": source["name"], "origin": {key: source[key] for key in source if key != "name"}} for source in SOURCES
    ],
    "dags_only": None,
}


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", []),
        (text(ACCEPTANCE), []),
        ("x: [", ["f is not a lock as playbooks/dags.yml writes it:\n- it is no YAML: while parsing a flow node"]),
    ],
)
def test_a_file_that_cannot_be_written_on_is_told(content: str, problems: list[str]) -> None:
    found = dags_lock.dags_lock_problems(content, "f")
    assert [message[: len(problem)] for message, problem in zip(found, problems, strict=True)] == problems


@pytest.mark.parametrize(
    ("content", "plan", "versions", "problems"),
    [
        (text(ACCEPTANCE), PLAN, [], []),
        (text(locked(etl=entry("etl"))), {**PLAN, "dags_only": ["etl"]}, [], []),
        ("", PLAN, [], ["airflow_dags_lock_from says that these are the DAGs of f, and there is no such file"]),
        ("[]", PLAN, [], ["f is not a lock as playbooks/dags.yml writes it:\n- inventory: found "]),
        (
            text(ACCEPTANCE),
            PLAN,
            ["etl"],
            [
                f"{REFUSED}- source etl: airflow_dags_versions asks for a version of it, and the lock says which; ",
            ],
        ),
        (
            text(locked(etl=entry("etl", subdirectory=None))),
            {**PLAN, "dags_only": ["etl", "ml"]},
            [],
            [
                f"{REFUSED}- source ml: acceptance has not deployed it; deploy it there first\n- source etl: it is described",
            ],
        ),
    ],
)
def test_what_keeps_an_environment_from_following_is_told(
    content: str, plan: Lock, versions: list[str], problems: list[str]
) -> None:
    found = dags_lock.dags_follow_problems(plan, content, "f", versions)
    assert [message[: len(problem)] for message, problem in zip(found, problems, strict=True)] == problems


@pytest.mark.parametrize("before", ["", "\n", text(locked(etl=entry("etl", tree=OTHER_TREE)))])
def test_the_text_is_that_of_the_lock_after_the_deployment(before: str) -> None:
    results = {"etl": {"release": f"{COMMIT[:12]}-{TREE[:16]}", "tree": TREE, "commit": COMMIT}}
    plan = {
        "environment": "acceptance",
        "sources": [
            {"name": source["name"], "origin": {key: source[key] for key in source if key != "name"}}
            for source in SOURCES
        ],
    }
    assert dags_lock.dags_lock_text(plan, results, before) == text(locked(etl=entry("etl")))


@pytest.fixture(name="folder")
def two_inventories(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, content in {"acceptance": ACCEPTANCE, "prod": PRODUCTION}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "dags.lock.yml").write_text(text(content), encoding="utf-8")
    return tmp_path


def test_ansible_reads_an_inventory_with_a_lock_in_it(folder: pathlib.Path) -> None:
    (folder / "prod" / "hosts.yml").write_text("airflow_control: {hosts: {control1: {}}}", encoding="utf-8")
    inventory = pathlib.Path(sys.executable).with_name("ansible-inventory")
    shown = subprocess.run(
        [inventory, "--inventory", folder / "prod", "--host", "control1"],
        env={**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["airflow_dags_deployed"] == PRODUCTION


def test_the_playbook_compares_an_inventory_with_a_file(folder: pathlib.Path) -> None:
    named = ("airflow_parity_from=acceptance", f"airflow_parity_to={folder}/prod/dags.lock.yml")
    run = parity(folder, *named)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 of 4 sources differ" in run.stdout
    assert "airflow_dags_lock_from: ../acceptance/dags.lock.yml" in run.stdout
    assert "playbooks/dags.yml -i prod\n" in run.stdout


def test_the_playbook_fails_where_parity_is_required(folder: pathlib.Path) -> None:
    named = ("airflow_parity_from=acceptance", "airflow_parity_to=prod", "airflow_parity_required=true")
    run = parity(folder, *named, "airflow_dags_only=etl,ml")
    assert run.returncode != 0
    assert "msg: '1 of 2 sources differs: etl'" in run.stdout
    assert "playbooks/dags.yml -i prod -e airflow_dags_only=etl\n" in run.stdout


def test_the_playbook_advises_to_deploy_nothing_that_is_not_there(folder: pathlib.Path) -> None:
    named = ("airflow_parity_from=acceptance", "airflow_parity_to=prod")
    run = parity(folder, *named, "airflow_dags_only=etl,opps")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "opps: neither acceptance nor production has deployed it; correct airflow_dags_only" in run.stdout
    assert "playbooks/dags.yml -i prod -e airflow_dags_only=etl\n" in run.stdout
    run = parity(folder, *named, "airflow_dags_only=opps")
    assert "opps: neither" in run.stdout
    assert "playbooks/dags.yml" not in run.stdout
    run = parity(folder, "airflow_parity_from=prod", "airflow_parity_to=acceptance", "airflow_dags_only=ops")
    assert "ops: production has not deployed it" in run.stdout
    assert "playbooks/dags.yml" not in run.stdout


def test_the_playbook_names_every_file_that_is_missing(folder: pathlib.Path) -> None:
    (folder / "prod" / "dags.lock.yml").unlink()
    run = parity(folder, "airflow_parity_from=acceptanec", "airflow_parity_to=prod")
    assert run.returncode != 0
    assert f"- there is no file {folder}/acceptanec\n" in run.stdout
    assert f"- there is no file {folder}/prod/dags.lock.yml\n" in run.stdout
    assert "core.lock.yml\n" not in run.stdout
    run = parity(folder)
    assert run.returncode != 0
    assert "- airflow_parity_from is not given\n" in run.stdout
    assert "- airflow_parity_to is not given\n" in run.stdout


def test_the_playbook_says_what_is_wrong_with_a_file(folder: pathlib.Path) -> None:
    (folder / "prod" / "dags.lock.yml").write_text("x: [", encoding="utf-8")
    run = parity(folder, "airflow_parity_from=acceptance", "airflow_parity_to=prod")
    assert run.returncode != 0
    assert f"{folder}/prod/dags.lock.yml is not a lock as playbooks/dags.yml writes it:\n" in run.stdout
    assert "filter plugin" not in run.stdout + run.stderr
