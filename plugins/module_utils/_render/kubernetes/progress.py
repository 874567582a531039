# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a cluster is with what was applied, out of its objects and pods: done, not yet, or never, and for which reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import naming
from .cluster import Manifest

DONE, WAITING, DRAINING, FAILED = "done", "waiting", "draining", "failed"

HOPELESS = ("ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "CreateContainerConfigError")
"""What a container waits for in vain until somebody mends it."""

CRASHING = "CrashLoopBackOff"

CRASHES = 3
"""After how many restarts a container is given up: the first ones may come from a service that was not there yet."""

SLACK = 60
"""Seconds that the cluster may take to say what became of a deadline of its own."""

STARTING = 600
"""Seconds for a pod that nothing gives up by itself: its image is pulled, its volume attached, its data recovered."""

PATIENCE = 120
"""Seconds for what has no deadline of its own."""


@dataclass(frozen=True)
class Stuck:
    """A pod that does not do what it shall. container: that whose log tells of it. restarted: whether that is the log of the
    one before.
    """

    name: str
    container: str
    reason: str
    has_started: bool
    restarted: bool


def waited(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Those that take time until they are what they shall be."""
    return [each for each in manifests if each["kind"] in _CONDITIONS]


def seconds(manifests: Iterable[Manifest], patience: int) -> int:
    """How long the slowest may take at most. patience: for workers that finish their tasks before."""
    return max((_seconds(each, patience) for each in waited(manifests)), default=0)


def _seconds(manifest: Manifest, patience: int) -> int:
    spec = manifest["spec"]
    if manifest["kind"] == "StatefulSet":
        # The pod that comes next starts when the one before has finished.
        return STARTING + (patience if _is_of_workers(manifest) else 0)
    if manifest["kind"] == "Job":
        return int(spec["activeDeadlineSeconds"]) + SLACK
    if manifest["kind"] == "Deployment":
        # The deadline begins anew with each pod that is ready.
        return (int(spec["progressDeadlineSeconds"]) + SLACK) * int(spec.get("replicas", 1))
    return PATIENCE


def _is_of_workers(manifest: Manifest) -> bool:
    return manifest["kind"] == "StatefulSet" and manifest["metadata"]["labels"].get(naming.KIND) == "worker"


def look(
    wanted: Sequence[Manifest], found: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the manifests have become.

    found: the objects of their kinds. pods: the platform's own. The result: state (the worst of all), draining (workloads
    that wait for no other pod than those that finish their tasks), reasons (a line for whatever is not done), stuck (pods).
    """
    objects = {(each["kind"], each["metadata"]["name"]): each for each in found}
    looked = [_look(each, objects.get((each["kind"], each["metadata"]["name"])), pods) for each in waited(wanted)]
    states = [state for state, _reason, _stuck in looked]
    return {
        "state": next((state for state in (FAILED, WAITING, DRAINING) if state in states), DONE),
        "draining": [
            each["metadata"]["name"] for each, state in zip(waited(wanted), states, strict=True) if state == DRAINING
        ],
        "reasons": [reason for state, reason, _stuck in looked if state in (FAILED, WAITING)],
        "stuck": [vars(pod) for state, _reason, stuck in looked if state in (FAILED, WAITING) for pod in stuck],
    }


def _look(
    wanted: Manifest, found: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]]
) -> tuple[str, str, list[Stuck]]:
    called = f"{wanted['kind']} {wanted['metadata']['name']}"
    if found is None:
        return WAITING, f"{called} is not there.", []
    state, reason = _CONDITIONS[wanted["kind"]](found)
    if state == DONE:
        return DONE, "", []
    own = [pod for pod in pods if _is_of(pod, wanted)]
    new = [pod for pod in own if not _is_leaving(pod) and _is_made_from(pod, wanted)]
    stuck = [_stuck(pod) for pod in new if not _is_well(pod)]
    if any(_is_hopeless(pod) for pod in new):
        state = FAILED
    elif _is_of_workers(wanted) and not stuck and any(_is_leaving(pod) for pod in own):
        state = DRAINING
    return state, f"{called}: {reason}", stuck


def _is_of(pod: Mapping[str, Any], wanted: Manifest) -> bool:
    labels = pod["metadata"].get("labels") or {}
    marks = wanted["metadata"]["labels"]
    return all(labels.get(key) == marks.get(key) for key in (naming.ENVIRONMENT, naming.COMPONENT, naming.SERVICE))


def _is_leaving(pod: Mapping[str, Any]) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _is_made_from(pod: Mapping[str, Any], wanted: Manifest) -> bool:
    """Whether a pod runs what is wanted now: another configuration or secret has another name, another core another digest.
    What has one name for good, as a service's, is told by an annotation.
    """
    template = wanted["spec"].get("template")
    if template is None:
        return True
    marks = [(each["metadata"].get("annotations") or {}).get(naming.CONTENT) for each in (pod, template)]
    return marks[0] == marks[1] and _contents(pod["spec"]) == _contents(template["spec"])


def _contents(spec: Mapping[str, Any]) -> set[tuple[str, str]]:
    volumes = spec.get("volumes") or ()
    return {
        *(("image", container["image"]) for container in spec["containers"]),
        *(("configMap", name) for container in spec["containers"] for name in _read_variables(container)),
        *(("configMap", volume["configMap"]["name"]) for volume in volumes if volume.get("configMap")),
        *(("secret", volume["secret"]["secretName"]) for volume in volumes if volume.get("secret")),
    }


def _read_variables(container: Mapping[str, Any]) -> Iterator[str]:
    for variable in container.get("env") or ():
        source = (variable.get("valueFrom") or {}).get("configMapKeyRef")
        if source:
            yield source["name"]


def _is_well(pod: Mapping[str, Any]) -> bool:
    return pod["status"].get("phase") == "Succeeded" or _condition(pod, "Ready").get("status") == "True"


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod["status"]
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _is_hopeless(pod: Mapping[str, Any]) -> bool:
    for container in _containers(pod):
        reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
        if reason in HOPELESS or (reason == CRASHING and container.get("restartCount", 0) >= CRASHES):
            return True
    return False


def _stuck(pod: Mapping[str, Any]) -> Stuck:
    main = list(pod["status"].get("containerStatuses") or ())
    restarts = sum(container.get("restartCount", 0) for container in main)
    has_started = any(
        restarts or (container.get("state") or {}).get(state)
        for container in main
        for state in ("running", "terminated")
    )
    runs = any((container.get("state") or {}).get("running") for container in main)
    container = pod["spec"]["containers"][0]["name"]
    return Stuck(pod["metadata"]["name"], container, _reason(pod), bool(has_started), bool(restarts) and not runs)


def _reason(pod: Mapping[str, Any]) -> str:
    for container in _containers(pod):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting"), state.get("terminated")
        last = (container.get("lastState") or {}).get("terminated")
        if waiting and waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            told = " ".join(str(word) for word in (waiting["reason"], waiting.get("message")) if word)
            return f"{container['name']}: {told}{_ended(last)}"
        if ended and ended.get("exitCode"):
            return f"{container['name']}:{_ended(ended)}"
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'not scheduled')}: {scheduled.get('message', '')}"
    return str(pod["status"].get("reason") or f"{pod['status'].get('phase')}, and not ready")


def _ended(terminated: Mapping[str, Any] | None) -> str:
    if not terminated:
        return ""
    return f" ended with code {terminated.get('exitCode')} ({terminated.get('reason', 'no reason given')})"


def _condition(found: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def _is_observed(found: Mapping[str, Any]) -> bool:
    seen = (found.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= found["metadata"].get("generation", 0))


def _job(found: Mapping[str, Any]) -> tuple[str, str]:
    failed = _condition(found, "Failed")
    if failed.get("status") == "True":
        return FAILED, f"{failed.get('reason')}: {failed.get('message')}"
    return (DONE, "") if _condition(found, "Complete").get("status") == "True" else (WAITING, "not complete")


def _external_secret(found: Mapping[str, Any]) -> tuple[str, str]:
    ready = _condition(found, "Ready")
    return (DONE, "") if ready.get("status") == "True" else (WAITING, str(ready.get("message") or "not ready"))


def _deployment(found: Mapping[str, Any]) -> tuple[str, str]:
    """As kubectl's rollout status sees it."""
    status, replicas = found.get("status") or {}, found["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    counts = f"{updated} of {replicas} pods are new, {status.get('availableReplicas', 0)} work"
    if not _is_observed(found):
        return WAITING, "not looked at yet"
    progressing, failing = _condition(found, "Progressing"), _condition(found, "ReplicaFailure")
    told = f": {failing.get('message')}" if failing.get("status") == "True" else ""
    if updated >= replicas and status.get("replicas", 0) <= updated <= status.get("availableReplicas", 0):
        return DONE, ""
    return (FAILED if progressing.get("status") == "False" else WAITING), counts + told


def _stateful_set(found: Mapping[str, Any]) -> tuple[str, str]:
    status, replicas = found.get("status") or {}, found["spec"].get("replicas", 1)
    updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    if not _is_observed(found):
        return WAITING, "not looked at yet"
    is_done = status.get("replicas", 0) == replicas == updated == ready
    return (DONE, "") if is_done else (WAITING, f"{updated} of {replicas} pods are new, {ready} are ready")


_CONDITIONS: dict[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    "Job": _job,
    "ExternalSecret": _external_secret,
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
}
"""What becomes of an object, by its kind: its state and what a person is told of it."""
