# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A controller that has the core's image built by playbooks/core.yml, on a base that mmdebstrap makes, and pushed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.airstack.backbone.tests.image import containers
from ansible_collections.airstack.backbone.tests.unit.services import image_registry

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "core-image"
SEALED = ("--read-only", "--cap-drop", "all", "--network", "none", "--security-opt", "no-new-privileges")
INVENTORY = {
    "all": {
        "children": {
            "airflow_database": {"hosts": {"one": {}}},
            "airflow_broker": {"hosts": {"one": {}}},
            "airflow_object_store": {"hosts": {"two": {}}},
            "airflow_control": {"hosts": {"one": {}}},
            "airflow_workers_etl": {"hosts": {"one": {}}},
        },
        "vars": {
            "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
            "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
            "airflow_core_image_base": "mmdebstrap:bookworm",
            "airflow_core_image_directory": str(CACHE),
        },
    }
}


class Controller:
    """A folder with inventories, a team's package, and settings with which podman starts containers in a container."""

    def __init__(self, folder: Path, registry: str, ca: Path) -> None:
        self.folder = folder
        self.repository = f"{registry}/airstack-test-core"
        self.sbom = folder / "acceptance" / ".core.sbom.json"
        self._ca = ca
        self._hooks = folder / "hooks"
        CACHE.parent.mkdir(exist_ok=True)
        (self._hooks / "team_hooks").mkdir(parents=True)
        (self._hooks / "team_hooks" / "__init__.py").write_text('"""Ours."""\n', encoding="utf-8")
        (self._hooks / "pyproject.toml").write_text(
            '[project]\nname = "team-hooks"\nversion = "1.0"\n'
            '[build-system]\nrequires = ["uv_build>=0.9,<1"]\nbuild-backend = "uv_build"\n'
            '[tool.uv.build-backend]\nmodule-root = ""\n',
            encoding="utf-8",
        )
        self.environment = containers.settings(folder)
        for environment in ("acceptance", "prod"):
            (folder / environment).mkdir()
            (folder / environment / "hosts.json").write_text(json.dumps(INVENTORY), encoding="utf-8")

    def core(self, *options: str, environment: str = "acceptance", **variables: Any) -> tuple[int, str]:
        """How many tasks of playbooks/core.yml changed something, -1 where one failed, and what it said."""
        given = {
            "airflow_environment": environment,
            "airflow_core_image": self.repository,
            "airflow_core_registry_ca": str(self._ca),
            "airflow_core_registry_username": image_registry.USER,
            "airflow_secret_registry": image_registry.PASSWORD,
            "airflow_core_packages": [{"path": str(self._hooks)}],
            **variables,
        }
        said = subprocess.run(
            [
                *(Path(sys.executable).with_name("ansible-playbook"), ROOT / "playbooks" / "core.yml"),
                *("-i", self.folder / environment, "-e", json.dumps(given), *options),
            ],
            cwd=ROOT,
            env={**self.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            check=False,
            capture_output=True,
            text=True,
        )
        text = said.stdout + said.stderr
        recap = re.search(r"changed=(\d+).*failed=0", said.stdout)
        return int(recap[1]) if recap and said.returncode == 0 else -1, text

    def lock(self, environment: str = "acceptance") -> dict[str, Any]:
        content = yaml.safe_load((self.folder / environment / "core.lock.yml").read_text(encoding="utf-8"))
        lock: dict[str, Any] = content["all"]["vars"]["airflow_core_deployed"]
        return lock

    def podman(self, *arguments: str) -> str:
        return containers.podman(self.environment, *arguments)

    def pull(self) -> str:
        """The image's name by its digest, which podman has had from the registry."""
        trusted = self.folder / "trusted"
        trusted.mkdir(exist_ok=True)
        shutil.copyfile(self._ca, trusted / "ca.crt")
        name = f"{self.lock()['image']}@{self.lock()['digest']}"
        user = f"{image_registry.USER}:{image_registry.PASSWORD}"
        self.podman("pull", "--quiet", "--cert-dir", str(trusted), "--creds", user, name)
        return name

    def run(self, *command: str, user: str = "50000:0") -> str:
        return self.podman("run", "--rm", *SEALED, "--user", user, self.image()["Names"][0], *command)

    def image(self) -> dict[str, Any]:
        # podman's own filter by reference also takes what a run left that was killed, of another registry.
        there = json.loads(self.podman("image", "ls", "--format", "json"))
        (found,) = (
            each for each in there if any(name.startswith(f"{self.repository}:") for name in each.get("Names") or ())
        )
        inspected: dict[str, Any] = json.loads(self.podman("image", "inspect", found["Id"]))[0]
        return {**found, **inspected}

    def remove(self) -> None:
        for name in self.podman("image", "ls", "--quiet", "--filter", f"reference={self.repository}").split():
            self.podman("rmi", "--force", name)
