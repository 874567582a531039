# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The component model as Kubernetes manifests, and what of them is left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, credentials
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import report
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import (
    gate,
    manifests,
    naming,
    problems,
    progress,
    pruning,
    reading,
    services,
    storage,
)
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    MadeSecrets,
    Platform,
    Target,
)

CLUSTER = "airflow_components_kubernetes"
"""The variable that says what a cluster is told."""

VARIABLE = "cluster"
"""What messages call the argument that holds what the cluster is told."""


def component_manifests(
    plan: Mapping[str, Any],
    endpoints: Mapping[str, Any],
    cluster: Mapping[str, Any],
    secrets: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Steps of manifests, in the order of their application."""
    model = components.model(plan, endpoints)
    values = {each["name"]: credentials.values(each, endpoints, secrets) for each in model} if secrets else {}
    made = MadeSecrets(values, (secrets or {}).get("fernet_key", ""))
    told, found = reading.read(cluster, VARIABLE, made)
    platform = Platform.of(plan, endpoints)
    if told is not None:
        found = problems.of(model, Target(platform, told), VARIABLE)
    if told is None or found:
        raise AnsibleFilterError(report(found))
    if isinstance(told.secrets, MadeSecrets) and not secrets:
        raise AnsibleFilterError("Secrets are to be made, and component_manifests was given none to make them from.")
    return [asdict(step) for step in manifests.steps(model, platform, told)]


def service_manifests(
    plan: Mapping[str, Any],
    service: Mapping[str, Any],
    told: Mapping[str, Any],
    cluster: Mapping[str, Any] | None,
    secrets: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Steps of manifests of a service of the platform's in the cluster, in the order of their application."""
    place, problems = reading.read_place(cluster, CLUSTER, plan["environment"])
    settled, wrong = reading.read_service(told, f"airflow_{service['name'].replace('-', '_')}_kubernetes")
    if place is None or settled is None:
        raise AnsibleFilterError(report([*problems, *wrong]))
    made = services.steps(services.Service.of(_plain(service)), settled, place, secrets["fernet_key"])
    return [asdict(step) for step in made]


def publisher_manifests(plan: Mapping[str, Any], cluster: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Steps of manifests of the pod that publishes DAGs and of the claim that it writes to, in the order of their application."""
    told, found = reading.read(cluster, CLUSTER, MadeSecrets({}, ""))
    # Of the services' endpoints it needs these alone, and of these what the plan says already.
    platform = Platform.of(plan, {name: plan[name] for name in ("dag_storage", "broker", "log_store")})
    if told is not None:
        found = problems.of_publishing(Target(platform, told), CLUSTER)
    if told is None or found:
        raise AnsibleFilterError(report(found))
    return [asdict(step) for step in manifests.publishing(platform, told)]


def dags_gate_step(plan: Mapping[str, Any], cluster: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """The step of manifests that judges releases of DAGs in a cluster, as those of component_manifests."""
    told, found = reading.read(cluster, CLUSTER, MadeSecrets({}, ""))
    if told is None:
        raise AnsibleFilterError(report(found))
    # Of the services' endpoints it needs none but where the releases are.
    platform = Platform.of(plan, {"dag_storage": plan["dag_storage"]})
    return asdict(gate.step(_plain(job), Target(platform, told)))


def dag_volume(plan: Mapping[str, Any], cluster: Mapping[str, Any] | None, backing: Any) -> dict[str, Any]:
    """The volume that the claim of the DAG storage names, for who administers the cluster."""
    told, found = reading.read_volume(cluster, CLUSTER, backing, "airflow_dag_volume")
    if told is None:
        raise AnsibleFilterError(report(found))
    claimed, settled, namespace = told
    return storage.volume(claimed, settled, plan["environment"], namespace)


def component_leftovers(
    plan: Mapping[str, Any], found: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The objects that may go, of those that a cluster has, by what they are called and without what is in them."""
    wanted = [manifest for step in steps for manifest in step["manifests"]]
    return [
        {
            "apiVersion": each["apiVersion"],
            "kind": each["kind"],
            "metadata": {key: each["metadata"][key] for key in ("name", "namespace")},
        }
        for each in pruning.leftovers(_plain(found), wanted, plan["environment"])
    ]


def component_progress(
    step: Mapping[str, Any], found: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How far a cluster is with a step: its state, and what a person is told where it is not done."""
    return progress.look(_plain(step["manifests"]), _plain(found), _plain(pods))


def component_waits(step: Mapping[str, Any], patience: int) -> dict[str, Any]:
    """For what kind of objects a step waits (api_version, kind; None for nothing), and how many seconds at most."""
    waited = progress.waited(step["manifests"]) if step["wait"] != "exists" else []
    kind = {"api_version": waited[0]["apiVersion"], "kind": waited[0]["kind"]} if waited else {"kind": None}
    return {**kind, "seconds": progress.seconds(waited, int(patience))}


def component_search(plan: Mapping[str, Any], service: str = "") -> dict[str, Any]:
    """By what a platform's objects are found: the labels that all of them have, and their kinds, their pods included.

    service: of a service of the platform's in the cluster, instead of the components.
    """
    environment = plan["environment"]
    labels = naming.service_selector(service, environment) if service else naming.pruned(environment)
    return {
        "labels": [f"{key}={value}" for key, value in labels.items()],
        "kinds": [{"api_version": api, "kind": kind} for api, kind in (*pruning.PRUNED, ("v1", "Pod"))],
    }


def component_differences(applied: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the module k8s found to differ, of many manifests at once, which it tells nobody by itself."""
    results = (applied.get("result") or {}).get("results") or []
    return [
        {
            "kind": each["result"]["kind"],
            "name": each["result"]["metadata"]["name"],
            **{side: dict(each.get("diff") or {}).get(side, {}) for side in ("before", "after")},
        }
        for each in results
        if each.get("changed")
    ]


def _plain(value: Any) -> Any:
    """Without what Ansible templates as it is read: the items of such a dictionary are no set."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
