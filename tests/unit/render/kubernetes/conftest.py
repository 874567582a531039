# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Platforms as manifests: each a description, and what its cluster is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    components,
    credentials,
    dns,
    placement,
    plan,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import manifests
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    PUBLISHER,
    Cluster,
    ExistingClaim,
    ExistingSecrets,
    ExternalSecrets,
    Gateway,
    Ingress,
    MadeSecrets,
    NewClaim,
    Nodes,
    Outlet,
    Peer,
    Platform,
    Route,
    Scaling,
    Target,
    Toleration,
)

IMAGE = "registry.example.com/data/airflow@sha256:" + "0123456789abcdef" * 4
ADDRESSES = {"backbone1": "10.0.0.11", "objects1": "10.0.0.12"}
GROUPS = {
    "airflow_database": ["backbone1"],
    "airflow_broker": ["backbone1"],
    "airflow_object_store": ["objects1"],
    "airflow_publisher": ["publisher1"],
}
AUTHORITY = "-----BEGIN CERTIFICATE-----\nof the broker\n-----END CERTIFICATE-----\n"
KEY = "a-key-that-nobody-knows"


@dataclass(frozen=True)
class Rendered:
    """A platform: its plan, its components and their secret values, what they are rendered for, and the result."""

    plan: dict[str, Any]
    components: list[dict[str, Any]]
    values: dict[str, dict[str, str]]
    target: Target
    steps: list[manifests.Step]

    @property
    def manifests(self) -> list[dict[str, Any]]:
        return [manifest for step in self.steps for manifest in step.manifests]

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pod templates by component, and that of the publisher."""
        workloads = self.of_kind("Deployment", "StatefulSet", "Job")
        by_label = {dns.label(each["name"]): each["name"] for each in (*self.components, PUBLISHER)}
        return {
            by_label[workload["metadata"]["labels"]["airstack.backbone/component"]]: workload["spec"]["template"]
            for workload in workloads
        }


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """What a container is given for a word of its command (kubernetes/third_party/forked/golang/expansion)."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replaced, text)


def endpoints_of(planned: dict[str, Any]) -> dict[str, Any]:
    """What the roles of the services say of them."""
    database = {key: planned["database"][key] for key in ("host", "port", "name", "service", "user", "results_user")}
    authority = {"ca": AUTHORITY} if planned["broker"].get("tls") else {}
    return {
        "database": {
            **database,
            "secret": "database",
            "results_secret": "database_results",
            "scheme": "postgresql+psycopg2",
        },
        "broker": {**planned["broker"], **authority},
        "dag_storage": planned["dag_storage"],
        "log_store": planned["log_store"],
    }


def render(
    variables: dict[str, Any], groups: dict[str, list[str]], cluster: Callable[[Any, dict[str, Any]], Cluster]
) -> Rendered:
    """The platform of a description. cluster: out of the components and their secret values."""
    inventory = Inventory({**GROUPS, **groups}, ADDRESSES)
    told = {
        **variables,
        "airflow_platform": "kubernetes",
        "airflow_api_url": "https://airflow.example.com",
        "airflow_cluster_networks": ["10.244.0.0/16"],
    }
    planned, problems = plan.make(told, inventory, tuple(placement.PLATFORMS))
    assert planned is not None, problems
    return render_plan(planned, endpoints_of(planned), cluster)


def render_plan(
    planned: dict[str, Any], endpoints: dict[str, Any], cluster: Callable[[Any, dict[str, Any]], Cluster]
) -> Rendered:
    """A platform that is planned already."""
    model = components.model(planned, endpoints)
    given = {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]}
    values = {component["name"]: credentials.values(component, endpoints, given) for component in model}
    target = Target(Platform.of(planned, endpoints), cluster(model, values))
    return Rendered(planned, model, values, target, manifests.steps(model, target.platform, target.cluster))


def small(_components: Any, values: dict[str, dict[str, str]]) -> Cluster:
    """A cluster that is told the least."""
    return Cluster(
        namespace="airflow-local",
        image=IMAGE,
        secrets=MadeSecrets(values, KEY),
        dags=NewClaim("dags", "10Gi", volume="airflow-local-dags"),
        entrance=Ingress("airflow.example.com", "airflow-tls", ingress_class="nginx"),
    )


def full(_components: Any, _values: dict[str, dict[str, str]]) -> Cluster:
    """A cluster that is told nearly everything."""
    return Cluster(
        namespace="airflow-local",
        creates_namespace=True,
        image=IMAGE,
        secrets=ExternalSecrets("vault", "ClusterSecretStore", "airflow/local/"),
        dags=NewClaim(
            "dags", "10Gi", storage_class="efs", access_mode="ReadWriteMany", path="/airflow/", groups=[3000]
        ),
        pull_secrets=["registry"],
        user=0,
        entrance=Gateway(
            "airflow.example.com", "envoy", "airflow-tls", [Peer(namespace={"kubernetes.io/metadata.name": "gateways"})]
        ),
        scaling={
            "api-server": Scaling(2, 6, cpu=70),
            "worker-etl": Scaling(0, 8),
            "worker-ml": Scaling(1, 4),
        },
        has_keda=True,
        nodes={
            "worker": Nodes({"example.com/purpose": "airflow"}),
            "worker-ml": Nodes(
                {"example.com/accelerator": "gpu"},
                [
                    Toleration("example.com/gpu", "Exists", effect="NoSchedule"),
                    Toleration("example.com/spot", value="true", effect="NoExecute", seconds=120),
                ],
            ),
        },
        priority_classes={"scheduler": "airflow-control", "worker-ml": "airflow-batch"},
        annotations={"worker-etl": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/etl"}},
        reach={"log_store": [Peer(cidr="10.0.0.0/24")]},
        outlets={
            "worker-etl": [Outlet([Peer(cidr="192.0.2.0/24")], [443, 5432])],
            "worker-ml": [Outlet()],
            "triggerer": [Outlet([Peer(cidr="192.0.2.0/24")])],
        },
    )


def with_roles(components: Any, _values: dict[str, dict[str, str]]) -> Cluster:
    """A cluster that has everything already, and whose workers have roles of a cloud."""
    return Cluster(
        namespace="airflow-local",
        image=IMAGE,
        secrets=ExistingSecrets({each["name"]: f"airflow-{each['kind']}-login" for each in components}),
        dags=ExistingClaim("team-dags"),
        entrance=Route("airflow.example.com", "shared", "gateways"),
        scaling={"worker-etl": Scaling(1, 4), "triggerer": Scaling(1, 3)},
        has_keda=True,
    )


def with_publisher(_components: Any, values: dict[str, dict[str, str]]) -> Cluster:
    """A cluster where DAGs are published from a pod."""
    return Cluster(
        namespace="airflow-local",
        image=IMAGE,
        secrets=MadeSecrets(values, KEY),
        dags=NewClaim(
            "dags", "10Gi", storage_class="standard", access_mode="ReadWriteMany", path="airflow", groups=[3000]
        ),
        pull_secrets=["registry"],
        entrance=Ingress("airflow.example.com", "airflow-tls"),
        outlets={"publisher": [Outlet([Peer(cidr="192.0.2.0/24")], [22])]},
    )


RABBITMQ_TLS = {
    "airflow_broker_tls": True,
    "airflow_broker_tls_certificate": "/pki/broker.pem",
    "airflow_broker_tls_ca": "/pki/ca.pem",
}
RABBITS = ["rabbit1.example.com", "rabbit2.example.com", "rabbit3.example.com"]
SQS = {
    "airflow_broker_provider": "sqs",
    "airflow_broker_account": "123456789012",
    "airflow_log_store_region": "eu-west-1",
}


def _small(variables: dict[str, Any]) -> Rendered:
    etl, ml = variables["airflow_worker_pools"]
    return render({**variables, "airflow_worker_pools": [{**etl, "replicas": 3}, ml]}, {}, small)


def _full(variables: dict[str, Any]) -> Rendered:
    etl, ml = variables["airflow_worker_pools"]
    teams = {
        "airflow_multi_team": True,
        "airflow_worker_pools": [etl, {**ml, "team": "machines"}],
        "airflow_team_users": [{"name": "alice", "role": "op", "teams": ["etl"]}],
        "airflow_resources": {"worker": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}},
    }
    return render({**variables, **teams, **RABBITMQ_TLS}, {"airflow_broker": RABBITS}, full)


def _with_roles(variables: dict[str, Any]) -> Rendered:
    return render({**variables, **SQS}, {"airflow_broker": [], "airflow_object_store": []}, with_roles)


def _with_publisher(variables: dict[str, Any]) -> Rendered:
    return render({**variables, "airflow_dag_storage_provider": "persistent_volume"}, {}, with_publisher)


def _development(variables: dict[str, Any]) -> Rendered:
    inside = {f"airflow_{service}_provider": "kubernetes" for service in ("database", "broker", "object_store")}
    told = {**variables, **inside, "airflow_dag_storage_provider": "persistent_volume"}
    return render(told, {"airflow_database": [], "airflow_broker": [], "airflow_object_store": []}, with_publisher)


PLATFORMS: dict[str, Callable[[dict[str, Any]], Rendered]] = {
    "small": _small,
    "full": _full,
    "roles": _with_roles,
    "publisher": _with_publisher,
    "development": _development,
}


@pytest.fixture(name="rendered", params=PLATFORMS)
def rendered_platform(request: pytest.FixtureRequest, variables: dict[str, Any]) -> Rendered:
    """Each of the platforms."""
    return PLATFORMS[request.param](variables)
