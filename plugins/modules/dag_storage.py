#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_storage
short_description: Lay out the storage that DAGs are published in
version_added: 0.1.0
description:
  - Makes the storage's root with its sentinel file, and one directory for each DAG source, all in one round trip.
  - The sentinel tells a mounted storage from an empty mount point. It holds the environment's name and an identifier
    that is made once, so that M(airstack.backbone.dag_storage_info) can tell that a reader sees the same storage.
  - A storage that belongs to another environment is refused.
  - Directories of sources that are no longer described stay, with all their releases. The module names them in a warning.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  path:
    description: The root of the storage. A symlink there is followed.
    type: path
    required: true
  environment:
    description: The environment that the storage belongs to.
    type: str
    required: true
  sources:
    description: The DAG sources, each of which gets a directory.
    type: list
    elements: str
    required: true
  sentinel:
    description: The sentinel file's name.
    type: str
    default: .airflow-dag-storage
  owner:
    description:
      - The user, by name or number, who owns the directories, and so may publish.
      - When empty, the one that the module runs as owns what it makes, and directories of others stay as they are.
    type: str
    default: root
  group:
    description: The directories' group, by name or number. When empty, each keeps its own.
    type: str
    default: root
  mode:
    description: The directories' mode, a quoted octal number. Who reads DAGs has to be able to enter and list them.
    type: raw
    default: "0755"
attributes:
  check_mode:
    support: full
    description:
      - Can run in check mode and say what it would change, without changing anything.
      - There, the owner and the group may be missing.
  diff_mode:
    support: full
    description: Shows each directory that is made or corrected.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.dag_storage_info
"""

EXAMPLES = r"""
- name: Lay out the DAG storage
  airstack.backbone.dag_storage:
    path: /srv/airflow/dags
    environment: acceptance
    sources: [etl, ml]
"""

RETURN = r"""
id:
  description: The storage's identifier. Null in check mode where the sentinel has yet to be written.
  returned: success
  type: str
  sample: 0b5a2c64-6f3f-4f5c-9d0e-1f3a1c1f7f5e
departed:
  description: The directories of sources that are no longer described.
  returned: success
  type: list
  elements: str
  sample: [finance]
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _dag_storage


def main() -> None:
    """Read the arguments, compare, apply, say what changed."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "environment": {"type": "str", "required": True},
            "sources": {"type": "list", "elements": "str", "required": True},
            "sentinel": {"type": "str", "default": ".airflow-dag-storage"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "raw", "default": "0755"},
        },
        supports_check_mode=True,
    )
    # Readers have to get through the parents that are made, also where root's own umask is a private one.
    os.umask(0o022)
    try:
        layout = _dag_storage.layout(module.params, is_check=module.check_mode)
        changes = _dag_storage.compare(layout)
        if changes.problems:
            module.fail_json(msg="\n".join(changes.problems))
        if not module.check_mode:
            _dag_storage.apply(layout, changes)
    except _dag_storage.StorageError as error:
        module.fail_json(msg=str(error))
    if changes.departed:
        module.warn(
            f"{layout.path} still holds the releases of sources that are no longer described:"
            f" {', '.join(changes.departed)}. Remove their directories once no run needs them."
        )
    module.exit_json(changed=bool(changes), id=changes.id, departed=changes.departed, diff=changes.difference(layout))


if __name__ == "__main__":
    main()
