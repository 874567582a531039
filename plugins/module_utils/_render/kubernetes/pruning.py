# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a platform is left over in a cluster: it bears the platform's labels, and no manifest describes it any more.

A worker that is told to stop goes on for as long as its tasks take. What its pod has, or is let through by, stays until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import entrance, naming, scaling, secrets
from .cluster import Manifest

Identity = tuple[str, str, str]
"""API group, kind and name. The version of an API does not tell two objects apart."""

PRUNED = (
    (scaling.KEDA_API, "ScaledObject"),
    (scaling.KEDA_API, "TriggerAuthentication"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "Ingress"),
    (entrance.GATEWAY_API, "HTTPRoute"),
    (entrance.GATEWAY_API, "Gateway"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("v1", "Service"),
    (secrets.EXTERNAL_API, "ExternalSecret"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
"""The kinds that may go, in the order in which they do: all but the namespace and what holds the DAGs."""


OVER = ("Succeeded", "Failed")
"""The phases of a pod that does not run again."""


def leftovers(found: Iterable[Manifest], wanted: Iterable[Manifest], environment: str) -> list[Manifest]:
    """The objects that may go, in the order in which they do.

    found: what is in the namespace of the kinds of PRUNED, and its pods. wanted: all manifests.

    What belongs to another object (metadata.ownerReferences) is left to that one: it has its labels from there, as the
    Secret of an ExternalSecret has, or KEDA's own autoscaler.
    """
    seen = list(found)
    described = {_identity(manifest) for manifest in wanted}
    order = {(_group(api), kind): number for number, (api, kind) in enumerate(PRUNED)}
    pods = [each for each in seen if each["kind"] == "Pod" and each.get("status", {}).get("phase") not in OVER]
    held = {identity for pod in pods for identity in _held(pod)}
    marks = naming.pruned(environment).items()
    return sorted(
        (
            each
            for each in seen
            if _identity(each)[:2] in order
            and marks <= (each["metadata"].get("labels") or {}).items()
            and not each["metadata"].get("ownerReferences")
            and _identity(each) not in described | held
            and not _lets_through(each, pods)
        ),
        key=lambda each: order[_identity(each)[:2]],
    )


def _identity(manifest: Mapping[str, Any]) -> Identity:
    return _group(manifest["apiVersion"]), manifest["kind"], manifest["metadata"]["name"]


def _group(api: str) -> str:
    return api.rpartition("/")[0]


def _held(pod: Mapping[str, Any]) -> Iterator[Identity]:
    """What a pod reads when it starts, or one of its containers starts anew."""
    spec = pod["spec"]
    yield "", "ServiceAccount", spec.get("serviceAccountName", "default")
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            yield "", "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "", "Secret", volume["secret"]["secretName"]
    for container in spec["containers"]:
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if "configMapKeyRef" in source:
                yield "", "ConfigMap", source["configMapKeyRef"]["name"]


def _lets_through(manifest: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is a network policy of a pod that is still there."""
    if manifest["kind"] != "NetworkPolicy":
        return False
    wanted = manifest["spec"]["podSelector"].get("matchLabels", {}).items()
    return any(wanted <= (pod["metadata"].get("labels") or {}).items() for pod in pods)
