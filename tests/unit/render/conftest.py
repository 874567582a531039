# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A platform of two teams, planned, with the endpoints of its services and secrets that are easily told apart."""

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
VARIABLES = {
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
    "airflow_settings": {"logging": {"log_timestamp_format": "%Y-%m-%d %H:%M"}},
}


@pytest.fixture(name="planned", scope="session")
def planned_platform() -> dict[str, Any]:
    made, problems = plan.make(VARIABLES, Inventory(GROUPS, {"control1": "10.0.0.13", "control2": "10.0.0.14"}))
    assert made is not None, problems
    return made


@pytest.fixture(name="endpoints", scope="session")
def endpoints_of_services(planned: dict[str, Any]) -> dict[str, Any]:
    return {
        "database": {
            **{key: planned["database"][key] for key in ("host", "port", "name", "user", "results_user")},
            "secret": "database",
            "results_secret": "database_results",
            "scheme": "postgresql+psycopg2",
        },
        "broker": {**planned["broker"], "scheme": "amqp", "secret": "broker"},
        "dag_storage": planned["dag_storage"],
        "log_store": planned["log_store"],
    }


@pytest.fixture(name="secrets", scope="session")
def secrets_of_platform(planned: dict[str, Any]) -> dict[str, str]:
    return {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]}
