#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Tell whether a host can take what a platform puts on it
version_added: 0.1.0
description:
  - Looks for ports that something else has taken and for too little disk space, and returns every problem at once.
    Nothing is changed, and problems are no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  ports:
    description: TCP ports that must be free, or held by one of the given units.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      purpose:
        description: What it is for.
        type: str
        required: true
      units:
        description: Shell patterns of the systemd services that may hold it already.
        type: list
        elements: str
        default: []
  space:
    description: Disk space that must be free. Demands on one file system add up.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A path on the file system; its nearest existing parent counts.
        type: path
        required: true
      bytes:
        description: How much, in bytes.
        type: int
        required: true
      purpose:
        description: What it is for.
        type: str
        required: true
      unless:
        description: A path whose existence shows that the space is spent already.
        type: path
author:
  - Airstack Founders (@airstack)
"""

EXAMPLES = r"""
- name: Look whether the host can take the API server
  airstack.backbone.preflight_info:
    ports:
      - port: 8080
        purpose: Airflow's api-server
        units: [airflow-api-server.service]
    space:
      - path: /var
        bytes: 1073741824
        purpose: the database
  register: preflight
"""

RETURN = r"""
problems:
  description: What is in the way, in words; empty where the host is fit.
  returned: always
  type: list
  elements: str
  sample:
    - "port 8080, for Airflow's api-server, is taken by nginx (process 812, nginx.service): stop that first"
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _host

GIB = 1024**3

Demand = dict[str, Any]


def port_problems(ports: list[Demand]) -> list[str]:
    """Ports that something else holds."""
    tables = [_host.listening(_host.read(Path("/proc/net", name))) for name in ("tcp", "tcp6")]
    problems = []
    for demand in ports:
        inodes = {inode for table in tables for inode in table.get(demand["port"], ())}
        holders = _host.owners(inodes) if inodes else ()
        strangers = [holder for holder in holders if not _host.ours(holder[2], demand["units"])]
        for pid, name, unit in strangers[:1]:
            where = f"process {pid}" + (f", {unit}" if unit else "")
            problems.append(
                f"port {demand['port']}, for {demand['purpose']}, is taken by {name} ({where}): stop that first"
            )
    return problems


def space_problems(space: list[Demand]) -> list[str]:
    """File systems with less room than all demands on them together."""
    demanded: dict[int, list[Demand]] = {}
    for demand in space:
        if not (demand["unless"] and Path(demand["unless"]).exists()):
            device = _host.nearest_existing(Path(demand["path"])).stat().st_dev
            demanded.setdefault(device, []).append(demand)
    problems = []
    for demands in demanded.values():
        free = _host.free_bytes(_host.nearest_existing(Path(demands[0]["path"])))
        wanted = sum(demand["bytes"] for demand in demands)
        if free < wanted:
            purposes = ", ".join(demand["purpose"] for demand in demands)
            problems.append(
                f"{demands[0]['path']} has {free / GIB:.1f} GiB free and {wanted / GIB:.1f} GiB are needed for {purposes}:"
                " make room or mount a larger disk"
            )
    return problems


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "purpose": {"type": "str", "required": True},
                    "units": {"type": "list", "elements": "str", "default": []},
                },
            },
            "space": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "bytes": {"type": "int", "required": True},
                    "purpose": {"type": "str", "required": True},
                    "unless": {"type": "path"},
                },
            },
        },
        supports_check_mode=True,
    )
    problems = port_problems(module.params["ports"]) + space_problems(module.params["space"])
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
