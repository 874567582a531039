#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_sync_info
short_description: Look at the releases of DAG sources, and verify them
version_added: 0.1.0
description:
  - Tells which releases of each source the DAG storage holds, which of them is current, which one was so before, and who
    published what and when.
  - With O(verify=true), reads every file and compares it with what M(airstack.backbone.dag_sync) published. So it finds what
    was edited, added or lost since.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  storage:
    description: The root of the DAG storage.
    type: path
    required: true
  sources:
    description: The names of the sources. All that the storage holds by default.
    type: list
    elements: str
  verify:
    description: Whether files are compared with what was published.
    type: bool
    default: false
  sentinel:
    description: The file in O(storage) that tells the storage from an empty mount point.
    type: str
    default: .airflow-dag-storage
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.dag_sync
"""

EXAMPLES = r"""
- name: See that nobody edited a release
  airstack.backbone.dag_sync_info:
    storage: /srv/airflow/dags
    verify: true
  register: dags
  failed_when: dags.problems | length > 0
"""

RETURN = r"""
problems:
  description: Everything that is wrong with any source.
  returned: always
  type: list
  elements: str
  sample: ["etl: release 41c3a0e2b5d9f876: orders.py has another content"]
sources:
  description: What there is of each source, by its name.
  returned: always
  type: dict
  contains:
    current:
      description: The current release. Null where there is none.
      type: str
    previous:
      description: The one that a rollback makes current. Null where there is none.
      type: str
    releases:
      description: All releases, the newest first.
      type: list
      elements: dict
      contains:
        release:
          description: The release's name.
          type: str
        is_current:
          description: Whether it is the current one.
          type: bool
        tree:
          description: The hash (SHA-256) of its paths and contents.
          type: str
        commit:
          description: The commit that it was made of first. Null where it is none's.
          type: str
        files:
          description: How many files it holds.
          type: int
        bytes:
          description: The size of their contents.
          type: int
        published:
          description: When it was made.
          type: str
        publisher:
          description: Who made it.
          type: str
        problems:
          description: What is wrong with it. Without O(verify), its files are not looked at.
          type: list
          elements: str
    history:
      description: Which release became current when, by whom, and whether it was V(published) or V(rolled_back), oldest first.
      type: list
      elements: dict
    leftovers:
      description: What a publisher that was killed left, or one that is at work has made so far.
      type: list
      elements: str
    problems:
      description: What is wrong with the source and its releases.
      type: list
      elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._dag_storage import departed
from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import name_problems
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import describe
from ansible_collections.airstack.backbone.plugins.module_utils._dags.inspection import inspect
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    Directory,
    PublishError,
    require_storage,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "storage": {"type": "path", "required": True},
            "sources": {"type": "list", "elements": "str"},
            "verify": {"type": "bool", "default": False},
            "sentinel": {"type": "str", "default": ".airflow-dag-storage"},
        },
        supports_check_mode=True,
    )
    storage = Path(module.params["storage"])
    names = module.params["sources"]
    wrong = [problem for name in names or () for problem in name_problems(name)]
    if wrong:
        module.fail_json(msg="\n".join(wrong))
    try:
        require_storage(storage, module.params["sentinel"])
        found = {
            name: inspect(Directory(storage, name), verify=module.params["verify"])
            for name in (departed(storage, ()) if names is None else names)
        }
    except PublishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The DAG storage cannot be read: {describe(error)}")
    problems = [f"{name}: {problem}" for name, source in found.items() for problem in source["problems"]]
    module.exit_json(changed=False, sources=found, problems=problems)


if __name__ == "__main__":
    main()
