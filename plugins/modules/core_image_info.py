#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_image_info
short_description: Tell what a host builds images of the core with, and which ones it has
version_added: 0.1.0
description:
  - Tells which builder a host has, whether the base of an image is there, and the images of the core of one repository.
    Changes nothing. What is missing is told, and no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  name:
    description: The images' repository.
    type: str
    required: true
  builder:
    description: The program that builds.
    type: str
    choices: [podman, docker]
    default: podman
  base:
    description: An image to look for.
    type: str
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_image
"""

EXAMPLES = r"""
- name: Look at the images
  airstack.backbone.core_image_info:
    name: registry.example.com/data/airflow
  register: found

- name: Show the newest one
  ansible.builtin.debug:
    var: found.images[0].reference
"""

RETURN = r"""
builder:
  description: The builder.
  returned: success
  type: dict
  contains:
    path:
      description: Where it is.
      type: str
      returned: when it is there
      sample: /usr/bin/podman
    version:
      description: Its version.
      type: str
      returned: when it runs
      sample: 4.3.1
    problem:
      description: Why it cannot be used.
      type: str
      returned: when it does not run
      sample: podman is not on this host's PATH
has_base:
  description: Whether O(base) is on this host.
  returned: success
  type: bool
images:
  description: The images, the newest first.
  returned: success
  type: list
  elements: dict
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
      description: The hash of its manifest as it is stored here, null where the builder stores none.
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
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import images
from ansible_collections.airstack.backbone.plugins.module_utils._core.builder import BUILDERS, Builder
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "builder": {"type": "str", "default": "podman", "choices": list(BUILDERS)},
            "base": {"type": "str"},
        },
        supports_check_mode=True,
    )
    builder = Builder(module, module.params["builder"])
    result: dict[str, Any] = {"has_base": False, "images": []}
    if builder.path is None:
        result["builder"] = {"problem": f"{module.params['builder']} is not on this host's PATH"}
    else:
        result["builder"] = {"path": builder.path}
        try:
            result["builder"]["version"] = builder.version()
            result["has_base"] = bool(module.params["base"]) and builder.image(module.params["base"]) is not None
            found = {name: builder.image(name) for name in builder.newest(module.params["name"])}
            result["images"] = [images.about(name, image) for name, image in found.items() if image]
        except CoreError as error:
            result["builder"]["problem"] = str(error).rstrip(".")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
