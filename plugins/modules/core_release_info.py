#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_release_info
short_description: Tell what is needed to choose and to build a release of the core
version_added: 0.1.0
description:
  - Tells which releases of the core a host has, which one is current, which Python it would be built with, and how much
    room there is. Changes nothing. A Python that is missing is told, and no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  path:
    description: The directory with the releases.
    type: path
    default: /opt/airflow/core
  python:
    description: The interpreter to build with.
    type: path
    default: /usr/bin/python3
  cache:
    description: The installer's cache.
    type: path
    default: /var/cache/uv
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_release
"""

EXAMPLES = r"""
- name: Look at the host's core
  airstack.backbone.core_release_info:
  register: core

- name: Show which release runs after the next restart
  ansible.builtin.debug:
    var: core.current
"""

RETURN = r"""
python:
  description: The interpreter.
  returned: success
  type: dict
  contains:
    path:
      description: Its path, with every symlink resolved, so that it names one version for good.
      type: str
      returned: when it runs
      sample: /usr/bin/python3.11
    version:
      description: Its language version.
      type: str
      returned: when it runs
      sample: "3.11"
    problem:
      description: Why it cannot be used.
      type: str
      returned: when it does not run
      sample: "/usr/bin/python3.13 cannot be run: No such file or directory"
machine:
  description: The processor's architecture.
  returned: success
  type: str
  sample: x86_64
releases:
  description: The releases, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The release's name.
      type: str
      returned: success
      sample: 3.3.2-0a1b2c3d4e5f
    is_complete:
      description: Whether its build came to its end.
      type: bool
      returned: success
current:
  description: The release that C(current) leads to, if there is one.
  returned: success
  type: str
  sample: 3.3.2-0a1b2c3d4e5f
space:
  description: Room on each file system that a build writes to, in bytes.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: What would be written to.
      type: str
      returned: success
      sample: /opt/airflow/core
    free:
      description: What is free.
      type: int
      returned: success
      sample: 80000000000
    needed:
      description: What a build needs.
      type: int
      returned: success
      sample: 2000000000
    missing:
      description: What is needed and not free.
      type: int
      returned: success
      sample: 0
"""

import platform
import re
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import reason
from ansible_collections.airstack.backbone.plugins.module_utils._core.releases import current, releases
from ansible_collections.airstack.backbone.plugins.module_utils._core.space import space

_QUESTION = "import os, sys; print('%d.%d' % sys.version_info[:2]); print(os.path.realpath(sys.executable))"
_ANSWER = re.compile(r"(?P<version>3\.\d+)\n(?P<path>/[^\n]*)\n")


def interpreter(module: AnsibleModule, python: str) -> dict[str, str]:
    """Path and version of a Python, or the problem with it."""
    try:
        code, out, err = module.run_command([python, "-I", "-c", _QUESTION], handle_exceptions=False)
    except OSError as error:
        return {"problem": f"{python} cannot be run: {reason(error)}"}
    if code != 0:
        return {"problem": f"{python} does not run as a Python 3: {(err or out).strip()[:200]}"}
    answer = _ANSWER.fullmatch(out)
    if answer is None:
        return {"problem": f"{python} is no Python 3: asked for its version and path, it said {out.strip()[:200]!r}"}
    return answer.groupdict()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/opt/airflow/core"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "cache": {"type": "path", "default": "/var/cache/uv"},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["path"])
    module.exit_json(
        changed=False,
        python=interpreter(module, module.params["python"]),
        machine=platform.machine(),
        releases=[{"name": release.name, "is_complete": release.is_complete} for release in releases(root)],
        current=current(root),
        space=[{**asdict(room), "missing": room.missing} for room in space(root, Path(module.params["cache"]))],
    )


if __name__ == "__main__":
    main()
