#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Tell whether a host can take what a platform puts on it
version_added: 0.1.0
description:
  - Looks whether the module runs as root, on a system with C(apt-get) and systemd, for ports that something else has
    taken, for too little disk space and for another platform's Fernet key, and returns every problem at once. Nothing is
    changed, and problems are no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  fernet_key:
    description:
      - The Fernet key that the platform is to have, or several with commas between them.
      - It is a problem where the host has keys and none of them is among these, since nothing that they encrypted could be
        read again. The one of C(setup) is not looked at, since the database may have refused it.
    type: str
  fernet_key_files:
    description: A shell pattern of the files that hold the host's Fernet keys.
    type: str
    default: /etc/airflow/credentials/*/fernet_key
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

import glob
import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _host

GIB = 1024**3

SETUP = "setup"
"""What sets up the database; it has its key before the database has taken it."""

Demand = dict[str, Any]


def system_problems() -> list[str]:
    """A user or a system that nothing could be installed with."""
    problems = []
    if os.geteuid() != 0:
        problems.append(
            f"user {os.geteuid()} is not root: log in as root, or let a user become root (ansible_become: true in the"
            " group variables of the platform's hosts)"
        )
    if shutil.which("apt-get") is None:
        problems.append("there is no apt-get: the host has to be Debian 12 or 13, or Ubuntu")
    if not Path("/run/systemd/system").is_dir():
        problems.append("systemd does not run as its first process, and the platform's services are systemd's units")
    return problems


def fernet_problems(wanted: str | None, pattern: str) -> list[str]:
    """A platform that is there and encrypts with other keys."""
    if not wanted:
        return []
    paths = [path for path in sorted(glob.glob(pattern)) if Path(path).parent.name != SETUP]
    files = {path: Path(path).read_text(encoding="utf-8").strip() for path in paths}
    strangers = [path for path, key in files.items() if not set(key.split(",")) & set(wanted.split(","))]
    return [
        f"{path} holds another Fernet key than airflow_secret_fernet_key: nothing that is encrypted in the metadata"
        " database could be read again. Bring the secrets of this platform, or put its key behind the new one, with a comma"
        " between them"
        for path in strangers[:1]
    ]


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
            "fernet_key": {"type": "str", "no_log": True},
            "fernet_key_files": {"type": "str", "default": "/etc/airflow/credentials/*/fernet_key", "no_log": False},
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
    problems = system_problems()
    if not problems:
        problems += port_problems(module.params["ports"])
        problems += space_problems(module.params["space"])
        problems += fernet_problems(module.params["fernet_key"], module.params["fernet_key_files"])
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
