# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.airstack.backbone.plugins.plugin_utils.filters import lab


def test_hosts_carry_what_the_inventory_says_and_no_more() -> None:
    hostvars = {
        "control1": {"ansible_host": "10.0.0.2", "airflow_hosts_lab_publish": ["8080:80"], "airflow_secret_jwt": "s"},
        "worker1": {
            "airflow_hosts_lab_release": "trixie",
            "airflow_hosts_lab_volumes": [],
            "airflow_hosts_lab_runs_containers": True,
        },
        "elsewhere": {"ansible_host": "10.0.0.9"},
    }
    assert lab.lab_hosts(hostvars, ["control1", "worker1"]) == [
        {"name": "control1", "address": "10.0.0.2", "publish": ["8080:80"]},
        {"name": "worker1", "release": "trixie", "volumes": [], "runs_containers": True},
    ]
