# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the tasks of a service tell: whether it has come to be what it shall be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import comparison

Object = Mapping[str, Any]

DONE = "done"
PENDING = "pending"
DRAINING = "draining"
FAILED = "failed"

ROLLED_BACK = "rollback_completed"
"""The Engine says so once it has asked for the processes of before, which may have yet to start."""

UNDERWAY = ("updating", "rollback_started")
RETURNING = ("rollback_started", ROLLED_BACK)

GIVEN_UP = {
    "paused": "its update was stopped",
    "rollback_paused": "it failed, and so did its return to what it was before",
    ROLLED_BACK: "it failed, and is what it was before again",
}
"""The states of an update in which the Engine does no more."""

ENDED = ("failed", "rejected", "orphaned")
OVER = (*ENDED, "complete", "shutdown", "remove")

SHOWN = 3
"""Errors that are shown."""


@dataclass(frozen=True)
class Verdict:
    """state: one of the above. progress: processes that run as they shall. stage: of an update. reason: of a failure."""

    state: str
    progress: int = 0
    stage: str = ""
    reason: str = ""


def replicas(service: Object, tasks: Sequence[Object], is_changed: bool) -> Verdict:
    """How far a service is that stays.

    is_changed: whether this run has changed it. Otherwise an update that was rolled back earlier is nobody's concern.
    """
    wanted = service["Spec"]["Mode"]["Replicated"].get("Replicas", 1)
    running = sum(1 for task in tasks if _runs(task) and is_current(task, service))
    update = (service.get("UpdateStatus") or {}).get("State", "")
    if is_changed and update in GIVEN_UP and (update != ROLLED_BACK or running == wanted):
        return Verdict(FAILED, running, update, GIVEN_UP[update])
    if update not in UNDERWAY and running == wanted:
        return Verdict(DONE, running, update)
    is_draining = update not in RETURNING and any(map(_stops, tasks))
    return Verdict(DRAINING if is_draining else PENDING, running, update)


def job(service: Object, tasks: Sequence[Object]) -> Verdict:
    """How far a service is that comes to an end."""
    iteration = _iteration(service, "JobStatus")
    current = [task for task in tasks if _iteration(task, None) == iteration]
    completed = sum(1 for task in current if _state(task) == "complete")
    if completed >= service["Spec"]["Mode"]["ReplicatedJob"].get("TotalCompletions", 1):
        return Verdict(DONE, completed)
    has_ended = bool(current) and all(map(is_over, current))
    retries = (service["Spec"]["TaskTemplate"].get("RestartPolicy") or {}).get("Condition") != "none"
    if has_ended and not retries:
        return Verdict(FAILED, completed, reason="it ended with a failure")
    return Verdict(PENDING, completed)


def is_current(task: Object, service: Object) -> bool:
    """Whether a task was made from what the service is now."""
    return _container(task["Spec"]) == _container(service["Spec"]["TaskTemplate"])


def _container(template: Object) -> Any:
    spec = {"TaskTemplate": {key: value for key, value in template.items() if key == "ContainerSpec"}}
    return comparison.comparable(spec, {}), template.get("ForceUpdate", 0)


def errors(tasks: Sequence[Object], since: str, is_job: bool) -> list[str]:
    """What went wrong with the newest tasks that failed, each once.

    since: tasks that were made before this time, as the Engine writes it, are left out. is_job: whether they are to end
    """
    found: dict[str, None] = {}
    for task in newest(tasks):
        status = task["Status"]
        if task["CreatedAt"] >= since and has_ended_badly(task, is_job):
            code = (status.get("ContainerStatus") or {}).get("ExitCode")
            end = f" (exit code {code})" if code else ""
            found[f"{_state(task)}: {status.get('Err') or _said(task)}{end}"] = None
    return list(found)[:SHOWN]


def newest(tasks: Sequence[Object]) -> list[Object]:
    """The tasks, the newest first."""
    return sorted(tasks, key=lambda task: str(task["CreatedAt"]), reverse=True)


def second(moment: str) -> str:
    """The second of a time that the Engine writes: the digits behind it are as many as are not 0."""
    return moment[:19]


def has_ended_badly(task: Object, is_job: bool) -> bool:
    """Whether a task failed, was ended for a failure, or ended although it was to stay."""
    return _state(task) in ENDED or bool(task["Status"].get("Err")) or (_state(task) == "complete" and not is_job)


def _said(task: Object) -> str:
    """What the Engine says; of a process that ends properly when it is told to, it does not say what for."""
    if _state(task) == "complete":
        return "it ended by itself, or because its health check failed"
    return str(task["Status"].get("Message", ""))


def is_over(task: Object) -> bool:
    """Whether nothing of a task runs, nor will."""
    return _state(task) in OVER


def _state(task: Object) -> str:
    return str(task["Status"]["State"])


def _runs(task: Object) -> bool:
    return bool(_state(task) == "running" and task["DesiredState"] == "running")


def _stops(task: Object) -> bool:
    return bool(_state(task) == "running" and task["DesiredState"] in ("shutdown", "remove"))


def _iteration(holder: Object, key: str | None) -> int:
    counted = holder.get(key) if key else holder
    iteration = (counted or {}).get("JobIteration") or {}
    return int(iteration.get("Index", 0))
