#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_storage_info
short_description: Tell whether a host sees the storage that DAGs are published in
version_added: 0.1.0
description:
  - Looks at the storage as a reader has it, and returns what is wrong with it. That is no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  path:
    description: The root of the storage.
    type: path
    required: true
  environment:
    description: The environment that the storage has to belong to.
    type: str
    required: true
  id:
    description: The publisher's storage, as M(airstack.backbone.dag_storage) returns it. Not compared when left out.
    type: str
  read_only:
    description: Whether the storage has to be mounted read-only.
    type: bool
    default: false
  sentinel:
    description: The sentinel file's name.
    type: str
    default: .airflow-dag-storage
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.dag_storage
"""

EXAMPLES = r"""
- name: Look at the DAG storage
  airstack.backbone.dag_storage_info:
    path: /srv/airflow/dags
    environment: acceptance
    read_only: true
  register: storage

- name: Refuse a host that does not share it
  ansible.builtin.assert:
    that: not storage.problems
    fail_msg: "{{ storage.problems | join('\n') }}"
"""

RETURN = r"""
problems:
  description: What keeps the host from reading DAGs there, each with what to do. Empty when all is well.
  returned: success
  type: list
  elements: str
  sample: ["/srv/airflow/dags is not there: mount the storage that the publisher writes"]
exists:
  description: Whether the path is a directory.
  returned: success
  type: bool
  sample: true
is_read_only:
  description: Whether it is mounted read-only.
  returned: success
  type: bool
  sample: true
id:
  description: The storage's identifier. Null without a sentinel.
  returned: success
  type: str
  sample: 0b5a2c64-6f3f-4f5c-9d0e-1f3a1c1f7f5e
environment:
  description: The environment that it belongs to. Null without a sentinel.
  returned: success
  type: str
  sample: acceptance
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _dag_storage


def main() -> None:
    """Read the arguments, look, say what was found."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "environment": {"type": "str", "required": True},
            "id": {"type": "str"},
            "read_only": {"type": "bool", "default": False},
            "sentinel": {"type": "str", "default": ".airflow-dag-storage"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    view = _dag_storage.look(Path(wanted["path"]), wanted["sentinel"])
    module.exit_json(
        changed=False,
        problems=view.problems(wanted["environment"], wanted["id"], read_only=wanted["read_only"]),
        exists=view.is_there,
        is_read_only=view.is_read_only,
        id=view.sentinel and view.sentinel.id,
        environment=view.sentinel and view.sentinel.environment,
    )


if __name__ == "__main__":
    main()
