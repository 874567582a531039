# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What tests of a Swarm share with those of other modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import applying
from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner, run_module
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine
from ansible_collections.airstack.backbone.tests.unit.swarm.stacks import Stack

__all__ = ["run_module"]


@pytest.fixture(scope="module", name="docker")
def swarm_of_one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    with docker_engine.running(tmp_path_factory.mktemp("docker")) as docker:
        address = docker_engine.ADDRESS
        pool = docker_engine.POOL
        docker(
            "swarm", "init", f"--advertise-addr={address}", f"--listen-addr={address}", f"--default-addr-pool={pool}"
        )
        yield docker


@pytest.fixture(name="stack")
def stack_of_a_test(
    docker: Docker, run_module: Runner, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    monkeypatch.setattr(applying, "REMOVAL", 600)
    stack = Stack(docker, run_module, f"t{abs(hash(request.node.name)) % 10**6}")
    yield stack
    stack.remove()
    assert [stack.names(kind) for kind in ("service", "network", "config", "secret")] == [[], [], [], []]
