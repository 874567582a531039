# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What tests of a Swarm share with those of other modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import run_module
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine

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
