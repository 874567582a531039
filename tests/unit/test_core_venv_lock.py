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
import zipfile
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
    found = {
        "msg": "found: {{ airflow_core_problems | join('\n') }}; release: {{ airflow_core_release_path | basename }}"
    }
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


def wheel_of_ones_own(folder: Path, content: str) -> dict[str, str]:
    """A package as airflow_core_packages has it."""
    folder.mkdir()
    file = folder / "team_hooks-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("team_hooks.py"), content)
    return {"path": str(file)}


def test_wheels_of_ones_own_are_promoted_too(environments: Environments, preflight: Deployer, tmp_path: Path) -> None:
    ours, others = (wheel_of_ones_own(tmp_path / name, f"name = '{name}'") for name in ("ours", "others"))
    changed, said = environments.core("acceptance", airflow_core_packages=[ours])
    assert changed == 1, said
    hashed = hashlib.sha256(Path(ours["path"]).read_bytes()).hexdigest()
    assert environments.lock("acceptance")["packages"] == {"team_hooks-1.0-py3-none-any.whl": hashed}
    promotion = {"airflow_core_promote_from": "acceptance"}
    changed, said = environments.core("prod", airflow_core_packages=[others], **promotion)
    assert changed == -1
    assert "of airflow_core_packages, team_hooks-1.0-py3-none-any.whl is others, which is not what" in said
    assert environments.core("prod", airflow_core_packages=[ours], **promotion)[0] == 1
    assert "found: " in preflight(airflow_core_packages=[ours]).said
    assert "This is not the core" not in preflight(airflow_core_packages=[ours]).said
    for packages in ([], [others]):
        said = " ".join(preflight(airflow_core_packages=packages).said.split())
        assert "says: of airflow_core_packages, team_hooks-1.0-py3-none-any.whl is others" in said


def test_a_release_of_other_wheels_has_another_name(preflight: Deployer, tmp_path: Path) -> None:
    ours, others = (wheel_of_ones_own(tmp_path / name, f"name = '{name}'") for name in ("ours", "others"))
    names = set()
    for packages in ([], [ours], [others], [ours]):
        (name,) = re.findall(r"release: (\S+)", preflight(airflow_core_packages=packages).said)
        names.add(name)
    assert len(names) == 3


def test_what_is_no_wheel_is_refused(environments: Environments) -> None:
    packages = [{"path": "/nowhere/hooks.whl"}, {"repository": "https://git.example.com/hooks.git"}]
    changed, said = environments.core("acceptance", airflow_core_packages=packages)
    assert changed == -1
    assert "cannot have: /nowhere/hooks.whl https://git.example.com/hooks.git Nothing is built on a host" in said


def test_a_host_has_the_wheels_of_ones_own_beside_the_lock(tmp_path: Path) -> None:
    """The real uv, and a lock of one package, which lies beside it."""
    (tmp_path / "links").mkdir()
    locked, ours = (a_wheel(tmp_path / "links", name) for name in ("locked", "team_hooks"))
    lock = tmp_path / "lock.txt"
    lock.write_text(f"locked==1.0 --hash=sha256:{hashlib.sha256(locked.read_bytes()).hexdigest()}\n", encoding="utf-8")
    role = {"name": "airstack.backbone.airflow_core"}
    tasks = [{"ansible.builtin.include_role": {**role, "tasks_from": name}} for name in ("preflight", "build")]
    variables = {
        "__airflow_core_path": str(tmp_path / "airflow" / "core"),
        "__airflow_core_imports": ["locked", "team_hooks"],
    }
    build = Deployer(
        tmp_path,
        [{"hosts": "all", "gather_facts": False, "tasks": [{**task, "vars": variables} for task in tasks]}],
        {"hosts": ["one"]},
        {
            "airflow_plan": {"airflow_version": "3.3.2", "platform": "systemd", "environment": "prod"},
            "airflow_core_python": sys.executable,
            "airflow_core_requirements": {f"3.{sys.version_info.minor}": str(lock)},
            "airflow_core_cache": str(tmp_path / "cache"),
            "airflow_core_uv": str(Path(sys.executable).with_name("uv")),
            "airflow_core_environment": {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(tmp_path / "links")},
            "airflow_core_packages": [{"path": str(ours)}],
        },
        {},
    )
    run = build()
    assert run.failed == 0, run.said
    installed = {
        path.name
        for path in (tmp_path / "airflow" / "core" / "current").resolve().glob("lib/*/site-packages/*.dist-info")
    }
    assert {"locked-1.0.dist-info", "team_hooks-1.0.dist-info"} <= installed
    assert build().changed == 0


def a_wheel(folder: Path, name: str) -> Path:
    file = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", f"{name}.py,,\n")
    return file
