#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_registry_info
short_description: Ask a registry whether it has an image of the core
version_added: 0.1.0
description:
  - Asks a registry for an image by tag or digest. Changes nothing, and needs no builder.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  repository:
    description: The image's repository, with the registry's host.
    type: str
    required: true
  name:
    description: A tag or a digest.
    type: str
    required: true
  tls:
    description: Whether the registry speaks TLS.
    type: bool
    default: true
  ca_path:
    description:
      - The file with the certificates of all authorities that sign for the registry, and for its token server where it has one.
      - When left out, the system's are trusted.
    type: path
  username:
    description: Who asks.
    type: str
  password:
    description: The password or token of O(username).
    type: str
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_image_push
"""

EXAMPLES = r"""
- name: Ask for the image that acceptance has
  airstack.backbone.core_registry_info:
    repository: registry.example.com/data/airflow
    name: sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
  register: found
"""

RETURN = r"""
digest:
  description: The hash of the image's manifest; null where the registry has no such image.
  returned: success
  type: str
  sample: sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
image:
  description: The image's id on a host; null where the registry has no such image.
  returned: success
  type: str
  sample: 67691c28c895a33220539caa2cdf8c4a7ad0ef9c0d525a3900ef256cda0f09e1
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import asking, registry
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            **asking.ARGUMENTS,
        },
        supports_check_mode=True,
    )
    parameters = module.params
    try:
        server = asking.registry(parameters)
        place = registry.repository(parameters["repository"])
        if place is None:
            raise CoreError(f"{parameters['repository']} names no registry, as registry.example.com/data/airflow does.")
        found = server.manifest(place, parameters["name"])
    except CoreError as error:
        module.fail_json(msg=str(error), exception=None)
    module.exit_json(changed=False, digest=found.digest if found else None, image=found.image if found else None)


if __name__ == "__main__":
    main()
