# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What scales a component, and what KEDA is told of each kind of broker."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    Cluster,
    MadeSecrets,
    Scaling,
)
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    AUTHORITY,
    KEY,
    PLATFORMS,
    RABBITMQ_TLS,
    RABBITS,
    SQS,
    Rendered,
    render,
    small,
)
from ansible_collections.airstack.backbone.tests.unit.services import redis_servers

REDIS = {
    "airflow_broker_provider": "external",
    "airflow_broker_url": "rediss://airflow@redis.example.com:6380/3",
    "airflow_broker_users": {"etl": "airflow-etl", "ml": "airflow-ml"},
}


def with_keda(components: Any, values: dict[str, dict[str, str]]) -> Cluster:
    return replace(
        small(components, values), has_keda=True, scaling={"worker-etl": Scaling(0, 5), "scheduler": Scaling(1, 2)}
    )


def scaled(rendered: Rendered) -> tuple[list[tuple[str, dict[str, str]]], dict[str, str]]:
    """The triggers of the pool etl, and what they log in with."""
    (scaled_object,) = rendered.of_kind("ScaledObject")
    (trust,) = rendered.of_kind("TriggerAuthentication")
    secrets = {each["metadata"]["name"]: each["data"] for each in rendered.of_kind("Secret")}
    login = {
        reference["parameter"]: base64.b64decode(secrets[reference["name"]][reference["key"]]).decode()
        for reference in trust["spec"].get("secretTargetRef", [])
    }
    names = {trigger["authenticationRef"]["name"] for trigger in scaled_object["spec"]["triggers"]}
    assert names == {trust["metadata"]["name"]}
    return [(trigger["type"], trigger["metadata"]) for trigger in scaled_object["spec"]["triggers"]], login


USER, PASSWORD = "airflow-local-etl", "value-of-broker_etl"
RABBITMQ_QUEUE = ("rabbitmq", {"protocol": "amqp", "queueName": "{queue}", "mode": "QueueLength", "value": "4"})
SQS_USERS = {
    "airflow_broker_users": {"core": "AKIACORE", "etl": "AKIAETL"},
    "airflow_broker_endpoint_url": "http://sqs:9324",
}

BROKERS: dict[str, tuple[dict[str, Any], list[str], tuple[str, dict[str, str]], dict[str, str]]] = {
    "rabbitmq": (
        {},
        ["backbone1"],
        RABBITMQ_QUEUE,
        {"host": f"amqp://{USER}:{PASSWORD}@10.0.0.11:5672/airflow-local"},
    ),
    "rabbitmq-cluster-tls": (
        RABBITMQ_TLS,
        RABBITS,
        RABBITMQ_QUEUE,
        {"host": f"amqps://{USER}:{PASSWORD}@rabbit1.example.com:5671/airflow-local", "tls": "enable", "ca": AUTHORITY},
    ),
    "redis": (
        REDIS,
        [],
        (
            "redis",
            {
                "address": "redis.example.com:6380",
                "listName": "{queue}",
                "listLength": "4",
                "databaseIndex": "3",
                "enableTLS": "true",
            },
        ),
        {"username": "airflow-etl", "password": PASSWORD},
    ),
    "sqs": (
        {**SQS, **SQS_USERS},
        [],
        (
            "aws-sqs-queue",
            {
                "queueURL": "http://sqs:9324/123456789012/airflow-local-{queue}",
                "queueLength": "4",
                "awsRegion": "us-east-1",
                "awsEndpoint": "http://sqs:9324",
            },
        ),
        {"awsAccessKeyID": "AKIAETL", "awsSecretAccessKey": PASSWORD},
    ),
}
"""A description, the broker's hosts, the trigger of a queue, and what it logs in with."""


@pytest.mark.parametrize("name", BROKERS)
def test_a_pool_follows_each_of_its_queues_with_its_own_login(variables: dict[str, Any], name: str) -> None:
    described, nodes, (kind, metadata), login = BROKERS[name]
    triggers = [
        (kind, {key: value.replace("{queue}", queue) for key, value in metadata.items()})
        for queue in ("etl", "etl_highmem")
    ]
    assert scaled(render({**variables, **described}, {"airflow_broker": nodes}, with_keda)) == (triggers, login)


def test_where_workers_have_a_role_their_scaler_has_it_too(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["roles"](variables)
    (trust,) = rendered.of_kind("TriggerAuthentication")
    assert trust["spec"] == {"podIdentity": {"provider": "aws", "identityOwner": "workload"}}


def test_only_workers_follow_queues(variables: dict[str, Any]) -> None:
    rendered = render(variables, {}, with_keda)
    (scaled_object,) = rendered.of_kind("ScaledObject")
    (autoscaler,) = rendered.of_kind("HorizontalPodAutoscaler")
    assert scaled_object["spec"]["scaleTargetRef"]["name"] == "worker-etl"
    assert autoscaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scheduler"}


def test_without_keda_workers_follow_their_processors(variables: dict[str, Any]) -> None:
    def cluster(components: Any, values: dict[str, dict[str, str]]) -> Cluster:
        return replace(small(components, values), scaling={"worker-etl": Scaling(2, 5, cpu=60)})

    rendered = render(variables, {}, cluster)
    (autoscaler,) = rendered.of_kind("HorizontalPodAutoscaler")
    spec = autoscaler["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert spec["metrics"][0]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 60},
    }
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 3600


def test_what_is_scaled_is_there_under_that_name_and_has_no_number_of_its_own(rendered: Rendered) -> None:
    workloads = {
        (each["kind"], each["metadata"]["name"]): each for each in rendered.of_kind("Deployment", "StatefulSet")
    }
    targets = [each["spec"]["scaleTargetRef"] for each in rendered.of_kind("ScaledObject", "HorizontalPodAutoscaler")]
    assert len(targets) == len(rendered.target.cluster.scaling)
    for target in targets:
        assert "replicas" not in workloads[target["kind"], target["name"]]["spec"]


def test_a_scalers_login_is_no_one_elses(variables: dict[str, Any]) -> None:
    rendered = render(variables, {}, with_keda)
    mounted = {
        volume["secret"]["secretName"]
        for pod in rendered.pods().values()
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    made = {each["metadata"]["name"] for each in rendered.of_kind("Secret")}
    (own,) = made - mounted
    assert own.startswith("scaler-worker-etl-")
    assert isinstance(rendered.target.cluster.secrets, MadeSecrets)
    assert rendered.target.cluster.secrets.key == KEY


@needs.redis
def test_what_keda_asks_is_refused_by_the_platforms_own_redis(tmp_path: Path) -> None:
    """That is why it is refused before (problems.of): a script over the length and the type of a list."""
    client = pytest.importorskip("redis", reason="the Python client of Redis is not installed here")
    script = "return {redis.call('type', KEYS[1]), redis.call('llen', KEYS[1])}"
    with redis_servers.one(tmp_path) as servers:
        pool = redis_servers.client(servers.planned, "etl")
        assert pool.llen("etl") == 0
        with pytest.raises(client.ResponseError, match="permission"):
            pool.eval(script, 1, "etl")
