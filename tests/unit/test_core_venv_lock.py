# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Virtual environments that are promoted: playbooks/core.yml writes down what hosts install, and hosts refuse anything else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airstack.backbone.tests.unit.services.role_runs import ANSIBLE_PLAYBOOK, ROOT, Deployer

LOCKS = ROOT / "roles" / "airflow_core" / "files" / "locks"
GROUPS = ("airflow_database", "airflow_broker", "airflow_object_store", "airflow_control", "airflow_workers_etl")
DESCRIPTION = {
    "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
    "airflow_core_provider": "venv",
}


class Environments:
    """The inventories of acceptance and prod, whose hosts nobody reaches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("acceptance", "prod"):
            (folder / name).mkdir()
            hosts = {group: f"{name}{2 if group == 'airflow_object_store' else 1}" for group in GROUPS}
            children = {group: {"hosts": {host: {}}} for group, host in hosts.items()}
            described = {"all": {"children": children, "vars": {**DESCRIPTION, "airflow_environment": name}}}
            (folder / name / "hosts.json").write_text(json.dumps(described), encoding="utf-8")

    def core(self, environment: str, *options: str, **variables: Any) -> tuple[int, str]:
        """How many tasks of playbooks/core.yml changed something, -1 where one failed, and what it said."""
        given = ["-i", str(self.folder / environment), "-e", json.dumps(variables), *options]
        done = subprocess.run(
            [ANSIBLE_PLAYBOOK, ROOT / "playbooks" / "core.yml", *given],
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PWD": str(self.folder)},
            check=False,
            capture_output=True,
            text=True,
        )
        recap = re.search(r"changed=(\d+).*failed=0", done.stdout)
        said = " ".join((done.stdout + done.stderr).split())
        return int(recap[1]) if recap and done.returncode == 0 else -1, said

    def lock_file(self, environment: str) -> Path:
        return self.folder / environment / "core.lock.yml"

    def lock(self, environment: str) -> dict[str, Any]:
        content = yaml.safe_load(self.lock_file(environment).read_text(encoding="utf-8"))
        lock: dict[str, Any] = content["all"]["vars"]["airflow_core_deployed"]
        return lock


@pytest.fixture(name="environments")
def two_environments(tmp_path: Path) -> Environments:
    return Environments(tmp_path)


@pytest.fixture(name="own_lock")
def lock_of_ones_own(tmp_path: Path) -> dict[str, str]:
    """What airflow_core_requirements says of a lock that differs from the collection's."""
    file = tmp_path / "own.txt"
    python = f"3.{sys.version_info.minor}"
    file.write_text((LOCKS / f"airflow-3.3.2-python-{python}.txt").read_text("utf-8") + "# ours\n", encoding="utf-8")
    return {python: str(file)}


def test_what_is_installed_is_written_down_and_taken_over(environments: Environments) -> None:
    assert environments.core("acceptance", "--check")[0] == 1
    assert not environments.lock_file("acceptance").exists()
    changed, said = environments.core("acceptance")
    assert changed == 1, said
    lock = environments.lock("acceptance")
    locks = {path.stem.rsplit("-", 1)[1]: path.read_bytes() for path in LOCKS.glob("airflow-3.3.2-python-*.txt")}
    assert lock["locks"] == {python: hashlib.sha256(content).hexdigest() for python, content in locks.items()}
    assert lock["commit"] is None
    assert environments.core("acceptance")[0] == 0
    changed, said = environments.core("prod", airflow_core_promote_from="acceptance")
    assert changed == 1, said
    assert environments.lock("prod") == {**lock, "environment": "prod"}
    assert environments.core("prod", airflow_core_promote_from="acceptance")[0] == 0


def test_production_does_not_take_over_what_it_would_not_install(
    environments: Environments, own_lock: dict[str, str]
) -> None:
    environments.core("acceptance")
    changed, said = environments.core(
        "prod", airflow_core_promote_from="acceptance", airflow_core_requirements=own_lock
    )
    assert changed == -1
    (python,) = own_lock
    assert f"Nothing was written down. - the lock for Python {python} is not what" in said
    assert not environments.lock_file("prod").exists()
    changed, said = environments.core("acceptance", airflow_core_requirements={"3.12": "/nowhere/own.txt"})
    assert changed == -1
    assert "airflow_core_requirements names /nowhere/own.txt, which is no file" in said


@pytest.fixture(name="preflight")
def preflight_of_a_host(tmp_path: Path) -> Deployer:
    role = {"name": "airstack.backbone.airflow_core", "tasks_from": "preflight"}
    found = {"msg": "found: {{ airflow_core_problems | join('\n') }}"}
    tasks = [{"ansible.builtin.include_role": role}, {"ansible.builtin.debug": found}]
    plan = {"airflow_version": "3.3.2", "platform": "systemd", "environment": "prod"}
    description = {
        "airflow_plan": plan,
        "airflow_core_python": sys.executable,
        "airflow_core_lock_file": str(tmp_path / "prod" / "core.lock.yml"),
    }
    return Deployer(
        tmp_path, [{"hosts": "all", "gather_facts": False, "tasks": tasks}], {"hosts": ["one"]}, description, {}
    )


def test_a_host_installs_what_was_taken_over_and_nothing_else(
    environments: Environments, preflight: Deployer, own_lock: dict[str, str]
) -> None:
    refused = "This is not the core that"
    assert preflight(airflow_core_requirements=own_lock).said.count(refused) == 0
    (python,) = own_lock
    missing = " ".join(preflight(airflow_core_promote_from="acceptance").said.split())
    assert f"airflow_core_promote_from is given, and there is no {environments.lock_file('prod')} yet" in missing
    environments.core("acceptance")
    environments.core("prod", airflow_core_promote_from="acceptance")
    run = preflight()
    assert (run.failed, refused in run.said) == (0, False)
    said = " ".join(preflight(airflow_core_requirements=own_lock).said.split())
    assert f"{refused} {environments.lock_file('prod')} says: the lock for Python {python} has the hash" in said
    assert "Run playbooks/core.yml for the environment" in said
