# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is compared, and what tasks tell, without an Engine."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import comparison, engine, tasks

HARDENED = ("TaskTemplate", "ContainerSpec", "Privileges", "NoNewPrivileges")
WANTED = {
    "Name": "s_web",
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "web",
            "Init": False,
            "Privileges": {"NoNewPrivileges": True},
            "Configs": [{"ConfigName": "page", "File": {"Name": "/page", "UID": "0", "GID": "0", "Mode": 292}}],
        },
        "Networks": [{"Target": "s_front"}],
    },
    "Mode": {"Replicated": {"Replicas": 2}},
}
FOUND = {
    "Name": "s_web",
    "Labels": {},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "web",
            "Init": False,
            "Privileges": {"CredentialSpec": None, "SELinuxContext": None, "NoNewPrivileges": True},
            "Configs": [
                {"ConfigName": "page", "ConfigID": "c1", "File": {"Name": "/page", "UID": "0", "GID": "0", "Mode": 292}}
            ],
            "DNSConfig": {},
            "Isolation": "default",
        },
        "Resources": {"Limits": {}, "Reservations": {}},
        "Placement": {},
        "Networks": [{"Target": "n1"}],
        "ForceUpdate": 3,
        "Runtime": "container",
    },
    "Mode": {"Replicated": {"Replicas": 2}},
    "EndpointSpec": {"Mode": "vip"},
}
NETWORKS = {"n1": "s_front"}


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path with dots."""
    copy: dict[str, Any] = json.loads(json.dumps(spec))
    *parents, key = path.split(".")
    holder = copy
    for parent in parents:
        holder = holder.setdefault(parent, {})
    holder[key] = value
    return copy


def test_what_the_engine_adds_is_no_difference() -> None:
    assert comparison.comparable(WANTED, NETWORKS) == comparison.comparable(FOUND, NETWORKS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Labels", {"a": "b"}),
        ("TaskTemplate.ContainerSpec.Env", ["A=b"]),
        ("TaskTemplate.ContainerSpec.Init", True),
        ("TaskTemplate.ContainerSpec.Isolation", "hyperv"),
        ("TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges", False),
        ("TaskTemplate.Resources.Limits", {"MemoryBytes": 1}),
        ("TaskTemplate.Networks", [{"Target": "n2"}]),
        ("Mode.Replicated.Replicas", 0),
        ("EndpointSpec.Mode", "dnsrr"),
    ],
)
def test_what_somebody_changed_is_a_difference(path: str, value: Any) -> None:
    there = changed(FOUND, path, value)
    assert comparison.comparable(WANTED, NETWORKS) != comparison.comparable(there, NETWORKS)


@pytest.mark.parametrize(("version", "is_known"), [("1.41", False), ("1.43", False), ("1.44", True), ("1.100", True)])
def test_an_engine_is_not_asked_for_what_it_ignores(version: str, is_known: bool) -> None:
    spec, unknown = comparison.adapted(WANTED, version)
    assert unknown == ([] if is_known else [".".join(HARDENED)])
    assert ("NoNewPrivileges" in json.dumps(spec)) is is_known


def test_the_label_of_a_stack_is_added_to_others() -> None:
    labelled = comparison.labelled(changed(WANTED, "Labels", {"a": "b"}), "s")
    assert labelled["Labels"] == {"a": "b", comparison.NAMESPACE: "s"}
    assert labelled["TaskTemplate"]["ContainerSpec"]["Labels"] == {comparison.NAMESPACE: "s"}


def test_references_get_the_ids_that_the_engine_wants() -> None:
    resolved = comparison.resolved(WANTED, {"page": "c1"}, {})
    [config] = resolved["TaskTemplate"]["ContainerSpec"]["Configs"]
    assert (config["ConfigName"], config["ConfigID"]) == ("page", "c1")
    assert "ConfigID" not in json.dumps(WANTED)


@given(st.lists(st.binary(max_size=20)))
def test_a_log_is_read_without_its_headers(pieces: list[bytes]) -> None:
    framed = b"".join(struct.pack(">BxxxL", 1, len(piece)) + piece for piece in pieces)
    assert engine.unframed(framed) == b"".join(pieces)


def task(state: str, desired: str = "running", image: str = "web", **other: Any) -> dict[str, Any]:
    """A task as the Engine tells of it."""
    status = {"State": state, **{key: other.pop(key) for key in ("Err", "ContainerStatus") if key in other}}
    spec = {"ContainerSpec": {**FOUND["TaskTemplate"]["ContainerSpec"], "Image": image}, "ForceUpdate": 3}
    return {"Status": status, "DesiredState": desired, "Spec": spec, "CreatedAt": "2026-11-27T05:00:00Z", **other}


def service(update: str = "", replicas: int = 1) -> dict[str, Any]:
    spec = changed(FOUND, "Mode.Replicated.Replicas", replicas)
    return {"Spec": spec, "UpdateStatus": {"State": update}}


@pytest.mark.parametrize(
    ("there", "found", "is_changed", "state"),
    [
        (service(), [task("running")], True, tasks.DONE),
        (service("completed"), [task("running"), task("shutdown", "shutdown", "old")], True, tasks.DONE),
        (service("updating"), [task("running")], True, tasks.PENDING),
        (service(), [task("running", image="old")], True, tasks.PENDING),
        (service(), [task("starting")], True, tasks.PENDING),
        (service(replicas=2), [task("running")], False, tasks.PENDING),
        (service(replicas=0), [], True, tasks.DONE),
        (service("updating"), [task("running", "shutdown", "old"), task("ready", "ready")], True, tasks.DRAINING),
        (service("rollback_started"), [task("running", "shutdown", "old")], True, tasks.PENDING),
        (service("rollback_completed"), [task("running")], True, tasks.FAILED),
        (service("rollback_completed"), [task("running")], False, tasks.DONE),
        (service("rollback_completed"), [task("starting")], True, tasks.PENDING),
        (service("rollback_completed"), [task("running", "shutdown", "broken"), task("ready")], True, tasks.PENDING),
        (service("paused"), [task("failed", image="old")], True, tasks.FAILED),
        (service("rollback_paused"), [], True, tasks.FAILED),
    ],
)
def test_how_far_a_service_is(there: Any, found: list[Any], is_changed: bool, state: str) -> None:
    assert tasks.replicas(there, found, is_changed).state == state


def test_a_job_is_judged_by_its_last_run() -> None:
    spec = {
        "Mode": {"ReplicatedJob": {"TotalCompletions": 1}},
        "TaskTemplate": {"RestartPolicy": {"Condition": "none"}},
    }
    there = {"Spec": spec, "JobStatus": {"JobIteration": {"Index": 7}}}
    before, now = {"JobIteration": {"Index": 0}}, {"JobIteration": {"Index": 7}}
    assert tasks.job(there, []).state == tasks.PENDING
    assert tasks.job(there, [task("complete", **before)]).state == tasks.PENDING
    assert tasks.job(there, [task("failed", **before), task("running", **now)]).state == tasks.PENDING
    assert tasks.job(there, [task("failed", **before), task("complete", **now)]).state == tasks.DONE
    assert tasks.job(there, [task("complete", **before), task("failed", **now)]).state == tasks.FAILED


def test_errors_are_the_newest_ones_each_once() -> None:
    found = [
        task("failed", Err="old", CreatedAt="2026-11-27T05:00:00Z"),
        task("failed", Err="non-zero exit", ContainerStatus={"ExitCode": 3}, CreatedAt="2026-11-27T05:00:01.5Z"),
        task("failed", Err="non-zero exit", ContainerStatus={"ExitCode": 3}, CreatedAt="2026-11-27T05:00:02Z"),
        task("rejected", Err="No such image", CreatedAt="2026-11-27T05:00:03Z"),
        task("complete", "shutdown", CreatedAt="2026-11-27T05:00:04Z"),
        task("shutdown", "shutdown", CreatedAt="2026-11-27T05:00:05Z"),
        task("running", CreatedAt="2026-11-27T05:00:06Z"),
    ]
    of_job = ["rejected: No such image", "failed: non-zero exit (exit code 3)"]
    of_service = ["complete: it ended by itself, or because its health check failed", *of_job]
    since = tasks.second("2026-11-27T05:00:01.987Z")
    assert (tasks.errors(found, since, is_job=True), tasks.errors(found, since, is_job=False)) == (of_job, of_service)
