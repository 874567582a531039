#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: swift_container_info
short_description: Tell the containers of OpenStack Swift and who may use them
version_added: 0.1.0
description:
  - Returns containers with their access control lists and sizes.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
  - airstack.backbone.swift
options:
  names:
    description: The containers to look at. All that the account has, when left out. One that is missing is not returned.
    type: list
    elements: str
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.swift_container
"""

EXAMPLES = r"""
- name: See who may read which bucket
  airstack.backbone.swift_container_info:
    auth_url: http://objects1:8080/auth/v1.0
    user: airflow:admin
    key: "{{ object_store_key }}"
  delegate_to: localhost
  register: buckets
"""

RETURN = r"""
containers:
  description: The containers that were found.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The container.
      type: str
      sample: airflow-logs
    readers:
      description: Who may read it.
      type: list
      elements: str
      sample: ["airflow:core"]
    writers:
      description: Who may write into it.
      type: list
      elements: str
      sample: ["airflow:core"]
    objects:
      description: How many objects it has.
      type: int
      sample: 42
    bytes:
      description: Their size together.
      type: int
      sample: 420000
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _swift


def main() -> None:
    """Read the arguments, look, say what was found."""
    module = AnsibleModule(
        argument_spec={**_swift.ARGUMENT_SPEC, "names": {"type": "list", "elements": "str"}},
        supports_check_mode=True,
    )
    try:
        swift = _swift.connect(module.params)
        wanted = module.params["names"]
        found = [swift.container(name) for name in (swift.containers() if wanted is None else wanted)]
    except _swift.SwiftError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, containers=[container.as_dict() for container in found if container])


if __name__ == "__main__":
    main()
