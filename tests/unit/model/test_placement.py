# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""On which hosts components run, how many of them, and what each platform asks of an inventory for that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    components,
    demands,
    description,
    explain,
    placement,
    plan,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._services import postgresql
from ansible_collections.airstack.backbone.tests.unit.model.plans import made, refused

SERVICES = ("airflow_database", "airflow_broker", "airflow_object_store")
NODES = ["node1", "node2", "node3"]
WORKERS = ("worker-etl", "worker-ml")


def without_hosts(inventory: Inventory, **groups: list[str]) -> Inventory:
    """The inventory's services, and besides them these groups alone."""
    return Inventory({**{group: inventory.groups[group] for group in SERVICES}, **groups}, {"node1": "10.0.0.21"})


def with_replicas(variables: dict[str, Any], platform: str) -> dict[str, Any]:
    etl, ml = variables["airflow_worker_pools"]
    return {**variables, "airflow_platform": platform, "airflow_worker_pools": [{**etl, "replicas": 3}, ml]}


def on_kubernetes(variables: dict[str, Any]) -> dict[str, Any]:
    return {
        **variables,
        "airflow_platform": "kubernetes",
        "airflow_api_url": "https://airflow.example.com",
        "airflow_cluster_networks": ["10.244.0.0/16"],
    }


def publishing(inventory: Inventory, **groups: list[str]) -> Inventory:
    return without_hosts(inventory, airflow_publisher=["publisher1"], **groups)


def by_name(planned: dict[str, Any], key: str) -> dict[str, Any]:
    return {component["name"]: component[key] for component in planned["components"]}


def processes(planned: dict[str, Any], endpoints: dict[str, Any]) -> dict[str, int]:
    """How many heartbeats each component's health asks for."""
    model = components.model(planned, endpoints)
    return {each["name"]: each["health"]["processes"] for each in model if "processes" in each["health"]}


@pytest.fixture(name="planned")
def planned_on_systemd(variables: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    return made(variables, inventory)


@pytest.fixture
def swarm(variables: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    hosts = without_hosts(inventory, airflow_control=["node1"], airflow_workers_etl=["node2", "node3"])
    return made(with_replicas(variables, "swarm"), hosts)


@pytest.fixture
def kubernetes(variables: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    return made(on_kubernetes(with_replicas(variables, "kubernetes")), publishing(inventory))


def test_only_what_works_is_offered(variables: dict[str, Any], inventory: Inventory) -> None:
    assert description.PLATFORMS == ("systemd", "swarm", "kubernetes")
    for platform in ("ecs", *(set(placement.PLATFORMS) - set(description.PLATFORMS))):
        _made, wrong = plan.make({**variables, "airflow_platform": platform}, inventory)
        assert [problem.variable for problem in wrong] == ["airflow_platform"]


def test_on_systemd_the_hosts_are_the_replicas(variables: dict[str, Any], inventory: Inventory) -> None:
    groups = {"airflow_control": ["a", "b"], "airflow_schedulers": ["b"], "airflow_workers_etl": ["c", "d", "e"]}
    planned = made(variables, Inventory({**inventory.groups, **groups}))
    assert by_name(planned, "replicas") == {
        "api-server": 2,
        "scheduler": 1,
        "dag-processor": 2,
        "triggerer": 2,
        "worker-etl": 3,
        "worker-ml": 1,
    }
    assert by_name(planned, "machines") == by_name(planned, "hosts")
    assert [pool["replicas"] for pool in planned["pools"]] == [3, 1]


def test_systemd_refuses_a_number_of_workers(variables: dict[str, Any], inventory: Inventory) -> None:
    assert refused(with_replicas(variables, "systemd"), inventory) == {
        "airflow_worker_pools[0].replicas": "left out: on systemd each host of airflow_workers_etl runs one worker"
    }


@pytest.mark.parametrize("replicas", [0, 1001, "many", True])
def test_replicas_are_a_number_of_workers(variables: dict[str, Any], inventory: Inventory, replicas: Any) -> None:
    variables["airflow_worker_pools"][0]["replicas"] = replicas
    wrong = refused(on_kubernetes(variables), publishing(inventory))
    assert wrong == {"airflow_worker_pools[0].replicas": "a whole number from 1 to 1000"}


def test_on_swarm_a_group_narrows_down_where_a_component_may_run(swarm: dict[str, Any]) -> None:
    hosts, replicas = by_name(swarm, "hosts"), by_name(swarm, "replicas")
    assert hosts.pop("worker-etl") == ["node2", "node3"]
    assert hosts.pop("worker-ml") == NODES
    assert list(hosts.values()) == [["node1"]] * 4
    assert replicas.pop("worker-etl") == 3
    assert set(replicas.values()) == {1}
    assert swarm["nodes"] == NODES


def test_on_swarm_a_child_of_control_narrows_further(variables: dict[str, Any], inventory: Inventory) -> None:
    groups = {"airflow_control": ["node1", "node2"], "airflow_schedulers": ["node2"], "airflow_workers_etl": ["node3"]}
    planned = made({**variables, "airflow_platform": "swarm"}, without_hosts(inventory, **groups))
    hosts = by_name(planned, "hosts")
    assert (hosts["scheduler"], hosts["triggerer"]) == (["node2"], ["node1", "node2"])
    assert [hosts[worker] for worker in WORKERS] == [["node3"], NODES]


def test_on_swarm_several_pools_share_a_node(variables: dict[str, Any], inventory: Inventory) -> None:
    groups = {"airflow_control": ["node1"], **{f"airflow_workers_{name}": ["node1"] for name in ("etl", "ml")}}
    planned = made({**variables, "airflow_platform": "swarm"}, without_hosts(inventory, **groups))
    assert set(map(tuple, by_name(planned, "hosts").values())) == {("node1",)}


@pytest.mark.parametrize(
    ("groups", "wrong"),
    [
        ({}, ["groups['airflow_control']"]),
        ({"airflow_control": ["node1"], "airflow_schedulers": ["other"]}, ["groups['airflow_schedulers']"]),
        ({"airflow_control": NODES, "airflow_swarm_managers": ["other"]}, ["groups['airflow_swarm_managers']"]),
        ({"airflow_control": NODES, "airflow_swarm_managers": NODES[:2]}, ["groups['airflow_swarm_managers']"]),
    ],
)
def test_on_swarm_components_and_managers_are_on_its_nodes(
    variables: dict[str, Any], inventory: Inventory, groups: dict[str, list[str]], wrong: list[str]
) -> None:
    found = refused({**variables, "airflow_platform": "swarm"}, without_hosts(inventory, **groups))
    assert list(found) == wrong


def test_on_swarm_a_manager_is_the_first_node(variables: dict[str, Any], inventory: Inventory) -> None:
    groups = {
        "airflow_control": ["node1", "node2"],
        "airflow_workers_ml": ["node3"],
        "airflow_swarm_managers": ["node2"],
    }
    planned = made({**variables, "airflow_platform": "swarm"}, without_hosts(inventory, **groups))
    assert planned["nodes"] == ["node2", "node1", "node3"]


def test_on_swarm_every_node_has_the_published_port_and_no_other(swarm: dict[str, Any]) -> None:
    for node in NODES:
        [port] = demands.of(node, swarm)["ports"]
        assert (port["port"], port["units"]) == (8080, ["docker.service"])


def test_on_swarm_a_service_beside_it_may_have_the_published_port(
    variables: dict[str, Any], inventory: Inventory
) -> None:
    groups = {"airflow_control": ["node1"], "airflow_workers_etl": ["objects1"]}
    hosts = without_hosts(inventory, **groups)
    wrong = refused({**variables, "airflow_platform": "swarm"}, hosts)
    assert list(wrong) == ["Airflow's api-server (airflow_api_port) on objects1"]


def test_on_swarm_people_and_workers_have_different_addresses(swarm: dict[str, Any]) -> None:
    assert swarm["api"]["url"] == "http://10.0.0.21:8080"
    assert swarm["api"]["execution_url"] == "http://api-server:8080/execution/"


def test_on_swarm_a_replica_has_a_name_that_stays(swarm: dict[str, Any]) -> None:
    assert [pool["worker_names"] for pool in swarm["broker"]["pools"]] == [
        ["etl@worker-etl-1", "etl@worker-etl-2", "etl@worker-etl-3"],
        ["ml@worker-ml-1"],
    ]


def test_on_swarm_a_service_has_a_name_that_the_engine_takes(variables: dict[str, Any], inventory: Inventory) -> None:
    etl, ml = variables["airflow_worker_pools"]
    described = {
        **variables,
        "airflow_platform": "swarm",
        "airflow_environment": "a" * 32,
        "airflow_worker_pools": [{**etl, "name": "e" * 15}, {**ml, "name": "m" * 16}],
    }
    hosts = without_hosts(inventory, airflow_control=NODES)
    assert list(refused(described, hosts)) == [f"the service of worker-{'m' * 16}"]
    assert made({**described, "airflow_environment": "a" * 31}, hosts)


def test_on_kubernetes_no_host_runs_a_component(kubernetes: dict[str, Any]) -> None:
    assert set(map(tuple, by_name(kubernetes, "hosts").values())) == {()}
    assert {host["name"] for host in kubernetes["hosts"]} == {"backbone1", "objects1", "publisher1"}
    assert by_name(kubernetes, "replicas")["worker-etl"] == 3
    assert by_name(kubernetes, "replicas")["scheduler"] == 1
    assert kubernetes["dag_storage"]["readers"] == []


def test_on_kubernetes_a_host_that_reads_no_dags_publishes_them(kubernetes: dict[str, Any]) -> None:
    assert kubernetes["dag_storage"]["publisher"] == "publisher1"
    assert "published from publisher1" in explain.text(kubernetes)


@pytest.mark.parametrize("publishers", [[], ["publisher1", "publisher2"]])
def test_on_kubernetes_one_host_publishes(
    variables: dict[str, Any], inventory: Inventory, publishers: list[str]
) -> None:
    wrong = refused(on_kubernetes(variables), without_hosts(inventory, airflow_publisher=publishers))
    right = "one host that has the file system of the DAGs' volume mounted at /srv/airflow/dags, writable"
    assert wrong == {"groups['airflow_publisher']": right}


def test_on_kubernetes_the_publisher_makes_what_has_no_host(kubernetes: dict[str, Any], swarm: dict[str, Any]) -> None:
    assert (kubernetes["delegate"], swarm["delegate"]) == ("publisher1", "node1")


@pytest.mark.parametrize("platform", ["systemd", "swarm"])
def test_elsewhere_a_reader_publishes_and_no_pod_comes(
    variables: dict[str, Any], inventory: Inventory, platform: str
) -> None:
    described = {**variables, "airflow_platform": platform, "airflow_cluster_networks": ["10.244.0.0/16"]}
    wrong = refused(described, Inventory({**inventory.groups, "airflow_publisher": ["publisher1"]}))
    assert set(wrong) == {"groups['airflow_publisher']", "airflow_cluster_networks"}


def test_on_kubernetes_the_database_lets_the_networks_of_pods_in(kubernetes: dict[str, Any]) -> None:
    assert kubernetes["database"]["clients"] == [
        {"name": "pods", "address": "10.244.0.0/16", "users": ["airflow_local", "airflow_local_results"]}
    ]


def test_on_kubernetes_a_database_of_ours_has_to_know_the_networks_of_pods(
    variables: dict[str, Any], inventory: Inventory
) -> None:
    described = {**on_kubernetes(variables), "airflow_cluster_networks": []}
    assert list(refused(described, publishing(inventory))) == ["airflow_cluster_networks"]


@pytest.mark.parametrize("network", ["10.244.0.1/16", "10.244.0.0", "10.244.0.0/33", "pods", 10, None])
def test_a_network_is_an_address_and_a_length(variables: dict[str, Any], inventory: Inventory, network: Any) -> None:
    described = {**on_kubernetes(variables), "airflow_cluster_networks": [network]}
    assert list(refused(described, publishing(inventory))) == ["airflow_cluster_networks[0]"]


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ({}, "http://api-server:8080"),
        ({"airflow_api_internal_url": "http://airflow.internal:8080"}, "http://airflow.internal:8080"),
    ],
)
def test_a_pod_that_publishes_asks_the_service(
    variables: dict[str, Any], inventory: Inventory, told: dict[str, str], url: str
) -> None:
    described = {**on_kubernetes(variables), "airflow_dag_storage_provider": "persistent_volume", **told}
    planned = made(described, publishing(inventory))
    assert planned["api"]["servers"] == [{"host": "the cluster", "url": url}]
    assert planned["dag_storage"]["publishes_in_pod"]


def test_on_hosts_each_api_server_is_asked(planned: dict[str, Any], swarm: dict[str, Any]) -> None:
    assert planned["api"]["servers"] == [{"host": "control1", "url": "http://10.0.0.13:8080"}]
    assert swarm["api"]["servers"] == [{"host": "node1", "url": "http://10.0.0.21:8080"}]
    assert not planned["dag_storage"]["publishes_in_pod"]


def test_on_kubernetes_people_are_told_a_way_in(variables: dict[str, Any], inventory: Inventory) -> None:
    described = on_kubernetes(variables)
    planned = made(described, publishing(inventory))
    assert (planned["api"]["url"], planned["api"]["internal_url"]) == (
        "https://airflow.example.com",
        "http://api-server:8080",
    )
    assert list(refused({**described, "airflow_api_url": None}, publishing(inventory))) == ["airflow_api_url"]
    assert planned["api"]["servers"] == [{"host": "the cluster", "url": "https://airflow.example.com"}]
    # Said once, and not again as missing.
    wrong = refused({**described, "airflow_api_url": "airflow"}, publishing(inventory))
    assert "pods alone" not in wrong["airflow_api_url"]


def test_on_kubernetes_hosts_run_nothing(variables: dict[str, Any], inventory: Inventory) -> None:
    groups = {"airflow_control": ["a"], "airflow_schedulers": ["a"], "airflow_workers_etl": ["b"]}
    wrong = refused(on_kubernetes(variables), publishing(inventory, **groups))
    assert wrong == {f"groups['{group}']": "left out: the cluster decides where components run" for group in groups}


def test_heartbeats_are_counted_by_replicas(planned: dict[str, Any], endpoints: dict[str, Any]) -> None:
    two = [{**each, "replicas": 2} if each["name"] == "triggerer" else each for each in planned["components"]]
    assert processes({**planned, "components": two}, endpoints) == {"dag-processor": 1, "triggerer": 2}


def test_connections_to_the_database_are_counted_by_replicas(swarm: dict[str, Any], kubernetes: dict[str, Any]) -> None:
    assert postgresql.connections(swarm) == postgresql.connections(kubernetes)
    [etl, ml] = swarm["pools"]
    more = {**swarm, "pools": [{**etl, "replicas": 103}, ml]}
    assert postgresql.connections(more) - postgresql.connections(swarm) == 100 * (etl["concurrency"] + 1)


@pytest.mark.parametrize("platform", ["swarm", "kubernetes"])
def test_a_plan_without_hosts_is_plain_data_and_can_be_shown(platform: str, request: pytest.FixtureRequest) -> None:
    planned = request.getfixturevalue(platform)
    assert json.loads(json.dumps(planned)) == planned
    rows = [line.split(maxsplit=1) for line in explain.text(planned).splitlines() if line.startswith("  worker-etl")]
    assert rows == [["worker-etl", {"swarm": "3 on node2, node3", "kubernetes": "3"}[platform]]]


@pytest.mark.parametrize("platform", ["swarm", "kubernetes"])
def test_a_model_has_the_same_components_on_every_platform(
    platform: str, endpoints: dict[str, Any], planned: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    here = components.model(request.getfixturevalue(platform), endpoints)
    there = components.model(planned, endpoints)
    assert [each["name"] for each in here] == [each["name"] for each in there]


def test_volume_claims_are_a_clusters(variables: dict[str, Any], inventory: Inventory) -> None:
    claimed = {**variables, "airflow_dag_storage_provider": "persistent_volume"}
    assert refused(claimed, inventory) == {
        "airflow_dag_storage_provider": "directory, which something else shares: systemd has no volume claims"
    }
    assert made(on_kubernetes(claimed), publishing(inventory))["dag_storage"]["provider"] == "persistent_volume"
