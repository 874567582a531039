#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_image
short_description: Build an image of the core from a wheelhouse
version_added: 0.1.0
description:
  - Builds an image out of a wheelhouse, which M(airstack.backbone.core_wheelhouse) makes, and the files that the filter
    P(airstack.backbone.core_image_context#filter) renders. Nothing is downloaded but, with O(network), packages of the system.
  - An image says in a label what it was made of, and one of the same is not built again. Should it be, on the same base and by
    the same version of podman, it is the same image; Docker's have the time of the day in them.
  - Several runs on one host wait for each other.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  name:
    description: The image's repository. The tag is Airflow's version and a hash of what the image is made of.
    type: str
    required: true
  airflow_version:
    description: The version of Airflow.
    type: str
    required: true
  context:
    description: The files to build from, by name.
    type: dict
    required: true
  wheelhouse:
    description: The wheelhouse's directory. Check mode may leave it out, where there is none yet.
    type: path
  uv:
    description: The uv that installs the wheels. Check mode may leave it out.
    type: path
  labels:
    description: Labels of the image, besides those about its making.
    type: dict
    default: {}
  trial:
    description:
      - The text of a program for the image's Python, such as the filter P(airstack.backbone.core_image_trial#filter) gives.
      - An image that was built runs it as some user, without a network or capabilities, on a filesystem that is read-only but
        for C(/tmp). When it fails, the image is removed.
    type: str
  network:
    description: Whether the build may use the network, which it needs for packages of the system alone.
    type: bool
    default: false
  builder:
    description: The program that builds.
    type: str
    choices: [podman, docker]
    default: podman
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say whether an image would be built, also on a host without a builder.
  diff_mode:
    support: full
    description: Shows the labels of the repository's newest image before and of this one.
notes:
  - A module of its own, because M(containers.podman.podman_image) shows no difference, fails in check mode on a host without
    podman, and knows an image by its tag alone.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_image_info
  - module: airstack.backbone.core_wheelhouse
"""

EXAMPLES = r"""
- name: Build the core's image
  airstack.backbone.core_image:
    name: registry.example.com/data/airflow
    airflow_version: 3.3.2
    context: "{{ base | airstack.backbone.core_image_context('3.12') }}"
    wheelhouse: "{{ wheelhouse.wheelhouse.path }}"
    uv: "{{ wheelhouse.uv }}"
    labels:
      org.opencontainers.image.title: Apache Airflow
  vars:
    base: docker.io/library/python:3.12-slim-bookworm
"""

RETURN = r"""
image:
  description: The image.
  returned: unless check mode would build it
  type: dict
  contains:
    reference:
      description: Its name on this host.
      type: str
      sample: registry.example.com/data/airflow:3.3.2-0a1b2c3d4e5f
    id:
      description: The hash of its configuration.
      type: str
      sample: 67691c28c895a33220539caa2cdf8c4a7ad0ef9c0d525a3900ef256cda0f09e1
    digest:
      description:
        - The hash of its manifest as it is stored here, null where the builder stores none. A registry may store another one of
          the same image.
      type: str
      sample: sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
    created:
      description: The time that it bears.
      type: str
      sample: "2026-09-17T00:00:00Z"
    size:
      description: Its size here in bytes, with its base.
      type: int
      sample: 700000000
    labels:
      description: What it says of itself.
      type: dict
      sample: {airstack.core.airflow: 3.3.2}
seconds:
  description: How long the build took.
  returned: when an image was built
  type: float
  sample: 81.2
"""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import images, wheelhouses, wheels
from ansible_collections.airstack.backbone.plugins.module_utils._core.builder import BUILDERS, Builder
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason
from ansible_collections.airstack.backbone.plugins.module_utils._core.lock import locked
from ansible_collections.airstack.backbone.plugins.module_utils._render import image as rendered


class Wanted:
    """The image that is asked for."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters
        self.wheelhouse = wheelhouses.read(Path(parameters["wheelhouse"]))
        self.root = self.wheelhouse.path.parents[1]
        uv = wheels.file_hash(Path(parameters["uv"]))
        asked = images.inputs(parameters["context"], parameters["labels"], self.wheelhouse.hash, uv)
        self.reference = images.reference(parameters["name"], parameters["airflow_version"], asked)
        self.labels = images.all_labels(parameters["labels"], self.wheelhouse.hash, self.wheelhouse.timestamp, asked)

    def is_found(self, image: images.Image | None) -> bool:
        """Whether an image of this name is the one."""
        return image is not None and image.labels.get(images.INPUTS) == self.labels[images.INPUTS]

    def build(self, builder: Builder) -> None:
        """Build it, in a directory that shares the wheelhouse's files."""
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".context-") as folder:
            context = Path(folder)
            for name, text in self.parameters["context"].items():
                (context / name).write_text(text, encoding="utf-8")
            (context / rendered.WHEELS).mkdir()
            for path in [*self.wheelhouse.path.glob("*.whl"), self.wheelhouse.path / wheelhouses.REQUIREMENTS]:
                _share(path, context / rendered.WHEELS / path.name)
            _share(Path(self.parameters["uv"]), context / rendered.UV)
            command = images.build_command(
                builder.name,
                self.reference,
                folder,
                self.labels,
                self.wheelhouse.timestamp,
                network=self.parameters["network"],
            )
            builder.run(f"build {self.reference}", *command)
        if self.parameters["trial"]:
            self._try(builder)

    def _try(self, builder: Builder) -> None:
        command = images.trial_command(self.reference)
        try:
            builder.run(f"use {self.reference}, which is removed", *command, stdin=self.parameters["trial"])
        except CoreError:
            builder.run(f"remove {self.reference}", "image", "rm", self.reference)
            raise


def _share(path: Path, place: Path) -> None:
    try:
        os.link(path, place)
    except OSError:  # another filesystem
        shutil.copy2(path, place)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "airflow_version": {"type": "str", "required": True},
            "context": {"type": "dict", "required": True},
            "wheelhouse": {"type": "path"},
            "uv": {"type": "path"},
            "labels": {"type": "dict", "default": {}},
            "trial": {"type": "str"},
            "network": {"type": "bool", "default": False},
            "builder": {"type": "str", "default": "podman", "choices": list(BUILDERS)},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    given = [name for name in ("wheelhouse", "uv") if module.params[name]]
    if len(given) < 2 and not module.check_mode:
        module.fail_json(msg="wheelhouse and uv are both needed to build an image; core_wheelhouse returns them.")
    builder = Builder(module, module.params["builder"])
    result: dict[str, Any] = {"changed": False}
    try:
        wanted = Wanted(module.params) if len(given) == 2 else None
        if builder.path is None and not module.check_mode:
            raise CoreError(
                f"An image was to be built by {module.params['builder']}, which is not on this host's PATH."
                f" Install it, on Debian: apt-get install --no-install-recommends {module.params['builder']}"
            )
        before = next(iter(builder.newest(module.params["name"])), None) if builder.path else None
        image = builder.image(wanted.reference) if wanted and builder.path else None
        old = builder.image(before) if before else None
        if wanted is None or not wanted.is_found(image):
            result["changed"] = True
            image = None
        if wanted and result["changed"] and not module.check_mode:
            with locked(wanted.root / ".lock"):
                image = builder.image(wanted.reference)
                if not wanted.is_found(image):
                    began = time.monotonic()
                    wanted.build(builder)
                    result["seconds"] = round(time.monotonic() - began, 1)
                    image = builder.image(wanted.reference)
        if wanted and image:
            result["image"] = images.about(wanted.reference, image)
    except CoreError as error:
        module.fail_json(msg=str(error), exception=None)
    except OSError as error:
        where = error.filename2 or error.filename or module.params["wheelhouse"]
        module.fail_json(msg=f"The image was not built: {where}: {reason(error)}.", exception=None)
    if module._diff and result["changed"]:
        labels = wanted.labels if wanted else module.params["labels"]
        result["diff"] = {
            "before_header": before or module.params["name"],
            "after_header": wanted.reference if wanted else module.params["name"],
            "before": images.labels_text(old.labels if old else {}),
            "after": images.labels_text(labels),
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
