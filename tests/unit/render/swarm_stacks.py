# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Platforms on a Swarm, planned and rendered, with secrets that are easily told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, credentials, placement, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._render import swarm

IMAGE = "registry.example.com/airflow@sha256:" + "0123456789abcdef" * 4
KEY = "a key that nobody guesses"
SERVICES = {"airflow_database": ["backbone1"], "airflow_broker": ["backbone1"], "airflow_object_store": ["objects1"]}
NODES = {"airflow_control": ["node1", "node2", "node3"], "airflow_workers_etl": ["node2", "node3"]}
SETTINGS = {"logging": {"log_timestamp_format": "%Y-%m-%d %H:%M"}}

Rendered = dict[str, Any]


def made(variables: dict[str, Any], nodes: Mapping[str, Sequence[str]] | None = None, **changes: Any) -> dict[str, Any]:
    """The plan of a platform, with three workers of the pool etl."""
    etl, ml = variables["airflow_worker_pools"]
    described = {
        **variables,
        "airflow_platform": "swarm",
        "airflow_worker_pools": [{**etl, "replicas": 3}, ml],
        "airflow_settings": SETTINGS,
        **changes,
    }
    result, problems = plan.make(described, Inventory({**SERVICES, **(nodes or NODES)}), tuple(placement.PLATFORMS))
    assert result is not None, problems
    return result


def rendered(
    planned: dict[str, Any],
    endpoints: dict[str, Any],
    changed: dict[str, str] | None = None,
    image: str = IMAGE,
    key: str = KEY,
    **stack: Any,
) -> Rendered:
    """The stack of a plan. changed: secrets that are otherwise."""
    secrets = {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]} | (changed or {})
    model = components.model(planned, endpoints)
    values = {each["name"]: credentials.values(each, endpoints, secrets) for each in model}
    addresses = {host["name"]: host["address"] for host in planned["hosts"]}
    nodes = [{"name": name, "address": addresses[name]} for name in planned["nodes"]]
    storage = planned["dag_storage"]
    place = swarm.Stack(
        planned["environment"], image, storage["path"], storage["sentinel"], nodes, planned["api"]["port"], **stack
    )
    return swarm.render(model, place, planned["routing"], values, key)
