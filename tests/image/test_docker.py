# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Docker as the builder: a small image on the real base, tried, pushed, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.core import core_image_trial
from ansible_collections.airstack.backbone.tests import docker_engine
from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.image import containers
from ansible_collections.airstack.backbone.tests.image.small_images import INSTALLED, Images
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.services import image_registry
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

pytestmark = [needs.root, needs.podman, needs.docker_registry, needs.mmdebstrap, needs.dockerd]

WITHOUT_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
"""Containers have no network, and this machine's firewall is as it was before."""

REQUIREMENTS = "".join(f"{name}=={version}\n" for name, version in INSTALLED.items())
TRIAL = core_image_trial(REQUIREMENTS, ["click", "yaml"], [])


class Engine:
    """A Docker Engine with a registry that wants a user. It trusts any that is on this machine."""

    def __init__(self, images: Images, docker: Docker, ca: Path) -> None:
        self.images = images
        self.docker = docker
        self._known = {"ca_path": str(ca), "username": image_registry.USER, "password": image_registry.PASSWORD}

    def push(self, reference: str) -> dict[str, Any]:
        return self.images.push(reference, **self._known)


@pytest.fixture(name="engine", scope="module")
def engine_with_a_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("docker")
    for name in ("engine", "registry"):
        (folder / name).mkdir()
    authority = Authority(folder, "authority")
    registry = image_registry.running(folder / "registry", authority)
    with registry as host, docker_engine.running(folder / "engine", WITHOUT_NETWORK) as docker:
        settings = {"CONTAINERS_CONF": containers.settings(folder)["CONTAINERS_CONF"]}
        images = Images(folder, host, {**docker.environment, **settings}, "docker")
        engine = Engine(images, docker, authority.ca)
        containers.podman(docker.environment, "save", "--quiet", "--output", str(folder / "base.tar"), images.base)
        engine.docker("load", "--input", str(folder / "base.tar"))
        yield engine


def test_an_image_is_built_tried_and_pushed(engine: Engine, tmp_path: Path) -> None:
    built = engine.images.build(tmp_path / "one", "good", trial=TRIAL, labels={"a": "b"})
    assert built["changed"]
    reference = built["image"]["reference"]
    assert built["image"]["labels"]["a"] == "b"
    assert not engine.images.build(tmp_path / "again", "good", trial=TRIAL, labels={"a": "b"})["changed"]
    asked = {"name": reference.rpartition(":")[0], "builder": "docker", "base": engine.images.base}
    info = engine.images.module("core_image_info", asked)
    assert info["builder"]["version"] == engine.docker("version", "--format", "{{.Server.Version}}")
    assert (info["has_base"], [each["id"] for each in info["images"]]) == (True, [built["image"]["id"]])
    assert engine.push(reference)["changed"]
    again = engine.push(reference)
    assert (again["changed"], again["reference"]) == (False, f"{reference.rpartition(':')[0]}@{again['digest']}")
    look = "ls -A /; find / -xdev -name '*.whl' 2>/dev/null; :"
    left = engine.docker("run", "--rm", "--network", "none", reference, "sh", "-c", look)
    assert "opt" in left.split()
    assert "context" not in left.split()
    assert ".whl" not in left


def test_what_is_not_as_it_should_be_is_removed_again(engine: Engine, tmp_path: Path) -> None:
    trial: dict[str, Any] = {"trial": core_image_trial(REQUIREMENTS, ["airflow"], [])}
    with pytest.raises(AssertionError, match="airflow cannot be imported: ModuleNotFoundError"):
        engine.images.build(tmp_path / "bad", "bad", **trial)
    assert engine.docker("image", "ls", "--quiet", "--filter", "reference=*/*/bad") == ""
