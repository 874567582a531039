# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The hosts of a platform of two teams."""

from __future__ import annotations

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory

GROUPS = {
    "airflow_database": ["backbone1"],
    "airflow_broker": ["backbone1"],
    "airflow_object_store": ["objects1"],
    "airflow_control": ["control1"],
    "airflow_workers_etl": ["worker-etl1"],
    "airflow_workers_ml": ["worker-ml1"],
}


@pytest.fixture
def inventory() -> Inventory:
    return Inventory(GROUPS, {"backbone1": "10.0.0.11", "control1": "10.0.0.13"})
