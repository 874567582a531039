# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory says about a lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lab_hosts(hostvars: Mapping[str, Any], hosts: list[str]) -> list[dict[str, Any]]:
    """The hosts as the module lab_info takes them; what a host's variables leave open keeps the module's default."""
    variables = {
        "address": "ansible_host",
        "release": "airflow_hosts_lab_release",
        "publish": "airflow_hosts_lab_publish",
        "volumes": "airflow_hosts_lab_volumes",
        "runs_containers": "airflow_hosts_lab_runs_containers",
    }
    return [
        {"name": host, **{key: hostvars[host][name] for key, name in variables.items() if name in hostvars[host]}}
        for host in hosts
    ]
