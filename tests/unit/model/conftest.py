"""A platform of two teams, as the local inventory describes it."""

from __future__ import annotations

from typing import Any

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
def variables() -> dict[str, Any]:
    return {
        "airflow_environment": "local",
        "airflow_longest_task": "8h",
        "airflow_dag_sources": [
            {"name": "etl", "path": "/dags/etl", "queues": ["etl", "etl_highmem"]},
            {"name": "ml", "path": "/dags/ml", "queues": ["ml"]},
        ],
        "airflow_worker_pools": [
            {"name": "etl", "queues": ["etl", "etl_highmem"], "concurrency": 4},
            {"name": "ml", "queues": ["ml"]},
        ],
    }


@pytest.fixture
def inventory() -> Inventory:
    return Inventory(GROUPS, {"backbone1": "10.0.0.11", "control1": "10.0.0.13"})
