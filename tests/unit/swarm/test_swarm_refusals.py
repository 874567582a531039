# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What cannot be is refused, and an Engine that is no manager; a registry asks who a node is."""

from __future__ import annotations

import time
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.modules import swarm_stack, swarm_stack_info
from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner
from ansible_collections.airstack.backbone.tests.unit.services import image_registry
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine
from ansible_collections.airstack.backbone.tests.unit.swarm.stacks import START_SECONDS, STAYS, Stack

pytestmark = needs.docker_engine


@needs.docker_registry
def test_nodes_take_an_image_out_of_a_registry_that_asks_who_they_are(
    stack: Stack, docker: Docker, run_module: Runner, tmp_path: Path
) -> None:
    login = {"registry_username": image_registry.USER, "registry_password": image_registry.PASSWORD}
    with image_registry.beside(docker, tmp_path) as place:
        image = f"{place}/page:1"
        docker("tag", docker_engine.IMAGE, image)
        docker("login", f"--username={image_registry.USER}", f"--password={image_registry.PASSWORD}", place)
        docker("push", image)
        docker("logout", place)
        docker("rmi", image)
        wanted = stack.service("one", STAYS)
        wanted["TaskTemplate"]["ContainerSpec"]["Image"] = image
        said = ""
        until = time.monotonic() + START_SECONDS
        while "No such image" not in said:
            assert time.monotonic() < until, said
            said = stack.bring("one", wanted, timeout=10)["msg"]
        wanted["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=b"]
        assert stack.bring("one", wanted, **login)["changed"]
        assert image_registry.PASSWORD not in run_module.printed
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
