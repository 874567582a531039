# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Stacks on a real Swarm of one node."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import swarm_stack, swarm_stack_info
from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine

pytestmark = needs.docker_engine

REGISTRY_PASSWORD = "value-of-registry"
REGISTRY_USERS = "tests:$2b$04$.yyxU..4GcO5Plbd62pgSeZmDm9ZJIxyYGm3WWaDDhrsUVvaO7Nay\n"
"""One user, with the bcrypt hash of that password."""

LISTENS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()"

SECOND = 10**9
TIMEOUT = 180
STAYS = 'trap "exit 0" TERM; echo "page: $(cat /etc/page)"; while :; do sleep 1; done'
SEES = (
    'id -u; touch /x || echo "no /x"; touch /tmp/x && echo "a /tmp/x"; ls -ln /run/secrets/key; cat /proc/self/status;'
)

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

    def logs(self, name: str = "web") -> str:
        return self.docker("service", "logs", "--raw", f"{self.name}_{name}")

    def names(self, kind: str) -> list[str]:
        return sorted(
            self.docker(
                kind, "ls", "--filter", f"label=com.docker.stack.namespace={self.name}", "--format", "{{.Name}}"
            ).split()
        )


@pytest.fixture(name="stack")
def stack_of_a_test(docker: Docker, run_module: Runner, request: pytest.FixtureRequest) -> Iterator[Stack]:
    stack = Stack(docker, run_module, f"t{abs(hash(request.node.name)) % 10**6}")
    yield stack
    stack.remove()
    assert [stack.names(kind) for kind in ("service", "network", "config", "secret")] == [[], [], [], []]


def after(result: Told, header: str) -> tuple[str, str]:
    """The text before and after of one thing that changes."""
    [entry] = [entry for entry in result["diff"] if entry["after_header"] == header]
    return entry["before"], entry["after"]


def test_a_stack_comes_to_be_and_stays(stack: Stack, run_module: Runner) -> None:
    wanted = stack.service("one", SEES + STAYS)
    shown = stack.bring("one", wanted, check=True)
    assert stack.names("service") == stack.names("network") == stack.names("secret") == []

    done = stack.bring("one", wanted)
    assert (done["changed"], done["changes"], done["diff"]) == (True, shown["changes"], shown["diff"])
    assert "value-of-one" not in run_module.printed
    assert after(done, f"/etc/page of {stack.name}_web") == ("", "this is one")
    assert ["too old for TaskTemplate.ContainerSpec.Privileges" in warning for warning in done.get("warnings", [])] in (
        [],
        [True],
    )

    lines = stack.logs().splitlines()
    assert lines[0] == "50000"
    assert {"no /x", "a /tmp/x", "page: this is one"} <= set(lines)
    assert any(line.startswith("-r--------") and " 50000 " in line for line in lines)
    assert any(line.split() == ["CapBnd:", "0" * 16] for line in lines)

    for check in (True, False):
        again = stack.bring("one", wanted, check=check)
        assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])
    assert stack.look()["services"] == {
        f"{stack.name}_web": {
            "image": docker_engine.IMAGE,
            "state": "done",
            "replicas": 1,
            "running": 1,
            "update": "",
            "errors": [],
        }
    }


def test_what_changes_is_replaced_and_what_is_left_is_removed(stack: Stack, run_module: Runner) -> None:
    stack.bring("one", stack.service("one", STAYS))
    done = stack.bring("two", stack.service("two", STAYS))
    assert "value-of" not in run_module.printed
    assert after(done, f"/etc/page of {stack.name}_web") == ("this is one", "this is two")
    before, now = after(done, f"service {stack.name}_web")
    assert now == before.replace("_one", "_two")
    assert "page: this is two" in stack.logs()
    kept = [[f"{stack.name}_{what}_one", f"{stack.name}_{what}_two"] for what in ("page", "key")]
    assert [stack.names("config"), stack.names("secret")] == kept, "it could not be rolled back by hand"

    stack.docker("service", "update", "--detach", "--env-add", "BY=hand", "--limit-memory", "64M", f"{stack.name}_web")
    mended = stack.bring("two", stack.service("two", STAYS))
    before, now = after(mended, f"service {stack.name}_web")
    assert "BY=hand" in before
    assert "BY=hand" not in now
    assert "MemoryBytes" in before
    assert "MemoryBytes" not in now
    assert mended["changes"] == [
        f"service brought up: {stack.name}_web",
        f"config removed: {stack.name}_page_one",
        f"secret removed: {stack.name}_key_one",
    ]
    assert stack.bring("two", stack.service("two", STAYS))["changes"] == []


def test_a_failed_update_is_rolled_back_and_says_why(stack: Stack, run_module: Runner) -> None:
    stack.bring("one", stack.service("one", STAYS))
    broken = "echo the database is away; cat /run/secrets/key; exit 3"
    failed = stack.bring("two", stack.service("two", broken))
    assert failed["failed"]
    for part in ("it failed, and is what it was before again", "exit code 3", "the database is away"):
        assert part in failed["msg"]
    assert "value-of" not in run_module.printed
    told = stack.look()["services"][f"{stack.name}_web"]
    assert (told["state"], told["running"], told["update"]) == ("done", 1, "rollback_completed")

    back = stack.bring("one", stack.service("one", STAYS))
    assert back["changes"] == [f"config removed: {stack.name}_page_two", f"secret removed: {stack.name}_key_two"]
    assert stack.bring("one", stack.service("one", STAYS))["changes"] == []


def test_what_never_comes_up_is_told(stack: Stack) -> None:
    failed = stack.bring("one", stack.service("one", "echo no such queue; exit 4"), timeout=30)
    for part in ("0 of its processes work after 30 s", "exit code 4", "no such queue"):
        assert part in failed["msg"]
    sick = stack.service("one", STAYS)
    look = {"Test": ["CMD", "sh", "-c", "echo not yet; false"], "Interval": SECOND, "Timeout": 9 * SECOND, "Retries": 1}
    sick["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = look
    failed = stack.bring("one", sick, timeout=60)
    assert "or because its health check failed" in failed["msg"]


def test_a_job_comes_before_what_stays_and_runs_again_when_it_failed(stack: Stack, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    bind = {"Type": "bind", "Source": str(tmp_path), "Target": "/data"}
    job = stack.job("one", "cat /data/ready && exit 0; echo the schema is old; exit 5")
    job["TaskTemplate"]["ContainerSpec"]["Mounts"].append(bind)
    services = [{"spec": job, "wave": 0}, {"spec": stack.service("one", STAYS), "wave": 1}]
    failed = stack.bring("one", services=services)
    for part in (f"{stack.name}_job does not work: it ended with a failure", "exit code 5", "the schema is old"):
        assert part in failed["msg"]
    assert stack.names("service") == [f"{stack.name}_job"]

    (tmp_path / "ready").write_text("the schema is new\n", encoding="utf-8")
    shown = stack.bring("one", services=services, check=True)
    done = stack.bring("one", services=services)
    assert done["changes"] == shown["changes"]
    assert done["changes"] == [f"service brought up: {stack.name}_web", f"job run again: {stack.name}_job"]
    assert "the schema is new" in stack.logs("job")
    assert stack.bring("one", services=services)["changes"] == []


def test_what_finishes_its_work_is_not_waited_for_without_end(stack: Stack) -> None:
    slow = 'trap "sleep 15; exit 0" TERM; while :; do sleep 1; done'
    stack.bring("one", stack.service("one", slow))
    done = stack.bring("two", stack.service("two", STAYS), patience=2)
    assert done["draining"] == [f"{stack.name}_web"]
    assert "was still finishing its work after 2 s" in "".join(done["warnings"])
    then = stack.bring("two", stack.service("two", STAYS), patience=120)
    assert (then["changes"], then["draining"]) == ([], [])
    assert "page: this is two" in stack.logs()


def test_labels_of_nodes_are_the_stacks_alone(stack: Stack) -> None:
    def labels() -> Told:
        return dict(stack.docker.inspect("node", "inspect", "node1", "--format", "{{json .Spec.Labels}}"))

    stack.docker("node", "update", "--label-add", "rack=7", "--label-add", f"{stack.name}.old=true", "node1")
    placed = stack.service("one", STAYS)
    placed["TaskTemplate"]["Placement"] = {"Constraints": [f"node.labels.{stack.name}.web==true"]}
    nodes = [{"name": "elsewhere", "address": docker_engine.ADDRESS, "labels": {f"{stack.name}.web": "true"}}]
    done = stack.bring("one", placed, nodes=nodes)
    assert labels() == {"rack": "7", f"{stack.name}.web": "true"}
    assert "node labelled: node1" in done["changes"]
    label = f"node node1: {stack.name}."
    before, now = after(done, f"stack {stack.name}")
    assert f"{label}old=true\n" in before
    assert f"{label}web=true\n" in now
    assert stack.bring("one", placed, nodes=nodes)["changes"] == []
    stack.remove()
    assert labels() == {"rack": "7"}
    assert not stack.remove()["changed"]


@contextmanager
def registry(docker: Docker, folder: Path) -> Iterator[str]:
    """A registry beside the Engine that wants to know who asks it."""
    place = "127.0.0.1:5001"
    (folder / "users").write_text(REGISTRY_USERS, encoding="utf-8")
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": place},
        "auth": {"htpasswd": {"realm": "tests", "path": str(folder / "users")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings), encoding="utf-8")
    with (folder / "log").open("w") as log:
        command = docker.beside("docker-registry", "serve", str(folder / "config.yml"))
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while (
            subprocess.run(docker.beside(sys.executable, "-c", LISTENS, *place.split(":")), check=False).returncode != 0
        ):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        yield place
    finally:
        server.terminate()
        server.wait()


@needs.docker_registry
def test_nodes_take_an_image_out_of_a_registry_that_asks_who_they_are(
    stack: Stack, docker: Docker, run_module: Runner, tmp_path: Path
) -> None:
    login = {"registry_username": "tests", "registry_password": REGISTRY_PASSWORD}
    with registry(docker, tmp_path) as place:
        image = f"{place}/page:1"
        docker("tag", docker_engine.IMAGE, image)
        docker("login", "--username=tests", f"--password={REGISTRY_PASSWORD}", place)
        docker("push", image)
        docker("logout", place)
        docker("rmi", image)
        wanted = stack.service("one", STAYS)
        wanted["TaskTemplate"]["ContainerSpec"]["Image"] = image
        assert "No such image" in stack.bring("one", wanted, timeout=10)["msg"]
        wanted["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=b"]
        assert stack.bring("one", wanted, **login)["changed"]
        assert REGISTRY_PASSWORD not in run_module.printed
        assert stack.bring("one", wanted, **login)["changes"] == []
        stack.remove()
        docker("rmi", "--force", image)


def test_what_cannot_be_is_refused_before_anything_happens(stack: Stack, docker: Docker) -> None:
    spec = stack.service("one", STAYS)
    asked = {
        "elsewhere": stack.bring("one", spec, nodes=[{"name": "elsewhere", "labels": {}}]),
        "shop_other, which is not": stack.bring("one", spec, configs={}, secrets={"shop_other": "x"}),
        "configs.a is of the type int": stack.bring("one", spec, configs={"a": 1}),
        "has no Name, no TaskTemplate.ContainerSpec.Image": stack.bring("one", {"Mode": {"Replicated": {}}}),
        "no Mode (Replicated or ReplicatedJob)": stack.bring("one", {**spec, "Mode": {"Global": {}}}),
    }
    del asked["shop_other, which is not"]
    for part, result in asked.items():
        assert result["failed"]
        assert part in result["msg"]
    assert "refers to the config" in stack.bring("one", spec, configs={})["msg"]
    assert stack.names("network") == stack.names("service") == []

    label = f"--label=com.docker.stack.namespace={stack.name}"
    docker("network", "create", "--driver=overlay", label, f"{stack.name}_front")
    assert "which the Engine cannot change" in stack.bring("one", spec)["msg"]
    docker("network", "rm", f"{stack.name}_front")
    other = docker.folder / "other"
    other.write_text("other", encoding="utf-8")
    docker("config", "create", label, f"{stack.name}_page_one", str(other))
    assert "is there already with another content" in stack.bring("one", spec)["msg"]


def test_an_engine_that_cannot_be_asked_is_named(run_module: Runner, tmp_path: Path) -> None:
    result = run_module(swarm_stack.main, name="any", socket=str(tmp_path / "none"))
    assert f"the Docker Engine at {tmp_path}/none cannot be asked" in result["msg"]


def test_an_engine_that_is_no_manager_is_refused(run_module: Runner, tmp_path: Path) -> None:
    with docker_engine.running(tmp_path) as alone:
        for main in (swarm_stack.main, swarm_stack_info.main):
            result = run_module(main, name="any", socket=alone.socket)
            assert "is no manager of a Swarm (inactive)" in result["msg"]
