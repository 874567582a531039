# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The platform's own object store in the plan."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import demands, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.model.plans import made

IN_CLUSTER = {
    "airflow_platform": "kubernetes",
    "airflow_api_url": "https://airflow.example.com",
    "airflow_cluster_networks": ["10.244.0.0/16"],
    "airflow_dag_storage_provider": "persistent_volume",
    "airflow_object_store_provider": "kubernetes",
}


def with_pods(inventory: Inventory, **groups: list[str]) -> Inventory:
    services = {group: inventory.groups[group] for group in ("airflow_database", "airflow_broker")}
    return Inventory({**services, "airflow_publisher": ["publisher-0"], **groups}, inventory.addresses)


def test_a_cluster_provides_it_by_its_name(variables: dict[str, Any], inventory: Inventory) -> None:
    planned = made({**variables, **IN_CLUSTER}, with_pods(inventory))
    store = planned["log_store"]
    assert (store["endpoint_url"], store["service"]) == ("http://object-store:8080", "object-store")
    assert [each["access_key"] for each in store["identities"]] == [
        "airflow:core",
        "airflow:pool-etl",
        "airflow:pool-ml",
    ]
    assert "object_store_admin" in {secret["name"] for secret in planned["secrets"]}
    wanted = [port["purpose"] for host in planned["hosts"] for port in demands.of(host["name"], planned)["ports"]]
    assert "the object store" not in wanted


def test_a_host_provides_it_at_its_address(variables: dict[str, Any], inventory: Inventory) -> None:
    store = made(variables, inventory)["log_store"]
    assert store["service"] is store["object_store"]["service"] is None
    elsewhere = made({**variables, "airflow_log_store_endpoint_url": "https://s3.example.com"}, inventory)["log_store"]
    assert (elsewhere["endpoint_url"], elsewhere["service"]) == ("https://s3.example.com", None)


def test_what_a_person_names_is_used_and_no_service_of_the_cluster(
    variables: dict[str, Any], inventory: Inventory
) -> None:
    told = {**variables, **IN_CLUSTER, "airflow_log_store_endpoint_url": "https://s3.example.com"}
    assert made(told, with_pods(inventory))["log_store"]["service"] is None


@pytest.mark.parametrize(
    ("changed", "groups", "wrong"),
    [
        ({"airflow_dag_storage_provider": "directory"}, {}, {"airflow_object_store_provider"}),
        ({}, {"airflow_object_store": ["objects1"]}, {"groups['airflow_object_store']"}),
    ],
)
def test_what_a_cluster_cannot_provide_it_with(
    variables: dict[str, Any],
    inventory: Inventory,
    changed: dict[str, Any],
    groups: dict[str, list[str]],
    wrong: set[str],
) -> None:
    told = {**variables, **IN_CLUSTER, **changed}
    _planned, problems = plan.make(told, with_pods(inventory, **groups))
    assert {problem.variable for problem in problems} == wrong


def test_without_a_cluster_there_is_none(variables: dict[str, Any], inventory: Inventory) -> None:
    _planned, problems = plan.make({**variables, "airflow_object_store_provider": "kubernetes"}, inventory)
    assert {problem.variable for problem in problems} == {
        "airflow_object_store_provider",
        "groups['airflow_object_store']",
    }
