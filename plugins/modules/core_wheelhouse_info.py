#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_wheelhouse_info
short_description: Tell which wheelhouses of the core a host has, and whether it can make one
version_added: 0.1.0
description:
  - Tells which wheelhouses there are, and whether pip is there to download another one with. Changes nothing. A pip that is
    missing is told, and no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  path:
    description: The directory with the wheelhouses.
    type: path
    required: true
  pip:
    description: The interpreter that is to have pip.
    type: path
    required: true
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_wheelhouse
"""

EXAMPLES = r"""
- name: Look at the wheelhouses
  airstack.backbone.core_wheelhouse_info:
    path: /var/cache/airflow-core
    pip: /usr/bin/python3
  register: found
"""

RETURN = r"""
pip:
  description: The program that downloads.
  returned: success
  type: dict
  contains:
    version:
      description: Its version.
      type: str
      returned: when it runs
      sample: "24.2"
    problem:
      description: Why it cannot be used.
      type: str
      returned: when it does not run
      sample: "/usr/bin/python3 has no pip: No module named pip"
machine:
  description: The processor's architecture.
  returned: success
  type: str
  sample: x86_64
wheelhouses:
  description: The wheelhouses, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Its directory.
      type: str
      sample: /var/cache/airflow-core/wheelhouses/6b1b36cbb04b41490bfc0ab2bfa26f86a1fd5ce1ff9c65e4fa5b9e0ae4d5b1c2
    hash:
      description: SHA-256 over the names and hashes of its wheels.
      type: str
      sample: 6b1b36cbb04b41490bfc0ab2bfa26f86a1fd5ce1ff9c65e4fa5b9e0ae4d5b1c2
    python:
      description: The version of Python that it is for.
      type: str
      sample: "3.12"
"""

import platform
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheelhouses
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.uv import run


def pip(module: AnsibleModule, python: str) -> dict[str, str]:
    """The version of an interpreter's pip, or the problem with it."""
    try:
        said = run(module, "run pip", [python, "-m", "pip", "--version"], {})
    except CoreError as error:
        return {"problem": str(error).rstrip(".")}
    found = re.match(r"pip (\S+)", said)
    return {"version": found[1]} if found else {"problem": f"{python} -m pip said {said.strip()[:200]!r}"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "pip": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    module.exit_json(
        changed=False,
        pip=pip(module, module.params["pip"]),
        machine=platform.machine(),
        wheelhouses=[
            {"path": str(each.path), "hash": each.hash, "python": each.python}
            for each in wheelhouses.there(Path(module.params["path"]))
        ],
    )


if __name__ == "__main__":
    main()
