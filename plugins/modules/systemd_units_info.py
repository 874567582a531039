#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_units_info
short_description: Tell which units run, which of them run with an old configuration, and which should not be there
version_added: 0.1.0
description:
  - Looks at several units in one round trip.
  - A unit runs with an old configuration when a file that it reads at its start is newer than its process. That holds
    as well after a run that wrote the files and failed before it restarted the unit.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  units:
    description:
      - The units to look at, by full name. They need not exist.
      - Each with the list of files that it reads at its start, besides its own unit file and drop-ins.
    type: dict
    default: {}
  patterns:
    description: Shell patterns of units; those that are there but not in O(units) are returned as RV(others).
    type: list
    elements: str
    default: []
author:
  - Airstack Founders (@airstack)
notes:
  - The host has to run systemd, 247 or newer.
seealso:
  - module: airstack.backbone.systemd_units
"""

EXAMPLES = r"""
- name: Look at the workers
  airstack.backbone.systemd_units_info:
    units:
      airflow-worker-etl.service: [/etc/airflow/worker-etl/airflow.cfg]
    patterns: ["airflow-worker-*.service"]
  register: workers

- name: Show which of them should not be there
  ansible.builtin.debug:
    var: workers.others
"""

RETURN = r"""
units:
  description: The units by name.
  returned: success
  type: dict
  contains:
    condition:
      description: >-
        V(down) where it does not run, or not yet, V(stale) where it runs with an old configuration or is stopping,
        V(current) where it runs with the present one.
      type: str
    is_enabled:
      description: Whether it starts with the host.
      type: bool
    stale_files:
      description: The files that are newer than its process.
      type: list
      elements: str
  sample:
    airflow-worker-etl.service:
      condition: stale
      is_enabled: false
      stale_files: [/etc/airflow/worker-etl/airflow.cfg]
others:
  description: Units that match a pattern, have a unit file or run, and are not in O(units).
  returned: success
  type: list
  elements: str
  sample: [airflow-worker-ml.service]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._systemd import Systemd, UnitsError, condition


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "dict", "default": {}},
            "patterns": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    systemd = Systemd(module.run_command)
    files: dict[str, list[str]] = module.params["units"]
    try:
        units = systemd.show(list(files))
        found = systemd.show([name for name in systemd.find(module.params["patterns"]) if name not in files])
    except UnitsError as error:
        module.fail_json(msg=str(error))
    seen: dict[str, Any] = {
        name: {
            "condition": condition(units[name], paths),
            "is_enabled": units[name]["UnitFileState"] == "enabled",
            "stale_files": units[name].stale(paths),
        }
        for name, paths in files.items()
    }
    others = sorted(name for name, unit in found.items() if unit.is_loaded or not unit.is_down)
    module.exit_json(changed=False, units=seen, others=others)


if __name__ == "__main__":
    main()
