# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A stack of one or two services, brought up by the module on a real Swarm of one node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.airstack.backbone.plugins.modules import swarm_stack, swarm_stack_info
from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine

SECOND = 10**9
TIMEOUT = 180
START_SECONDS = 300
STAYS = 'trap "exit 0" TERM; echo "page: $(cat /etc/page)"; while :; do sleep 1; done'

Told = dict[str, Any]


class Stack:
    """A stack with one service, brought up by the module."""

    def __init__(self, docker: Docker, run_module: Runner, name: str) -> None:
        self.docker = docker
        self.run_module = run_module
        self.name = name

    def service(self, page: str, script: str, name: str = "web", **spec: Any) -> Told:
        container = {
            "Image": docker_engine.IMAGE,
            "Args": ["sh", "-c", script],
            "Hostname": "web-{{.Task.Slot}}",
            "User": "50000:0",
            "Privileges": {"NoNewPrivileges": True},
            "CapabilityDrop": ["ALL"],
            "ReadOnly": True,
            "Init": False,
            "Mounts": [{"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"Mode": 0o1777}}],
            "StopGracePeriod": 20 * SECOND,
            "Configs": [
                {
                    "ConfigName": f"{self.name}_page_{page}",
                    "File": {"Name": "/etc/page", "UID": "0", "GID": "0", "Mode": 0o444},
                }
            ],
            "Secrets": [
                {
                    "SecretName": f"{self.name}_key_{page}",
                    "File": {"Name": "key", "UID": "50000", "GID": "0", "Mode": 0o400},
                }
            ],
        }
        update = {"Parallelism": 1, "Order": "stop-first", "Monitor": 5 * SECOND}
        return {
            "Name": f"{self.name}_{name}",
            "TaskTemplate": {
                "ContainerSpec": container,
                "RestartPolicy": {"Condition": "any", "Delay": SECOND},
                "Placement": {},
                "Networks": [{"Target": f"{self.name}_front", "Aliases": ["web"]}],
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "UpdateConfig": {**update, "FailureAction": "rollback"},
            "RollbackConfig": {**update, "FailureAction": "pause"},
            "EndpointSpec": {"Mode": "dnsrr"},
            **spec,
        }

    def job(self, page: str, script: str) -> Told:
        spec = self.service(page, script, "job", Mode={"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}})
        spec["TaskTemplate"]["RestartPolicy"] = {"Condition": "none"}
        return {
            key: value for key, value in spec.items() if key not in ("UpdateConfig", "RollbackConfig", "EndpointSpec")
        }

    def bring(self, page: str, *specs: Told, check: bool = False, timeout: int = TIMEOUT, **options: Any) -> Told:
        network = {"Name": f"{self.name}_front", "Internal": True, "Options": {"encrypted": ""}}
        arguments = {
            "networks": [network],
            "configs": {f"{self.name}_page_{page}": f"this is {page}"},
            "secrets": {f"{self.name}_key_{page}": f"value-of-{page}"},
            "services": [{"spec": spec, "timeout": timeout} for spec in specs],
            **options,
        }
        return self.run_module(swarm_stack.main, check=check, name=self.name, socket=self.docker.socket, **arguments)

    def look(self) -> Told:
        return self.run_module(swarm_stack_info.main, name=self.name, socket=self.docker.socket)

    def remove(self) -> Told:
        return self.run_module(
            swarm_stack.main, name=self.name, state="absent", socket=self.docker.socket, patience=300
        )

    def logs(self, name: str = "web", until: str = "") -> str:
        return logs(self.docker, f"{self.name}_{name}", lambda said: until in said)

    def names(self, kind: str) -> list[str]:
        return sorted(
            self.docker(
                kind, "ls", "--filter", f"label=com.docker.stack.namespace={self.name}", "--format", "{{.Name}}"
            ).split()
        )


def logs(docker: Docker, service: str, are_whole: Callable[[str], bool]) -> str:
    """What a service has written, once that is whole: a process runs before it has written anything."""
    deadline = time.monotonic() + START_SECONDS
    while not are_whole(said := docker("service", "logs", "--raw", service)):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    return said


def after(result: Told, header: str) -> tuple[str, str]:
    """The text before and after of one thing that changes."""
    [entry] = [entry for entry in result["diff"] if entry["after_header"] == header]
    return entry["before"], entry["after"]
