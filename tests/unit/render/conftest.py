# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The platform on several hosts, planned, with secrets that are easily told apart."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory

GROUPS = {
    "airflow_database": ["backbone1"],
    "airflow_broker": ["backbone1"],
    "airflow_object_store": ["objects1"],
    "airflow_control": ["control1", "control2"],
    "airflow_workers_etl": ["worker-etl1", "worker-etl2"],
    "airflow_workers_ml": ["worker-ml1"],
}
ADDRESSES = {"control1": "10.0.0.13", "control2": "10.0.0.14"}
SETTINGS = {"logging": {"log_timestamp_format": "%Y-%m-%d %H:%M"}}


@pytest.fixture(name="planned")
def planned_platform(variables: dict[str, Any]) -> dict[str, Any]:
    made, problems = plan.make({**variables, "airflow_settings": SETTINGS}, Inventory(GROUPS, ADDRESSES))
    assert made is not None, problems
    return made


@pytest.fixture(name="secrets")
def secrets_of_platform(planned: dict[str, Any]) -> dict[str, str]:
    return {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]}
