# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the number of a component's pods follows what there is to do: by their processors, or a worker's by its queues (KEDA).

Of RabbitMQ and Redis, KEDA sees the tasks that wait and not those that run, so a worker may be told to stop while it is
busy. It then finishes its tasks and takes no other, and a StatefulSet gives its name to nobody until it has ended. So
workers become fewer late, and one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from . import naming, secrets, workloads
from .cluster import Component, Manifest, Scaling, Target
from .secrets import Holder, Values

KEDA_API = "keda.sh/v1alpha1"

PATIENCE = 3600
"""Seconds for which a higher number counts before workers become fewer; the most that Kubernetes takes."""

FEWER = {
    "stabilizationWindowSeconds": PATIENCE,
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
}

SCALER = "scaler-"
"""What is before a component's name where a Secret is for its scaler."""


def manifests(component: Component, target: Target) -> list[Manifest]:
    """What scales a component; nothing where its number is told."""
    scaling = target.cluster.scaling.get(component["name"])
    if scaling is None:
        return []
    return (_keda if follows_queues(component, target) else _autoscaler)(component, scaling, target)


def follows_queues(component: Component, target: Target) -> bool:
    """Whether KEDA scales a component."""
    return target.cluster.has_keda and bool(component["queues"]) and component["name"] in target.cluster.scaling


def holders(component: Component, target: Target) -> list[Holder]:
    """What a component's scaler reads its queues with: the rights of the pool's own broker user."""
    if not follows_queues(component, target):
        return []
    kind = target.platform.endpoints["broker"]["kind"]
    keys, values = _CREDENTIALS[kind](target)
    return [Holder(f"{SCALER}{component['name']}", component, keys, values)] if keys else []


def _scaled(component: Component) -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": workloads.kind_of(component), "name": naming.of(component)}


def _autoscaler(component: Component, scaling: Scaling, target: Target) -> list[Manifest]:
    behavior = {"behavior": {"scaleDown": FEWER}} if component["kind"] == "worker" else {}
    spec = {
        "scaleTargetRef": _scaled(component),
        "minReplicas": scaling.least,
        "maxReplicas": scaling.most,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": scaling.cpu}},
            }
        ],
        **behavior,
    }
    called = naming.of(component)
    return [naming.manifest("autoscaling/v2", "HorizontalPodAutoscaler", called, target, component, spec=spec)]


def _keda(component: Component, scaling: Scaling, target: Target) -> list[Manifest]:
    called = naming.of(component)
    kind = target.platform.endpoints["broker"]["kind"]
    login = {
        "secretTargetRef": [
            {"parameter": key, "name": secrets.name(holder, target), "key": key}
            for holder in holders(component, target)
            for key in holder.keys
        ]
    }
    # Without keys the workers' own role serves, which their service account is annotated with.
    identity = {"podIdentity": {"provider": "aws", "identityOwner": "workload"}}
    concurrency = target.platform.concurrency[component["pool"]]
    spec = {
        "scaleTargetRef": _scaled(component),
        "minReplicaCount": scaling.least,
        "maxReplicaCount": scaling.most,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": FEWER}}},
        "triggers": [
            {**_TRIGGERS[kind](queue, str(concurrency), target), "authenticationRef": {"name": called}}
            for queue in component["queues"]
        ],
    }
    trust = login if login["secretTargetRef"] else identity
    return [
        naming.manifest(KEDA_API, "TriggerAuthentication", called, target, component, spec=trust),
        naming.manifest(KEDA_API, "ScaledObject", called, target, component, spec=spec),
    ]


def _rabbitmq(queue: str, length: str, _target: Target) -> dict[str, Any]:
    metadata = {"protocol": "amqp", "queueName": queue, "mode": "QueueLength", "value": length}
    return {"type": "rabbitmq", "metadata": metadata}


def _redis(queue: str, length: str, target: Target) -> dict[str, Any]:
    broker = target.platform.endpoints["broker"]
    tls = {"enableTLS": "true"} if _has_tls(broker) and not _has_own_authority(target) else {}
    metadata = {
        "address": f"{broker['host']}:{broker['port']}",
        "listName": queue,
        "listLength": length,
        "databaseIndex": broker["vhost"],
        **tls,
    }
    return {"type": "redis", "metadata": metadata}


def _sqs(queue: str, length: str, target: Target) -> dict[str, Any]:
    broker = target.platform.endpoints["broker"]
    endpoint = {"awsEndpoint": broker["endpoint_url"]} if broker["endpoint_url"] else {}
    metadata = {"queueURL": broker["urls"][queue], "queueLength": length, "awsRegion": broker["region"], **endpoint}
    return {"type": "aws-sqs-queue", "metadata": metadata}


_TRIGGERS: dict[str, Callable[[str, str, Target], dict[str, Any]]] = {"amqp": _rabbitmq, "redis": _redis, "sqs": _sqs}
"""The trigger of a queue, from which a pod is wanted for each so many tasks that wait, by the kind of broker."""


def _has_tls(broker: Mapping[str, Any]) -> bool:
    return broker["scheme"] in ("amqps", "rediss") or bool(broker.get("tls"))


def _has_own_authority(target: Target) -> bool:
    return bool(target.platform.endpoints["broker"].get("ca"))


def _tls(target: Target) -> dict[str, str]:
    """How the broker's certificate is known, where no common authority has signed it."""
    broker = target.platform.endpoints["broker"]
    return {"tls": "enable", "ca": broker["ca"]} if _has_own_authority(target) else {}


def _of_rabbitmq(target: Target) -> tuple[list[str], Callable[[Values], Values]]:
    """One node of several will do: each knows all queues."""
    broker = target.platform.endpoints["broker"]
    tls = _tls(target) or ({"tls": "enable"} if _has_tls(broker) else {})
    return ["host", *tls], lambda values: {"host": values["broker_url"].split(";")[0], **tls}


def _of_redis(target: Target) -> tuple[list[str], Callable[[Values], Values]]:
    tls = _tls(target)

    def values(given: Values) -> Values:
        user, password = _login(given["broker_url"])
        return {"username": user, "password": password, **tls}

    return ["username", "password", *tls], values


def _of_sqs(target: Target) -> tuple[list[str], Callable[[Values], Values]]:
    if not target.platform.endpoints["broker"]["user"]:
        return [], lambda _values: {}

    def values(given: Values) -> Values:
        user, password = _login(given["broker_url"])
        return {"awsAccessKeyID": user, "awsSecretAccessKey": password}

    return ["awsAccessKeyID", "awsSecretAccessKey"], values


def _login(url: str) -> tuple[str, str]:
    parts = urlsplit(url.split(";", maxsplit=1)[0])
    return unquote(parts.username or ""), unquote(parts.password or "")


_CREDENTIALS: dict[str, Callable[[Target], tuple[list[str], Callable[[Values], Values]]]] = {
    "amqp": _of_rabbitmq,
    "redis": _of_redis,
    "sqs": _of_sqs,
}
"""What a trigger logs in with, by the kind of broker: KEDA's names of it, and its values out of the worker's credentials."""
