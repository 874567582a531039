# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs a component's pods, and what belongs to it: service account, Service, disruption budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import naming, pods
from .cluster import Component, Manifest, Target

SLACK = 60
"""Seconds that a pod may take until its containers start: to be scheduled, and to have its image pulled."""

SETTLED = {"heartbeat": 30}
"""Seconds that a pod must be ready before an update goes on, by the model's health. Where heartbeats tell, those of the pods
before it make it ready at once; what cannot start has ended by then (the slowest start measured took 16 s)."""

SETTLED_OTHERWISE = 5

ATTEMPTS = 3
"""Of the database set-up, which does only what is left to be done."""


def service_account(component: Component, target: Target) -> Manifest:
    """An identity of the component's own, without a token of the cluster."""
    made = naming.manifest(
        "v1", "ServiceAccount", naming.of(component), target, component, automountServiceAccountToken=False
    )
    return naming.annotated(made, target.cluster.annotations.get(component["name"], {}))


def kind_of(component: Component) -> str:
    """A StatefulSet of workers, whose names in Celery are their pods', and a Deployment of anything else."""
    return "StatefulSet" if component["kind"] == "worker" else "Deployment"


def workload(component: Component, target: Target) -> Manifest:
    """What keeps a component's pods running."""
    kind = kind_of(component)
    spec = {
        **_replicas(component, target),
        "selector": {"matchLabels": naming.selector(component, target.platform)},
        "minReadySeconds": _settled(component),
        **_UPDATES[kind](component),
        "template": pods.template(component, target),
    }
    return naming.manifest("apps/v1", kind, naming.of(component), target, component, spec=spec)


def _one_after_the_other(component: Component) -> dict[str, Any]:
    """Each worker takes as long as its tasks take, and two have never one name."""
    return {
        "serviceName": naming.of(component),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    }


def _new_before_old(component: Component) -> dict[str, Any]:
    return {
        "progressDeadlineSeconds": component["start_timeout"] + SLACK,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }


_UPDATES: dict[str, Callable[[Component], dict[str, Any]]] = {
    "StatefulSet": _one_after_the_other,
    "Deployment": _new_before_old,
}
"""How the pods of a workload make way for others."""


def _settled(component: Component) -> int:
    return SETTLED.get(component["health"]["type"], SETTLED_OTHERWISE)


def _replicas(component: Component, target: Target) -> dict[str, int]:
    """Left to the scaler where there is one: each apply would take back what it did."""
    return {} if component["name"] in target.cluster.scaling else {"replicas": component["replicas"]}


def job(component: Component, target: Target) -> Manifest:
    """What runs to its end once for each content: its name is a hash over all that it is made of.

    No pod waits for it but who applies it, and it comes before all that need it. A hook that runs after everything is
    ready, while init containers wait for its migration, never runs (apache/airflow issues 11979 and 32003, of the Helm
    chart). One that has failed for good stays: it has to be removed before it is applied again.
    """
    template = pods.template(component, target)
    return naming.manifest(
        "batch/v1",
        "Job",
        f"{naming.of(component)}-{naming.digest(template)}",
        target,
        component,
        spec={
            "backoffLimit": ATTEMPTS,
            "activeDeadlineSeconds": component["start_timeout"],
            "template": template,
        },
    )


def service(component: Component, target: Target) -> list[Manifest]:
    """How others find a component: the API server by one name; each worker by its own, ready or not."""
    called = naming.of(component)
    if component["kind"] == "api-server":
        return [_service(component, target, called, {"type": "ClusterIP"})]
    if component["kind"] == "worker":
        return [_service(component, target, called, {"clusterIP": "None", "publishNotReadyAddresses": True})]
    return []


def _service(component: Component, target: Target, called: str, kind: dict[str, Any]) -> Manifest:
    port = component["port"]
    return naming.manifest(
        "v1",
        "Service",
        called,
        target,
        component,
        spec={
            **kind,
            "selector": naming.selector(component, target.platform),
            "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    )


def disruption_budget(component: Component, target: Target) -> Manifest:
    """One pod at a time may be asked to leave a node; one that does not work, always."""
    return naming.manifest(
        "policy/v1",
        "PodDisruptionBudget",
        naming.of(component),
        target,
        component,
        spec={
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": naming.selector(component, target.platform)},
        },
    )
