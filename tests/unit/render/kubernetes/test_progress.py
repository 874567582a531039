# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far a cluster is with what was applied."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import naming, progress
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import (
    component_differences,
    component_search,
    component_waits,
)
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered

Object = dict[str, Any]

RUNS = {"state": {"running": {}}, "ready": True, "restartCount": 0}
PULLS = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "restartCount": 0}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.fixture(name="platform")
def small_platform(variables: dict[str, Any]) -> Rendered:
    return PLATFORMS["small"](variables)


def crashing(restarts: int) -> Object:
    return {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": KILLED, "restartCount": restarts}


def manifest(platform: Rendered, kind: str, name: str) -> Object:
    (found,) = (each for each in platform.of_kind(kind) if each["metadata"]["name"].startswith(name))
    return found


def pod(made_from: Object, at: int = 0, container: Object | None = None, leaves: bool = False) -> Object:
    template = deepcopy(made_from["spec"]["template"])
    ready = "True" if container is None else "False"
    return {
        "metadata": {
            **template["metadata"],
            "name": f"{made_from['metadata']['name']}-{at}",
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaves else {}),
        },
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "airflow", **(container or RUNS)}],
        },
    }


def with_status(made: Object, generation: int = 2, **status: Any) -> Object:
    metadata = {**made["metadata"], "generation": 2}
    return {**made, "metadata": metadata, "status": {"observedGeneration": generation, **status}}


def before(made: Object) -> Object:
    """The workload as it was with another image."""
    changed = deepcopy(made)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/before@sha256:0"
    return changed


COMPLETE = [{"type": "Complete", "status": "True"}]
FAILED = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed 4 times"}]
LATE = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
ALL = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("kind", "name", "status", "state"),
    [
        ("Job", "setup", {}, progress.WAITING),
        ("Job", "setup", {"conditions": COMPLETE}, progress.DONE),
        ("Job", "setup", {"conditions": FAILED}, progress.FAILED),
        ("Deployment", "api-server", ALL, progress.DONE),
        ("Deployment", "api-server", {**ALL, "generation": 1}, progress.WAITING),
        ("Deployment", "api-server", {**ALL, "availableReplicas": 0}, progress.WAITING),
        ("Deployment", "api-server", {**ALL, "replicas": 2}, progress.WAITING),
        ("Deployment", "api-server", {**ALL, "availableReplicas": 0, "conditions": LATE}, progress.FAILED),
        ("StatefulSet", "worker-ml", ALL, progress.DONE),
        ("StatefulSet", "worker-ml", {**ALL, "updatedReplicas": 0}, progress.WAITING),
        ("StatefulSet", "worker-ml", {**ALL, "readyReplicas": 0}, progress.WAITING),
    ],
)
def test_an_object_is_what_its_cluster_says(
    platform: Rendered, kind: str, name: str, status: dict[str, Any], state: str
) -> None:
    wanted = manifest(platform, kind, name)
    assert progress.look([wanted], [with_status(wanted, **status)], [])["state"] == state


def test_an_external_secret_is_waited_for_until_it_is_ready(variables: dict[str, Any]) -> None:
    wanted = PLATFORMS["full"](variables).of_kind("ExternalSecret")[0]
    refused = [{"type": "Ready", "status": "False", "message": "could not get secret data from provider"}]
    seen = progress.look([wanted], [{**wanted, "status": {"conditions": refused}}], [])
    assert seen["state"] == progress.WAITING
    assert "could not get secret data" in seen["reasons"][0]
    ready = [{"type": "Ready", "status": "True"}]
    assert progress.look([wanted], [{**wanted, "status": {"conditions": ready}}], [])["state"] == progress.DONE


def test_what_is_not_there_yet_is_waited_for(platform: Rendered) -> None:
    seen = progress.look([manifest(platform, "Deployment", "scheduler")], [], [])
    assert (seen["state"], seen["reasons"]) == (progress.WAITING, ["Deployment scheduler is not there."])


@pytest.mark.parametrize(
    ("container", "state", "reason"),
    [
        (PULLS, progress.FAILED, "airflow: ImagePullBackOff no such image"),
        (crashing(1), progress.WAITING, "airflow: CrashLoopBackOff ended with code 137 (OOMKilled)"),
        (crashing(3), progress.FAILED, "airflow: CrashLoopBackOff ended with code 137 (OOMKilled)"),
    ],
)
def test_a_pod_that_never_comes_to_work_ends_the_waiting(
    platform: Rendered, container: Object, state: str, reason: str
) -> None:
    wanted = manifest(platform, "Deployment", "api-server")
    found = with_status(wanted, replicas=1, updatedReplicas=1)
    seen = progress.look([wanted], [found], [pod(wanted, container=container)])
    assert seen["state"] == state
    assert [each["reason"] for each in seen["stuck"]] == [reason]


def test_what_is_wrong_with_the_pods_before_says_nothing_of_the_new_ones(platform: Rendered) -> None:
    wanted = manifest(platform, "Deployment", "api-server")
    found = with_status(wanted, replicas=2, updatedReplicas=1)
    seen = progress.look([wanted], [found], [pod(before(wanted), container=crashing(9)), pod(wanted, 1)])
    assert (seen["state"], seen["stuck"]) == (progress.WAITING, [])


def test_a_worker_that_finishes_its_tasks_is_no_failure(platform: Rendered) -> None:
    wanted = manifest(platform, "StatefulSet", "worker-etl")
    found = with_status(wanted, replicas=3, readyReplicas=3)
    old = before(wanted)
    seen = progress.look([wanted], [found], [pod(old, 0), pod(old, 1), pod(old, 2, leaves=True)])
    assert (seen["state"], seen["draining"], seen["reasons"]) == (progress.DRAINING, ["worker-etl"], [])
    broken = [pod(old, 0), pod(old, 1, leaves=True), pod(wanted, 2, PULLS)]
    assert progress.look([wanted], [found], broken)["state"] == progress.FAILED


def test_what_is_no_worker_is_waited_for_until_its_next_pod_is_there(platform: Rendered) -> None:
    wanted = deepcopy(manifest(platform, "StatefulSet", "worker-etl"))
    wanted["metadata"]["labels"][naming.KIND] = "database"
    seen = progress.look([wanted], [with_status(wanted, replicas=1)], [pod(before(wanted), leaves=True)])
    assert (seen["state"], seen["draining"]) == (progress.WAITING, [])


def test_a_pod_without_a_place_says_what_it_lacks(platform: Rendered) -> None:
    wanted = manifest(platform, "StatefulSet", "worker-ml")
    homeless = pod(wanted)
    lacks = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no memory"}
    homeless["status"] = {"phase": "Pending", "conditions": [lacks]}
    (stuck,) = progress.look([wanted], [with_status(wanted)], [homeless])["stuck"]
    assert stuck == {
        "name": "worker-ml-0",
        "reason": "Unschedulable: 0/3 nodes: no memory",
        "container": "airflow",
        "has_started": False,
        "restarted": False,
    }


def test_the_worst_of_a_step_tells(platform: Rendered) -> None:
    scheduler, triggerer = (manifest(platform, "Deployment", name) for name in ("scheduler", "triggerer"))
    found = [with_status(scheduler, **ALL), with_status(triggerer, conditions=LATE)]
    seen = progress.look([scheduler, triggerer], found, [])
    assert seen["state"] == progress.FAILED
    assert [reason.partition(":")[0] for reason in seen["reasons"]] == ["Deployment triggerer"]


def test_a_step_waits_for_one_kind_as_long_as_its_deadlines_say(platform: Rendered) -> None:
    waits = {step.title: component_waits(vars(step), 600) for step in platform.steps}
    assert waits["services"] == {"kind": None, "seconds": 0}
    assert waits["database set-up"] == {"api_version": "batch/v1", "kind": "Job", "seconds": 21600 + 60}
    assert waits["worker"] == {"api_version": "apps/v1", "kind": "StatefulSet", "seconds": 600 + 600}
    (workers,) = (vars(step) for step in platform.steps if step.title == "worker")
    assert [component_waits(workers, patience)["seconds"] for patience in (0, 3600)] == [600, 600 + 3600]
    api_server = manifest(platform, "Deployment", "api-server")["spec"]["progressDeadlineSeconds"]
    assert waits["api-server"]["seconds"] == api_server + 60


def test_no_step_waits_for_objects_of_two_kinds(rendered: Rendered) -> None:
    for step in rendered.steps:
        if step.wait != "exists":
            assert len({each["kind"] for each in progress.waited(step.manifests)}) <= 1


def test_everything_that_is_pruned_is_looked_for_by_labels_that_all_have(rendered: Rendered) -> None:
    search = component_search(rendered.plan)
    marks = dict(label.split("=") for label in search["labels"])
    for each in rendered.manifests:
        assert marks.items() <= each["metadata"]["labels"].items()
    assert {"api_version": "v1", "kind": "Pod"} in search["kinds"]


def test_differences_are_those_of_what_was_changed() -> None:
    def result(name: str, **more: Any) -> Object:
        return {"result": {"kind": "ConfigMap", "metadata": {"name": name}}, **more}

    changed = result("a", changed=True, diff={"before": {"data": {"x": "1"}}, "after": {"data": {"x": "2"}}})
    applied = {"changed": True, "result": {"results": [changed, result("b", changed=False, diff={})]}}
    assert component_differences(applied) == [
        {"kind": "ConfigMap", "name": "a", "before": {"data": {"x": "1"}}, "after": {"data": {"x": "2"}}}
    ]
    assert component_differences({"changed": False, "result": {"kind": "ConfigMap"}}) == []
