# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from typing import Any

from ansible_collections.airstack.backbone.plugins.modules import health_info


def test_what_is_no_number_of_processes_is_named(run_module: Any) -> None:
    least = {"worker-etl": "two", "worker-ml": -1, "scheduler": "1"}
    result = run_module(health_info.main, plan={}, admin_password="of the admin", broker_password="x", least=least)
    assert result["failed"]
    assert "worker-etl: 'two', worker-ml: -1." in result["msg"]
