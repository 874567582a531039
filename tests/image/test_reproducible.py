# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The same wheels, built in two places at two times, are one image: small ones, so that it takes seconds, on the real base."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core import bases, wheelhouses, wheels
from ansible_collections.airstack.backbone.plugins.module_utils._render import image
from ansible_collections.airstack.backbone.tests.image import containers
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.services import image_registry

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
RECIPE = ROOT / "roles" / "airflow_hosts" / "files" / "debian_image.sh"
PACKAGES = "ca-certificates,dumb-init"

# One of Python alone, one that is compiled, and one whose files are several packages.
WHEELS = ("click==8.1.8", "pyyaml==6.0.3", "setuptools==80.9.0")

pytestmark = [needs.root, needs.podman, needs.docker_registry, needs.mmdebstrap]


class Builder:
    """Builds images of a few wheels, each in a directory of its own."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.registry = registry
        self.environment = containers.settings(folder)
        self.base = bases.reference(
            bases.base("mmdebstrap:bookworm"), RECIPE.read_text(encoding="utf-8").rstrip(), PACKAGES, ""
        )
        self._made: list[str] = []
        self._downloaded = folder / "downloaded"
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        self._run([RECIPE, "core", "bookworm", self.base, bundle, str(folder), PACKAGES])
        options = [
            "--only-binary",
            ":all:",
            "--no-deps",
            "--python-version",
            "3.11",
            "--platform",
            "manylinux2014_x86_64",
        ]
        self._run([sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", self._downloaded, *WHEELS])

    def build(self, place: Path, name: str) -> dict[str, Any]:
        """Build an image and push it: its name, id, and digest in the registry."""
        aside = place / wheelhouses.FOLDER / ".aside"
        shutil.copytree(self._downloaded, aside)
        for path in aside.iterdir():
            os.utime(path)
        wheelhouse = wheelhouses.keep(place, aside, wheels.read(aside), "inputs", "3.11")
        repository = f"{self.registry}/airstack-test-{os.getpid()}/{name}"
        built = self._module(
            "core_image",
            name=repository,
            airflow_version="3.3.2",
            context=image.context(image.Recipe(self.base, "3.11", [])),
            wheelhouse=str(wheelhouse.path),
            uv=str(TOOLS / "uv"),
        )["image"]
        self._made.append(built["reference"])
        pushed = self._module("core_image_push", reference=built["reference"], tls=False)
        return {"reference": built["reference"], "id": built["id"], "digest": pushed["digest"]}

    def remove(self) -> None:
        for reference in self._made:
            containers.podman(self.environment, "rmi", reference)

    def _module(self, module: str, **arguments: Any) -> dict[str, Any]:
        ansible = [TOOLS / "ansible", "localhost", "--module-name", f"airstack.backbone.{module}"]
        said = self._run(
            [*ansible, "--args", json.dumps(arguments), "--one-line"], ANSIBLE_CONFIG=str(ROOT / "ansible.cfg")
        )
        result: dict[str, Any] = json.loads(said.split("=>", 1)[1])
        return result

    def _run(self, command: list[Any], **environment: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env={**self.environment, **environment}, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(name="builder")
def builder_with_a_registry(tmp_path: Path) -> Iterator[Builder]:
    (tmp_path / "registry").mkdir()
    with image_registry.running(tmp_path / "registry") as host:
        builder = Builder(tmp_path, host)
        yield builder
        builder.remove()


def test_the_same_wheels_are_the_same_image_wherever_and_whenever_they_are_built(
    builder: Builder, tmp_path: Path
) -> None:
    first = builder.build(tmp_path / "one", "first")
    second = builder.build(tmp_path / "elsewhere" / "two", "second")
    assert (first["id"], first["digest"]) == (second["id"], second["digest"])
    installed = containers.podman(
        builder.environment,
        "run",
        "--rm",
        "--network",
        "none",
        first["reference"],
        "ls",
        "/opt/airflow/lib/python3.11/site-packages",
    )
    assert {"click", "yaml", "setuptools", "pkg_resources"} <= set(installed.split())
