from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import demands, explain, plan, problems
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.model.plans import made, refused

Variables = dict[str, Any]


def test_the_plan_is_plain_data(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, inventory)
    assert json.loads(json.dumps(planned)) == planned


def test_a_pool_reads_only_the_sources_of_its_queues(variables: Variables, inventory: Inventory) -> None:
    assert {pool["name"]: pool["sources"] for pool in made(variables, inventory)["pools"]} == {
        "etl": ["etl"],
        "ml": ["ml"],
    }


def test_a_source_without_queues_goes_to_the_default_pool(variables: Variables, inventory: Inventory) -> None:
    etl, ml = variables["airflow_dag_sources"]
    bare = {key: value for key, value in etl.items() if key != "queues"}
    described = {**variables, "airflow_dag_sources": [bare, ml]}
    assert "airflow_default_pool" in refused(described, inventory)["airflow_dag_sources[0].queues"]
    planned = made({**described, "airflow_default_pool": "etl"}, inventory)
    [first, _second] = planned["sources"]
    assert (first["queues"], first["default_queue"], first["pools"]) == (["etl", "etl_highmem"], "etl", ["etl"])
    wrong = refused({**described, "airflow_default_pool": "none"}, inventory)
    assert wrong == {"airflow_default_pool": "the name of a worker pool: etl, ml"}


def test_several_sources_share_a_pool_and_a_source_has_several_pools(
    variables: Variables, inventory: Inventory
) -> None:
    etl, ml = variables["airflow_dag_sources"]
    pools = [
        {"name": "etl", "queues": ["etl", "shared"]},
        {"name": "ml", "queues": ["ml", "shared"]},
    ]
    sources = [{**etl, "queues": ["etl"]}, {**ml, "queues": ["ml", "shared"]}]
    planned = made({**variables, "airflow_worker_pools": pools, "airflow_dag_sources": sources}, inventory)
    assert {pool["name"]: pool["sources"] for pool in planned["pools"]} == {"etl": ["etl", "ml"], "ml": ["ml"]}
    assert {source["name"]: source["pools"] for source in planned["sources"]} == {"etl": ["etl"], "ml": ["etl", "ml"]}


def test_only_the_central_hosts_may_use_the_database_as_its_owner(variables: Variables, inventory: Inventory) -> None:
    clients = made(variables, inventory)["database"]["clients"]
    assert {client["name"]: client["users"] for client in clients} == {
        "control1": ["airflow_local", "airflow_local_results"],
        "worker-etl1": ["airflow_local_results"],
        "worker-ml1": ["airflow_local_results"],
    }


def test_a_component_with_a_group_of_its_own_leaves_the_control_hosts(
    variables: Variables, inventory: Inventory
) -> None:
    schedulers = ["scheduler1", "scheduler2"]
    control = [*inventory.groups["airflow_control"], *schedulers]
    split = Inventory({**inventory.groups, "airflow_control": control, "airflow_schedulers": schedulers})
    hosts = {component["name"]: component["hosts"] for component in made(variables, split)["components"]}
    assert hosts["scheduler"] == ["scheduler1", "scheduler2"]
    assert hosts["api-server"] == control


def test_a_components_group_belongs_to_control(variables: Variables, inventory: Inventory) -> None:
    stray = Inventory({**inventory.groups, "airflow_schedulers": ["scheduler1"]})
    assert set(refused(variables, stray)) == {"groups['airflow_schedulers']"}


def test_addresses_fall_back_to_names(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, inventory)
    assert planned["database"]["host"] == "10.0.0.11"
    assert planned["log_store"]["endpoint_url"] == "http://objects1:8080"


def test_an_empty_description_names_every_required_variable(inventory: Inventory) -> None:
    assert set(refused({}, inventory)) == {"airflow_environment", "airflow_dag_sources", "airflow_worker_pools"}


def test_all_problems_come_at_once(variables: Variables, inventory: Inventory) -> None:
    variables |= {
        "airflow_environment": "Prod!",
        "airflow_version": 3.3,
        "airflow_platform": "swarms",
        "airflow_longest_task": "8 hours",
        "airflow_database_provider": "postgres",
        "airflow_broker_provider": "kafka",
        "airflow_dag_storage_path": "srv/dags",
        "airflow_api_port": 80,
        "airflow_worker_pools": [{"name": "etl", "queus": ["etl"], "concurrency": "many"}],
        "airflow_dag_sources": [
            {"name": "a", "path": "/a", "queues": []},
            {"name": "a", "path": "/a", "queues": ["x"]},
        ],
    }
    wrong = refused(variables, inventory)
    assert set(wrong) == {
        "airflow_environment",
        "airflow_version",
        "airflow_platform",
        "airflow_longest_task",
        "airflow_database_provider",
        "airflow_broker_provider",
        "airflow_dag_storage_path",
        "airflow_api_port",
        "airflow_worker_pools[0].queus",
        "airflow_worker_pools[0].queues",
        "airflow_worker_pools[0].concurrency",
        "airflow_dag_sources[0].queues",
        "airflow_dag_sources[1].name",
    }
    assert "did you mean queues?" in wrong["airflow_worker_pools[0].queus"]
    assert "did you mean postgresql?" in wrong["airflow_database_provider"]


def test_a_slip_of_the_pen_in_a_variables_name_is_found(variables: Variables, inventory: Inventory) -> None:
    wrong = refused({**variables, "airflow_logest_task": 1, "airflow_routing_mod": "assign"}, inventory)
    assert wrong == {"airflow_routing_mod": "left out (did you mean airflow_routing_mode?)"}


@pytest.mark.parametrize(
    ("source_queues", "pool_queues", "where"),
    [
        (["etl", "gpu"], ["etl"], "airflow_dag_sources[0].queues[1]"),
        (["etl"], ["gpu"], "airflow_worker_pools[1].queues"),
    ],
)
def test_a_queue_that_leads_nowhere_is_refused(
    variables: Variables, inventory: Inventory, source_queues: list[str], pool_queues: list[str], where: str
) -> None:
    variables["airflow_dag_sources"] = [{"name": "etl", "path": "/dags/etl", "queues": source_queues}]
    variables["airflow_worker_pools"] = [
        {"name": "etl", "queues": ["etl"]},
        {"name": "ml", "queues": pool_queues},
    ]
    assert where in refused(variables, inventory)


@pytest.mark.parametrize("group", ["airflow_database", "airflow_broker", "airflow_control", "airflow_workers_ml"])
def test_an_empty_group_is_refused(variables: Variables, inventory: Inventory, group: str) -> None:
    assert set(refused(variables, Inventory({**inventory.groups, group: []}))) == {f"groups['{group}']"}


def test_a_host_runs_the_worker_of_one_pool(variables: Variables, inventory: Inventory) -> None:
    crowded = Inventory({**inventory.groups, "airflow_workers_ml": ["worker-etl1"]})
    assert (
        "worker-etl1 is in airflow_workers_etl already" in refused(variables, crowded)["groups['airflow_workers_ml']"]
    )


@pytest.mark.parametrize(
    ("section", "key", "reason"),
    [
        ("core", "fernet_key", "secret"),
        ("database", "sql_alchemy_conn_cmd", "secret"),
        ("core", "executor", "plan decides"),
        ("scheduler", "task_queued_timeout", "plan decides"),
        ("workers", "max_failed_heartbeats", "plan decides"),
    ],
)
def test_a_setting_that_is_not_the_users_is_refused(
    variables: Variables, inventory: Inventory, section: str, key: str, reason: str
) -> None:
    variables["airflow_settings"] = {section: {"allowed_elsewhere": "x", key: "x"}}
    wrong = refused(variables, inventory)
    assert list(wrong) == [f"airflow_settings.{section}.{key}"]
    assert reason in wrong[f"airflow_settings.{section}.{key}"]


def test_timeouts_form_a_chain(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, inventory)
    seconds = {name: timeout["seconds"] for name, timeout in planned["timeouts"].items()}
    chain = [planned["longest_task"], *(seconds[name] for name in ("worker_stop", "consumer_timeout", "task_queued"))]
    assert chain == sorted(set(chain))


def test_keys_of_a_foreign_log_store_are_never_made(variables: Variables, inventory: Inventory) -> None:
    groups = {name: hosts for name, hosts in inventory.groups.items() if name != "airflow_object_store"}
    variables["airflow_log_store_access_keys"] = {"core": "AKIACORE", "ml": "AKIAML"}
    planned = made(variables, Inventory(groups))
    kinds = {secret["name"]: secret["kind"] for secret in planned["secrets"] if secret["name"].startswith("log_store")}
    assert kinds == {"log_store": "given", "log_store_ml": "given"}
    assert planned["log_store"]["endpoint_url"] is None


def test_each_secret_has_a_name_of_its_own(variables: Variables, inventory: Inventory) -> None:
    names = [secret["name"] for secret in made(variables, inventory)["secrets"]]
    assert len(names) == len(set(names))


def test_a_host_must_offer_what_its_components_need(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, inventory)
    ports = {
        host: {port["port"] for port in demands.of(host, planned)["ports"]}
        for host in ("backbone1", "objects1", "control1", "worker-ml1")
    }
    assert ports == {
        "backbone1": {5432, 5672},
        "objects1": {8080},
        "control1": {8080, 8974, 8794},
        "worker-ml1": {8793},
    }


def test_a_person_reads_every_name_in_the_text(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, inventory)
    text = explain.text(planned)
    words = [*planned["timeouts"]["worker_stop"]["reason"].split(), "backbone1", "etl_highmem", "worker-ml1", "8h30m"]
    assert [word for word in words if word not in text and word != "backbone1"] == []


def test_mistakes_of_every_kind_come_at_once(variables: Variables) -> None:
    hosts = {"airflow_broker": ["backbone1"], "airflow_control": ["control1"], "airflow_workers_etl": ["worker-etl1"]}
    wrong = {
        **variables,
        "airflow_version": "2.10.0",
        "airflow_platform": "nomad",
        "airflow_settings": {"core": {"executor": "LocalExecutor", "fernet_key": "x"}},
        "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl", "nowhere"]}],
        "airflow_apiport": 80,
    }
    _made, found = plan.make(wrong, Inventory(hosts))
    assert {problem.variable for problem in found} == {
        "airflow_apiport",
        "airflow_version",
        "airflow_platform",
        "airflow_settings.core.executor",
        "airflow_settings.core.fernet_key",
        "groups['airflow_database']",
        "groups['airflow_workers_ml']",
        "airflow_dag_sources[0].queues[1]",
        "airflow_worker_pools[1].queues",
    }


def test_what_follows_from_an_unreadable_variable_is_no_problem(variables: Variables, inventory: Inventory) -> None:
    for name in ("airflow_dag_sources", "airflow_worker_pools"):
        _made, found = plan.make({**variables, name: "none"}, inventory)
        assert [problem.variable for problem in found] == [name]


def test_a_report_counts_and_numbers(variables: Variables, inventory: Inventory) -> None:
    _made, wrong = plan.make({**variables, "airflow_api_port": "x" * 500}, inventory)
    assert problems.report(wrong).splitlines()[0] == "The deployment description has one problem; nothing was changed."
    assert len(problems.report(wrong)) < 300


@pytest.mark.parametrize("suffix", ["", "_cmd", "_secret"])
def test_no_form_of_a_secret_is_taken_or_shown(variables: Variables, inventory: Inventory, suffix: str) -> None:
    secrets = {"core": "fernet_key", "api_auth": "jwt_secret", "database": "sql_alchemy_conn", "celery": "broker_url"}
    for section, key in secrets.items():
        _made, found = plan.make({**variables, "airflow_settings": {section: {key + suffix: "hunter2"}}}, inventory)
        assert [problem.variable for problem in found] == [f"airflow_settings.{section}.{key}{suffix}"]
        assert "hunter2" not in problems.report(found)


def test_credentials_in_an_address_are_not_shown(variables: Variables, inventory: Inventory) -> None:
    _made, found = plan.make({**variables, "airflow_log_store_endpoint_url": "https://user:hunter2@objects"}, inventory)
    assert "//***@objects" in problems.report(found)


@pytest.mark.parametrize(
    "value", ["a\rfernet_key = x", "a\nb", "a\x00", "a\x85b", "a\u2028b", pytest.param(1 << 20_000, id="huge")]
)
def test_a_setting_cannot_bring_another_one(variables: Variables, inventory: Inventory, value: Any) -> None:
    _made, found = plan.make({**variables, "airflow_settings": {"core": {"x": value}}}, inventory)
    assert "airflow_settings.core.x: found " in problems.report(found)


@pytest.mark.parametrize("group", ["airflow_database", "airflow_broker", "airflow_object_store"])
def test_a_service_stands_on_one_host(variables: Variables, inventory: Inventory, group: str) -> None:
    crowded = Inventory({**inventory.groups, group: ["a", "b"]}, inventory.addresses)
    _made, found = plan.make(variables, crowded)
    assert [problem.variable for problem in found] == [f"groups['{group}']"]


@pytest.mark.parametrize("address", ["fd00::1", "", "10.0.0.1/32, all", "a b", "-a"])
def test_an_address_is_one_that_every_service_can_write(
    variables: Variables, inventory: Inventory, address: str
) -> None:
    _made, found = plan.make(variables, Inventory(inventory.groups, {"control1": address}))
    assert [problem.variable for problem in found] == ["hostvars['control1'].airflow_address"]


def test_two_parts_do_not_share_a_port(variables: Variables, inventory: Inventory) -> None:
    together = Inventory({**inventory.groups, "airflow_object_store": ["control1"]}, inventory.addresses)
    _made, found = plan.make(variables, together)
    assert [(problem.variable, problem.found) for problem in found] == [
        ("Airflow's api-server (airflow_api_port) on control1", 8080)
    ]
    made_, found = plan.make({**variables, "airflow_api_port": 8090}, together)
    assert made_
    assert not found


def test_nothing_is_demanded_of_a_host_that_the_plan_leaves_out(variables: Variables, inventory: Inventory) -> None:
    assert demands.of("worker-gone1", made(variables, inventory)) == {"ports": [], "space": []}
