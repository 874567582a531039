# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Images of a few wheels on the real base, which take seconds."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheelhouses, wheels
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.core import core_image_base, core_image_context
from ansible_collections.airstack.backbone.tests.image import modules

RECIPE = modules.ROOT / "roles" / "airflow_hosts" / "files" / "debian_image.sh"
PACKAGES = "ca-certificates,dumb-init"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# One of Python alone, one that is compiled, and one whose files are several packages.
WHEELS = ("click==8.1.8", "pyyaml==6.0.3", "setuptools==80.9.0")
INSTALLED = {"click": "8.1.8", "pyyaml": "6.0.3", "setuptools": "80.9.0"}


class Images:
    """Builds images, each in a directory of its own, and pushes them. Public attribute `base`, an image of podman."""

    def __init__(self, folder: Path, registry: str, environment: dict[str, str], builder: str = "podman") -> None:
        self.base = core_image_base(
            "mmdebstrap:bookworm", "", RECIPE.read_text(encoding="utf-8").rstrip(), PACKAGES, ""
        )["reference"]
        self._registry = registry
        self._environment = environment
        self._builder = builder
        self._downloaded = folder / "downloaded"
        modules.run(environment, [RECIPE, "core", "bookworm", self.base, CA_BUNDLE, str(folder), PACKAGES])
        options = [
            "--only-binary",
            ":all:",
            "--no-deps",
            "--python-version",
            "3.11",
            "--platform",
            "manylinux2014_x86_64",
        ]
        modules.run(
            environment,
            [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", self._downloaded, *WHEELS],
        )

    def build(self, place: Path, name: str, **arguments: Any) -> dict[str, Any]:
        """What core_image says of an image whose wheels lie there."""
        aside = place / wheelhouses.FOLDER / ".aside"
        shutil.copytree(self._downloaded, aside)
        for path in aside.iterdir():
            os.utime(path)
        wheelhouse = wheelhouses.keep(place, aside, wheels.read(aside), "inputs", "3.11")
        told = {
            "name": f"{self._registry}/airstack-test-{os.getpid()}/{name}",
            "airflow_version": "3.3.2",
            "context": core_image_context(self.base, "3.11", builder=self._builder),
            "wheelhouse": str(wheelhouse.path),
            "uv": str(modules.TOOLS / "uv"),
            "builder": self._builder,
        }
        return self.module("core_image", {**told, **arguments})

    def push(self, reference: str, **arguments: Any) -> dict[str, Any]:
        """What core_image_push says."""
        return self.module("core_image_push", {"reference": reference, "builder": self._builder, **arguments})

    def module(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What a module says, as Ansible runs it."""
        return modules.module(self._environment, name, arguments)
