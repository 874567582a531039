# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Roles run by ansible-playbook, as a person runs them, on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers

ROOT = Path(__file__).parents[3]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


def on_path(folder: Path, programs: Mapping[str, str]) -> dict[str, str]:
    """The environment with these programs, by name: what a shell does. They stand in a folder of that one."""
    place = folder / "programs"
    place.mkdir(exist_ok=True)
    for name, does in programs.items():
        (place / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (place / name).chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def rabbitmqctl(node: brokers.RabbitMQ, **environment: str) -> str:
    """What a shell does to ask this node, with more of an environment."""
    told = " ".join(shlex.quote(f"{name}={value}") for name, value in {**node.environment, **environment}.items())
    return f'exec env -i {told} {needs.RABBITMQ}/rabbitmqctl "$@"'


class Run:
    """What a run said, and how many tasks changed something or failed."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.said = process.stdout + process.stderr
        recaps = re.findall(r"changed=(\d+).*failed=(\d+)", process.stdout)
        assert recaps, self.said
        self.changed, self.failed = (sum(int(recap[at]) for recap in recaps) for at in (0, 1))


class Deployer:
    """A controller with a playbook, hosts by group, a description, and more of its environment."""

    def __init__(
        self,
        folder: Path,
        playbook: Sequence[Mapping[str, Any]],
        groups: Mapping[str, Sequence[str]],
        description: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self._playbook = playbook
        self._groups = groups
        self._description = description
        self._environment = environment

    def __call__(self, *options: str, **changes: Any) -> Run:
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {
            "all": {
                "children": {group: {"hosts": {key: {} for key in hosts}} for group, hosts in self._groups.items()},
                "vars": {**variables, **self._description, **changes},
            }
        }
        for name, content in (("inventory", inventory), ("playbook", self._playbook)):
            (self.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        environment = {
            **os.environ,
            **self._environment,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
        }
        command = [str(ANSIBLE_PLAYBOOK), "-i", str(self.folder / "inventory.json"), str(self.folder / "playbook.json")]
        return Run(
            subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        )
