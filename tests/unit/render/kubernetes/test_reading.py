# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a cluster is told, as an inventory has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import reading, storage
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    Cluster,
    ExistingClaim,
    MadeSecrets,
    NewClaim,
    Target,
)
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    IMAGE,
    KEY,
    PLATFORMS,
    full,
    small,
    with_roles,
)

VALUES = MadeSecrets({"scheduler": {"fernet_key": "x"}}, KEY)
KINDS = ("api-server", "setup")
COMPONENTS = [{"name": kind, "kind": kind} for kind in KINDS]
LEAST: dict[str, Any] = {"namespace": "airflow-local", "image": IMAGE, "dags": {"existing": {"name": "dags"}}}

SMALL = {
    **LEAST,
    "dags": {"new": {"name": "dags", "size": "10Gi", "volume": "airflow-local-dags"}},
    "entrance": {"ingress": {"host": "airflow.example.com", "tls_secret": "airflow-tls", "ingress_class": "nginx"}},
    "secrets": {"made": None},
}
FULL = {
    "namespace": "airflow-local",
    "creates_namespace": "true",
    "image": IMAGE,
    "secrets": {"external": {"store": "vault", "kind": "ClusterSecretStore", "prefix": "airflow/local/"}},
    "dags": {
        "new": {
            "name": "dags",
            "size": "10Gi",
            "storage_class": "efs",
            "access_mode": "ReadWriteMany",
            "path": "/airflow/",
            "groups": [3000],
        }
    },
    "pull_secrets": ["registry"],
    "user": 0,
    "entrance": {
        "gateway": {
            "host": "airflow.example.com",
            "gateway_class": "envoy",
            "tls_secret": "airflow-tls",
            "peers": [{"namespace": {"kubernetes.io/metadata.name": "gateways"}}],
        }
    },
    "scaling": {
        "api-server": {"least": 2, "most": "6", "cpu": 70},
        "worker-etl": {"least": 0, "most": 8},
        "worker-ml": {"least": 1, "most": 4},
    },
    "has_keda": True,
    "nodes": {
        "worker": {"selector": {"example.com/purpose": "airflow"}},
        "worker-ml": {
            "selector": {"example.com/accelerator": "gpu"},
            "tolerations": [
                {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
                {"key": "example.com/spot", "value": "true", "effect": "NoExecute", "seconds": "120"},
            ],
        },
    },
    "priority_classes": {"scheduler": "airflow-control", "worker-ml": "airflow-batch"},
    "annotations": {"worker-etl": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/etl"}},
    "reach": {"log_store": [{"cidr": "10.0.0.0/24"}]},
    "outlets": {
        "worker-etl": [{"peers": [{"cidr": "192.0.2.0/24"}], "ports": [443, 5432]}],
        "worker-ml": [{}],
        "triggerer": [{"peers": [{"cidr": "192.0.2.0/24"}]}],
    },
}
ROLES = {
    **LEAST,
    "secrets": {"existing": {"names": {kind: f"airflow-{kind}-login" for kind in KINDS}}},
    "dags": {"existing": {"name": "team-dags"}},
    "entrance": {"route": {"host": "airflow.example.com", "gateway": "shared", "namespace": "gateways"}},
    "scaling": {"worker-etl": {"least": 1, "most": 4}, "triggerer": {"least": 1, "most": 3}},
    "has_keda": "yes",
}


def plain(value: Any) -> Any:
    """Records and lists as what they hold, whatever the kind of sequence."""
    if hasattr(value, "__dataclass_fields__"):
        return type(value).__name__, {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(("told", "cluster"), [(SMALL, small), (FULL, full), (ROLES, with_roles)])
def test_a_cluster_is_what_the_inventory_says(told: dict[str, Any], cluster: Callable[..., Cluster]) -> None:
    found, problems = reading.read(told, "kubernetes", VALUES)
    assert problems == []
    assert plain(found) == plain(cluster(COMPONENTS, VALUES.values))


def test_little_has_to_be_said() -> None:
    found, problems = reading.read(LEAST, "kubernetes", VALUES)
    assert (found, problems) == (Cluster("airflow-local", IMAGE, VALUES, ExistingClaim("dags")), [])


def test_all_can_be_said() -> None:
    assert {*reading.ENTRIES, "secrets"} == {field.name for field in fields(Cluster)}


NAME = "a name of lower-case letters, digits, hyphens and dots"
WRONG: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": (
        {"namespace": None, "image": None, "dags": None},
        {
            "namespace": "a name of lower-case letters, digits and hyphens, up to 63 characters",
            "image": "a text on one line",
            "dags": "a dictionary with one of the keys existing, new",
        },
    ),
    "a slip of the pen": ({"namespaces": "x"}, {"namespaces": "left out (did you mean namespace?)"}),
    "two kinds": (
        {"dags": {"existing": {"name": "x"}, "new": {"name": "x", "size": "1Gi"}}},
        {"dags": "a dictionary with one of the keys existing, new"},
    ),
    "no certificate": (
        {"entrance": {"ingress": {"host": "airflow.example.com"}}},
        {"entrance.ingress.tls_secret": NAME},
    ),
    "a quantity": (
        {"dags": {"new": {"name": "dags", "size": "4 GB"}}},
        {"dags.new.size": "a quantity in quotes, such as 500m, 2 or 4Gi"},
    ),
    "a network": (
        {"reach": {"database": [{"cidr": "10.0.0.1"}]}},
        {"reach.database[0].cidr": "a network's address, such as 10.0.0.0/24"},
    ),
    "a label": (
        {"nodes": {"worker": {"selector": {"accelerator": True, "of/two/parts": "x"}}}},
        {
            "nodes.worker.selector.accelerator": "a label's or a taint's value in quotes, up to 63 letters, digits, . _ and -",
            "a key of kubernetes.nodes.worker.selector": "a label's or a taint's key, such as example.com/accelerator",
        },
    ),
    "a taint": (
        {"nodes": {"worker": {"tolerations": [{"key": "gpu", "operator": "Is", "effect": "NoRun"}]}}},
        {
            "nodes.worker.tolerations[0].operator": "Equal, to a value, or Exists, with any",
            "nodes.worker.tolerations[0].effect": "NoSchedule, PreferNoSchedule or NoExecute",
        },
    ),
    "a store": (
        {"secrets": {"external": {"store": "vault", "kind": "Vault"}}},
        {"secrets.external.kind": "SecretStore or ClusterSecretStore"},
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_place(case: str) -> None:
    told, right = WRONG[case]
    found, problems = reading.read({**LEAST, **told}, "kubernetes", VALUES)
    assert found is None
    assert {problem.variable.removeprefix("kubernetes."): problem.right for problem in problems} == right


@pytest.mark.parametrize(
    ("told", "storage_class"),
    [({}, None), ({"storage_class": ""}, ""), ({"storage_class": "efs"}, "efs"), ({"volume": "v"}, "")],
)
def test_a_claim_for_a_volume_is_of_no_class_and_another_one_of_the_default(
    variables: dict[str, Any], told: dict[str, str], storage_class: str | None
) -> None:
    found, _problems = reading.read({**LEAST, "dags": {"new": {"name": "dags", "size": "1Gi", **told}}}, "k", VALUES)
    assert found is not None
    assert isinstance(found.dags, NewClaim)
    (claim,) = storage.claim(Target(PLATFORMS["small"](variables).target.platform, found))
    assert claim["spec"].get("storageClassName") == storage_class
