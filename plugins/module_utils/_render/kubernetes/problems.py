# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster is told that cannot work, in words that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..._model.placement import API_NAME
from ..._model.problems import Problem
from . import scaling, secrets
from .cluster import GATE, PUBLISHER, Cluster, Component, ExistingSecrets, NewClaim, Target

KEDA_REFUSED = {
    "redis": "KEDA asks Redis by a script, which the platform's own refuses",
    "kubernetes": "the cluster's own broker lets nobody in from KEDA's namespace",
}
"""Why KEDA learns nothing from a broker, by its provider."""

IMAGE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def of(components: Sequence[Component], target: Target, where: str) -> list[Problem]:
    """Everything that the cluster is told and that cannot work. where: the variable that holds it."""
    cluster = target.cluster
    told = [
        *_storage(target),
        *_strangers(components, target),
        *_scaling(components, cluster),
        *_tolerations(cluster),
        *_keda(components, target),
        *_missing_secrets(components, target),
    ]
    return [*_placed(told, where), *_detour(components, target)]


def of_publishing(target: Target, where: str) -> list[Problem]:
    """The same for the pod that publishes, before anything else is there."""
    return _placed(_storage(target), where)


def _placed(found: Iterable[Problem], where: str) -> list[Problem]:
    return [replace(problem, variable=f"{where}.{problem.variable}") for problem in found]


def _storage(target: Target) -> Iterator[Problem]:
    yield from _image(target.cluster)
    yield from _claim(target)


def _image(cluster: Cluster) -> Iterator[Problem]:
    if not IMAGE.fullmatch(cluster.image):
        yield Problem(
            "image", cluster.image, "an image by its digest, such as registry.example.com/airflow@sha256:0123..."
        )


def _claim(target: Target) -> Iterator[Problem]:
    """A claim that no pod could write to, where one publishes."""
    claim = target.cluster.dags
    if target.platform.has_publisher and isinstance(claim, NewClaim) and claim.access_mode == "ReadOnlyMany":
        right = "ReadWriteMany, or ReadWriteOnce where there is one node: a pod publishes into it"
        yield Problem("dags.new.access_mode", claim.access_mode, right)


def _strangers(components: Sequence[Component], target: Target) -> Iterator[Problem]:
    """Names of components and kinds that the platform does not have."""
    cluster = target.cluster
    publisher = [PUBLISHER["name"]] if target.platform.has_publisher else []
    names = [*(component["name"] for component in components), *publisher]
    kinds = [component["kind"] for component in components]
    either = list(dict.fromkeys([*names, *kinds]))
    running = [*either, GATE["name"]]
    services = [endpoint["service"] for endpoint in target.platform.endpoints.values() if endpoint.get("service")]
    known: dict[str, Sequence[str]] = {
        "scaling": [component["name"] for component in components if not component["once"]],
        "annotations": names,
        "nodes": [*running, *services],
        "priority_classes": [*running, *services],
        "outlets": either,
        "reach": ("database", "broker", "log_store"),
    }
    for name, right in known.items():
        for key in getattr(cluster, name):
            if key not in right:
                yield Problem(f"{name}.{key}", key, "one of " + ", ".join(right))


def _scaling(components: Sequence[Component], cluster: Cluster) -> Iterator[Problem]:
    kinds = {component["name"]: component["kind"] for component in components}
    for name, told in cluster.scaling.items():
        least = 0 if cluster.has_keda and kinds.get(name) == "worker" else 1
        if told.least < least:
            yield Problem(f"scaling.{name}.least", told.least, f"{least} or more")
        if told.most < max(told.least, 1):
            yield Problem(f"scaling.{name}.most", told.most, f"{max(told.least, 1)} or more")


def _tolerations(cluster: Cluster) -> Iterator[Problem]:
    """What no API server takes (k8s.io/kubernetes, pkg/apis/core/validation)."""
    for name, told in cluster.nodes.items():
        for at, each in enumerate(told.tolerations):
            where = f"nodes.{name}.tolerations[{at}]"
            if each.key is None and each.operator != "Exists":
                yield Problem(f"{where}.operator", each.operator, "Exists, since no key says what shall be equal")
            if each.operator == "Exists" and each.value:
                yield Problem(f"{where}.value", each.value, "left out, or with the operator Equal")
            if each.seconds is not None and each.effect != "NoExecute":
                yield Problem(f"{where}.seconds", each.seconds, "left out, or with the effect NoExecute")


def _keda(components: Sequence[Component], target: Target) -> Iterator[Problem]:
    """KEDA (2.17, redis_scaler.go) asks for a list's length by a script of its own (EVAL, TYPE), which no user of the
    platform's own Redis may run (_services.redis). It asks from a namespace of its own."""
    followed = [component["name"] for component in components if scaling.follows_queues(component, target)]
    reason = KEDA_REFUSED.get(target.platform.endpoints["broker"]["provider"])
    if reason and followed:
        yield Problem("has_keda", True, f"false, or {', '.join(followed)} without scaling: {reason}")


def _detour(components: Sequence[Component], target: Target) -> Iterator[Problem]:
    """Workers that would look for the API server where no network policy lets them go."""
    own = f"http://{API_NAME}:{target.platform.api_port}/"
    found = {component["settings"].get("core", {}).get("execution_api_server_url", own) for component in components}
    for url in sorted(url for url in found if not url.startswith(own)):
        yield Problem("airflow_api_internal_url", url, f"left out: pods find the API server at {own}")


def _missing_secrets(components: Sequence[Component], target: Target) -> Iterator[Problem]:
    told = target.cluster.secrets
    if not isinstance(told, ExistingSecrets):
        return
    for component in components:
        for holder in (secrets.of_component(component), *scaling.holders(component, target)):
            if holder.keys and holder.name not in told.names:
                right = f"the name of a Secret that holds {', '.join(holder.keys)}"
                yield Problem(f"secrets.existing.names.{holder.name}", None, right)
