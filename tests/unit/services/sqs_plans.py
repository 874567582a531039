# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Plans of platforms whose broker is SQS."""

from __future__ import annotations

from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, credentials, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.services import aws

DESCRIPTION: dict[str, Any] = {
    "airflow_environment": "local",
    "airflow_broker_provider": "sqs",
    "airflow_broker_account": aws.ACCOUNT,
    "airflow_broker_region": aws.REGION,
    "airflow_longest_task": "8h",
    "airflow_dag_sources": [
        {"name": "etl", "path": "/dags/etl", "queues": ["etl", "etl_highmem"]},
        {"name": "ml", "path": "/dags/ml", "queues": ["ml"]},
    ],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl", "etl_highmem"]}, {"name": "ml", "queues": ["ml"]}],
}

GROUPS = {
    "airflow_database": ("backbone1",),
    "airflow_control": ("control1",),
    "airflow_object_store": ("objects1",),
    "airflow_workers_etl": ("worker-etl1",),
    "airflow_workers_ml": ("worker-ml1",),
}


def planned(**changes: Any) -> dict[str, Any]:
    """The plan of the description with other variables."""
    description = {**DESCRIPTION, **changes}
    names = {f"airflow_workers_{pool['name']}" for pool in description["airflow_worker_pools"]}
    groups = {name: hosts for name, hosts in GROUPS.items() if name in names or not name.startswith("airflow_workers_")}
    made, problems = plan.make(description, Inventory(groups))
    assert made is not None, problems
    return made


def broker_of(made: dict[str, Any], kind: str, pool: str | None, secret: str = aws.SECRET) -> dict[str, Any]:
    """Celery's address and its transport's options, as a component of the plan has them."""
    endpoints = {
        "broker": made["broker"],
        "database": {**made["database"], "scheme": "postgresql+psycopg2", "secret": "x", "results_secret": "x"},
        "dag_storage": made["dag_storage"],
        "log_store": made["log_store"],
    }
    secrets = {each["name"]: secret for each in made["secrets"]} | {"x": "x"}
    [component] = [each for each in components.model(made, endpoints) if each["kind"] == kind and each["pool"] == pool]
    return {
        "url": credentials.values(component, endpoints, secrets)["broker_url"],
        "settings": component["settings"]["celery_broker_transport_options"],
    }
