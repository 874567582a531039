# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What each provider of a broker means for the plan, the components and their secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    brokers,
    components,
    credentials,
    demands,
    explain,
    timeouts,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.model.plans import made, refused

Variables = dict[str, Any]

SQS: Variables = {
    "airflow_broker_provider": "sqs",
    "airflow_broker_account": "123456789012",
    "airflow_broker_region": "eu-west-1",
    "airflow_longest_task": "8h",
}
REDIS: Variables = {"airflow_broker_provider": "redis"}
EXTERNAL: Variables = {
    "airflow_broker_provider": "external",
    "airflow_broker_url": "amqps://airflow@broker.example.com/prod",
}

TLS: Variables = {
    "airflow_broker_tls": True,
    "airflow_broker_tls_certificate": "/pki/broker.pem",
    "airflow_broker_tls_ca": "/pki/ca.pem",
}
COOKIE_POOL: Variables = {
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl", "etl_highmem"]}, {"name": "cookie", "queues": ["ml"]}]
}


IN_CLUSTER: Variables = {
    "airflow_platform": "kubernetes",
    "airflow_api_url": "https://airflow.example.com",
    "airflow_database_provider": "kubernetes",
    "airflow_broker_provider": "kubernetes",
    "airflow_dag_storage_provider": "persistent_volume",
}
CLUSTER = Inventory({"airflow_publisher": ["publisher1"]})


def with_broker(inventory: Inventory, *hosts: str) -> Inventory:
    return Inventory({**inventory.groups, "airflow_broker": hosts}, inventory.addresses)


def endpoints(planned: dict[str, Any]) -> dict[str, Any]:
    """As the services' roles give them."""
    return {
        "database": {
            **planned["database"],
            "scheme": "postgresql+psycopg2",
            "secret": "database",
            "results_secret": "x",
        },
        "broker": planned["broker"],
        "dag_storage": planned["dag_storage"],
        "log_store": planned["log_store"],
    }


def urls(planned: dict[str, Any]) -> dict[str, str]:
    """Celery's address by component."""
    secrets = {secret["name"]: "p/w" for secret in planned["secrets"]} | {"x": "r"}
    return {
        component["name"]: credentials.values(component, endpoints(planned), secrets)["broker_url"]
        for component in components.model(planned, endpoints(planned))
        if "broker_url" in component["credentials"]
    }


def transport(planned: dict[str, Any], kind: str) -> dict[str, str]:
    [component, *_others] = [
        component for component in components.model(planned, endpoints(planned)) if component["kind"] == kind
    ]
    return dict(component["settings"].get("celery_broker_transport_options", {}))


def test_rabbitmq_has_a_user_for_each_pool(variables: Variables, inventory: Inventory) -> None:
    assert urls(made(variables, inventory)) == {
        "scheduler": "amqp://airflow-local:p%2Fw@10.0.0.11:5672/airflow-local",
        "worker-etl": "amqp://airflow-local-etl:p%2Fw@10.0.0.11:5672/airflow-local",
        "worker-ml": "amqp://airflow-local-ml:p%2Fw@10.0.0.11:5672/airflow-local",
    }


def test_three_nodes_of_rabbitmq_are_one_broker(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, with_broker(inventory, "backbone1", "control1", "c.example.com"))
    places = ("10.0.0.11", "10.0.0.13", "c.example.com")
    assert urls(planned)["worker-ml"] == ";".join(
        f"amqp://airflow-local-ml:p%2Fw@{place}:5672/airflow-local" for place in places
    )
    assert planned["broker"]["cluster"] == {
        "nodes": {
            "backbone1": "rabbit@10.0.0.11",
            "control1": "rabbit@10.0.0.13",
            "c.example.com": "rabbit@c.example.com",
        },
        "has_long_names": True,
        "secret": "broker_cookie",
        "copies": 3,
        "ports": [4369, 25672],
    }
    assert "10.0.0.11:5672, 10.0.0.13:5672, c.example.com:5672/airflow-local" in explain.text(planned)
    settings = {
        component["kind"]: component["settings"].get("celery", {}).get("operation_timeout")
        for component in components.model(planned, endpoints(planned))
    }
    assert settings["scheduler"] == "15"
    assert settings["worker"] is None


def test_what_the_nodes_of_a_cluster_need_is_not_asked_of_one_alone(variables: Variables, inventory: Inventory) -> None:
    short = made(variables, with_broker(inventory, "a", "b", "c", "d", "e"))
    assert (short["broker"]["cluster"]["has_long_names"], short["broker"]["cluster"]["copies"]) == (False, 3)
    one = made(variables, inventory)
    assert one["broker"]["cluster"] is None
    cookies = [
        [secret["kind"] for secret in planned["secrets"] if secret["name"] == "broker_cookie"]
        for planned in (short, one)
    ]
    assert cookies == [["password"], []]
    ports = [
        [port["port"] for port in demands.of(host, planned)["ports"]]
        for host, planned in (("e", short), ("backbone1", one), ("control1", short))
    ]
    assert ports == [[5672, 25672], [5432, 5672], [8080, 8974, 8794]]


def test_clients_of_a_broker_with_tls_know_its_certificate(variables: Variables, inventory: Inventory) -> None:
    planned = made({**variables, **TLS}, with_broker(inventory, "a", "b", "c"))
    assert urls(planned)["worker-etl"].startswith("amqps://airflow-local-etl:p%2Fw@a:5671/airflow-local;amqps://")
    key = {"name": "broker_tls_key", "kind": "tls_key", "purpose": "the private key of the broker's certificate"}
    assert key in planned["secrets"]
    given = endpoints(planned)
    given["broker"]["ca"] = "-----BEGIN CERTIFICATE-----\n"
    for component in components.model(planned, given):
        is_client = component["kind"] in ("scheduler", "worker")
        assert component["files"].get(brokers.CA_FILE) == (given["broker"]["ca"] if is_client else None)
        assert ("AIRFLOW__CELERY__SSL_CACERT" in component["environment_files"]) == is_client
        tls = {key: value for key, value in component["settings"].get("celery", {}).items() if key.startswith("ssl")}
        assert tls == ({"ssl_active": "True", "ssl_mutual_tls": "False"} if is_client else {})


def test_clients_of_redis_with_tls_know_its_certificate(variables: Variables, inventory: Inventory) -> None:
    one = made({**variables, **REDIS, **TLS}, inventory)
    assert urls(one)["worker-ml"] == "rediss://airflow-local-ml:p%2Fw@10.0.0.11:6379/0"
    three = made({**variables, **REDIS, **TLS}, with_broker(inventory, "a", "b", "c"))
    assert urls(three)["worker-ml"].startswith("sentinel://airflow-local-ml:p%2Fw@a:26379/0;")
    for planned in (one, three):
        assert planned["broker"]["tls"] == {
            "certificate": "/pki/broker.pem",
            "ca": "/pki/ca.pem",
            "secret": "broker_tls_key",
        }
        assert "broker_tls_key" in {secret["name"] for secret in planned["secrets"]}
        given = endpoints(planned)
        given["broker"]["ca"] = "-----BEGIN CERTIFICATE-----\n"
        [scheduler] = [each for each in components.model(planned, given) if each["kind"] == "scheduler"]
        assert scheduler["files"][brokers.CA_FILE] == given["broker"]["ca"]
        celery = scheduler["settings"]["celery"]
        assert (celery["ssl_active"], celery["ssl_mutual_tls"]) == ("True", "False")
        assert celery["task_publish_max_retries"] == "60"


def test_a_broker_without_tls_needs_no_key(variables: Variables, inventory: Inventory) -> None:
    planned = made(variables, inventory)
    assert planned["broker"]["tls"] is None
    assert "broker_tls_key" not in {secret["name"] for secret in planned["secrets"]}


def test_a_user_may_give_a_publish_more_time(variables: Variables, inventory: Inventory) -> None:
    given = {**variables, "airflow_settings": {"celery": {"operation_timeout": 60}}}
    planned = made(given, with_broker(inventory, "a", "b", "c"))
    [scheduler] = [each for each in components.model(planned, endpoints(planned)) if each["kind"] == "scheduler"]
    assert scheduler["settings"]["celery"]["operation_timeout"] == "60"


def test_one_redis_is_reached_by_itself_and_three_by_their_sentinels(
    variables: Variables, inventory: Inventory
) -> None:
    one = made({**variables, **REDIS}, inventory)
    assert urls(one)["worker-ml"] == "redis://airflow-local-ml:p%2Fw@10.0.0.11:6379/0"
    assert transport(one, "worker") == {"visibility_timeout": "30600"}
    three = made({**variables, **REDIS}, with_broker(inventory, "r1", "r2", "r3"))
    assert urls(three)["scheduler"] == ";".join(
        f"sentinel://airflow-local:p%2Fw@{host}:26379/0" for host in ("r1", "r2", "r3")
    )
    assert transport(three, "scheduler") == {"visibility_timeout": "30600", "master_name": "airflow"}
    assert "airflow, as the Sentinels r1:26379, r2:26379, r3:26379 tell" in explain.text(three)


def test_sqs_is_reached_by_the_addresses_of_its_queues_without_remote_control(
    variables: Variables, inventory: Inventory
) -> None:
    planned = made({**variables, **SQS}, with_broker(inventory))
    assert set(urls(planned).values()) == {"sqs://"}
    options = transport(planned, "worker")
    assert json.loads(options.pop("predefined_queues"))["etl"] == {
        "url": "https://sqs.eu-west-1.amazonaws.com/123456789012/airflow-local-etl"
    }
    assert options == {"region": "eu-west-1", "visibility_timeout": "29400", "wait_time_seconds": "20"}
    settings = {each["name"]: each["settings"] for each in components.model(planned, endpoints(planned))}
    assert settings["scheduler"]["celery"]["operation_timeout"] == "15"
    [worker] = [each for each in components.model(planned, endpoints(planned)) if each["name"] == "worker-etl"]
    assert worker["settings"]["celery"]["worker_enable_remote_control"] == "False"
    assert "--celery-hostname" not in worker["command"]
    assert not [secret for secret in planned["secrets"] if secret["name"].startswith("broker")]


def test_sqs_in_china_is_elsewhere(variables: Variables, inventory: Inventory) -> None:
    planned = made({**variables, **SQS, "airflow_broker_region": "cn-north-1"}, with_broker(inventory))
    assert planned["broker"]["urls"]["ml"] == "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/airflow-local-ml"


@pytest.mark.parametrize(("scheme", "is_secure"), [("https", "True"), ("http", "False")])
def test_sqs_is_asked_at_an_endpoint_of_ones_own(
    variables: Variables, inventory: Inventory, scheme: str, is_secure: str
) -> None:
    endpoint = {"airflow_broker_endpoint_url": f"{scheme}://sqs.internal:4566", "airflow_broker_users": {"etl": "AKIA"}}
    planned = made({**variables, **SQS, **endpoint}, with_broker(inventory))
    assert urls(planned) == {
        "scheduler": "sqs://sqs.internal:4566",
        "worker-etl": "sqs://AKIA:p%2Fw@sqs.internal:4566",
        "worker-ml": "sqs://sqs.internal:4566",
    }
    options = transport(planned, "scheduler")
    assert options["is_secure"] == is_secure
    assert json.loads(options["predefined_queues"])["ml"] == {
        "url": f"{scheme}://sqs.internal:4566/123456789012/airflow-local-ml"
    }


def test_a_worker_knows_the_queues_of_its_own_pool_alone(variables: Variables, inventory: Inventory) -> None:
    planned = made({**variables, **SQS}, with_broker(inventory))
    known = {kind: set(json.loads(transport(planned, kind)["predefined_queues"])) for kind in ("scheduler", "worker")}
    assert known == {"scheduler": {"etl", "etl_highmem", "ml"}, "worker": {"etl", "etl_highmem"}}


def test_sqs_keys_are_given_and_not_made(variables: Variables, inventory: Inventory) -> None:
    users = {"core": "AKIACORE", "etl": "AKIAETL"}
    planned = made({**variables, **SQS, "airflow_broker_users": users}, with_broker(inventory))
    assert urls(planned) == {
        "scheduler": "sqs://AKIACORE:p%2Fw@",
        "worker-etl": "sqs://AKIAETL:p%2Fw@",
        "worker-ml": "sqs://AKIACORE:p%2Fw@",
    }
    kinds = {secret["name"]: secret["kind"] for secret in planned["secrets"] if secret["name"].startswith("broker")}
    assert kinds == {"broker": "given", "broker_etl": "given"}


def test_a_broker_from_elsewhere_has_the_users_that_are_named(variables: Variables, inventory: Inventory) -> None:
    planned = made({**variables, **EXTERNAL, "airflow_broker_users": {"ml": "team.ml"}}, with_broker(inventory))
    assert urls(planned) == {
        "scheduler": "amqps://airflow:p%2Fw@broker.example.com:5671/prod",
        "worker-etl": "amqps://airflow:p%2Fw@broker.example.com:5671/prod",
        "worker-ml": "amqps://team.ml:p%2Fw@broker.example.com:5671/prod",
    }
    for component in components.model(planned, endpoints(planned)):
        is_client = component["kind"] in ("scheduler", "worker")
        assert component["settings"].get("celery", {}).get("ssl_active") == ("True" if is_client else None)
    url = "rediss://broker.example.com:6380/2"
    redis = made({**variables, **EXTERNAL, "airflow_broker_url": url}, with_broker(inventory))
    assert (redis["broker"]["kind"], redis["broker"]["vhost"], redis["broker"]["port"]) == ("redis", "2", 6380)
    assert transport(redis, "worker") == {"visibility_timeout": "30600"}


@pytest.mark.parametrize(
    ("given", "hosts", "variable", "right"),
    [
        (REDIS, ["a", "b"], "groups['airflow_broker']", "1 or 3 hosts, which run redis"),
        (SQS, ["a"], "groups['airflow_broker']", "no host: sqs is provided elsewhere"),
        ({**SQS, "airflow_broker_account": None}, [], "airflow_broker_account", "the 12 digits"),
        ({**EXTERNAL, "airflow_broker_url": None}, [], "airflow_broker_url", "the address of the broker"),
        ({**EXTERNAL, "airflow_broker_url": "amqp://u:secret@b/x"}, [], "airflow_broker_url", "without a password"),
        ({"airflow_broker_url": "amqp://b"}, ["a"], "airflow_broker_url", "left out"),
        ({"airflow_broker_users": {"etk": "x"}}, ["a"], "airflow_broker_users.etk", "core, etl, ml"),
        ({**SQS, "airflow_longest_task": "12h"}, [], "airflow_longest_task", "11h50m at most"),
        ({}, [], "groups['airflow_broker']", "1 or 3 or 5 hosts, which run rabbitmq"),
        ({}, ["a", "b"], "groups['airflow_broker']", "1 or 3 or 5 hosts"),
        ({**TLS, "airflow_broker_tls_ca": None}, ["a"], "airflow_broker_tls_ca", "the file of the authority's"),
        ({**TLS, "airflow_broker_tls_certificate": None}, ["a"], "airflow_broker_tls_certificate", "all of their addr"),
        ({**SQS, **TLS}, [], "airflow_broker_tls", "left out: the platform's own rabbitmq or redis"),
        (
            {**TLS, "airflow_settings": {"celery": {"ssl_key": "/k"}}},
            ["a"],
            "airflow_settings.celery.ssl_key",
            "airflow_broker_tls decides it",
        ),
        ({}, ["a", "b.example.com", "c"], "hostvars['b.example.com'].airflow_address", "a name without a domain"),
        ({}, ["backbone1", "b", "c.d"], "hostvars['b'].airflow_address", "an address or a name with a domain"),
        ({}, ["backbone1", "c.d", "10.0.0.11"], "hostvars['10.0.0.11'].airflow_address", "an address of its own"),
        (COOKIE_POOL, ["a", "b", "c"], "airflow_worker_pools[1].name", "airflow_secret_broker_cookie is the cookie"),
    ],
)
def test_what_a_broker_cannot_be_is_refused(
    variables: Variables, inventory: Inventory, given: Variables, hosts: list[str], variable: str, right: str
) -> None:
    problems = refused({**variables, **given}, with_broker(inventory, *hosts))
    assert right in problems[variable], problems


@given(st.integers(1, 400 * 86400), st.sampled_from(sorted(timeouts.PATIENCE)))
def test_every_timeout_outlasts_the_one_before_or_the_task_is_refused(longest: int, kind: str) -> None:
    solved = timeouts.solve(longest, kind)
    seconds = [solved[name]["seconds"] for name in ("worker_stop", timeouts.PATIENCE[kind].name, "task_queued")]
    assert longest < seconds[0] < seconds[1] < seconds[2]
    is_over = any(each["most"] and each["seconds"] > each["most"] for each in solved.values())
    assert is_over == bool(timeouts.problems(longest, kind))
    if is_over:
        assert kind == "sqs"
        assert longest > 11 * 3600


def test_the_longest_task_that_sqs_takes_is_the_one_that_is_named() -> None:
    most = 11 * 3600 + 50 * 60
    assert timeouts.problems(most, "sqs") == []
    assert "11h50m at most" in timeouts.problems(most + 1, "sqs")[0].right


def test_each_provider_gives_what_all_give(variables: Variables, inventory: Inventory) -> None:
    given_hosts = {"rabbitmq": ["b"], "redis": ["b"]}
    variants = {"rabbitmq": {}, "redis": REDIS, "sqs": SQS, "external": EXTERNAL, "kubernetes": IN_CLUSTER}
    assert set(variants) == set(brokers.PROVIDERS)
    for name, extra in variants.items():
        place = CLUSTER if name == "kubernetes" else with_broker(inventory, *given_hosts.get(name, []))
        broker = made({**variables, **extra}, place)["broker"]
        assert {"provider", "kind", "scheme", "nodes", "service", "user", "secret", "queues", "pools"} <= set(broker)
        assert json.loads(json.dumps(broker)) == broker


def test_a_cluster_has_a_database_and_a_broker_of_its_own(variables: Variables) -> None:
    planned = made({**variables, **IN_CLUSTER}, CLUSTER)
    assert urls(planned)["worker-ml"] == "amqp://airflow-local-ml:p%2Fw@broker:5672/airflow-local"
    database = planned["database"]
    assert (database["host"], database["port"], database["service"]) == ("database", 5432, "database")
    assert database["clients"] == [
        {"name": "pods", "address": "all", "users": ["airflow_local", "airflow_local_results"]}
    ]
    kinds = {secret["name"]: secret["kind"] for secret in planned["secrets"]}
    assert [kinds[name] for name in ("database", "broker", "broker_etl", "broker_ml")] == ["password"] * 4
    # A host of that name is another one.
    publisher = Inventory({"airflow_publisher": ["publisher1"]}, {"publisher1": "database"})
    assert demands.of("publisher1", made({**variables, **IN_CLUSTER}, publisher))["ports"] == []
    assert "broker:5672/airflow-local" in explain.text(planned)


@pytest.mark.parametrize(
    ("given", "groups", "variable", "right"),
    [
        ({"airflow_platform": "systemd"}, {}, "airflow_database_provider", "there is no cluster"),
        ({"airflow_platform": "systemd"}, {}, "airflow_broker_provider", "there is no cluster"),
        ({}, {"airflow_database": ["a"]}, "groups['airflow_database']", "no host: the cluster provides it"),
        ({}, {"airflow_broker": ["a"]}, "groups['airflow_broker']", "no host: the cluster provides it"),
        ({**TLS}, {}, "airflow_broker_tls", "left out: the platform's own rabbitmq or redis"),
        ({"airflow_broker_url": "amqp://b"}, {}, "airflow_broker_url", "left out"),
        ({"airflow_dag_storage_provider": "directory"}, {}, "airflow_broker_provider", "no host reaches it"),
    ],
)
def test_what_a_cluster_does_not_provide_is_refused(
    variables: Variables, given: Variables, groups: dict[str, list[str]], variable: str, right: str
) -> None:
    place = Inventory({**CLUSTER.groups, **groups})
    assert right in refused({**variables, **IN_CLUSTER, **given}, place)[variable]
