# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Brings a stack to what it shall be, and waits until it is that."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from http.client import NOT_FOUND
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import comparison, tasks
from ansible_collections.airstack.backbone.plugins.module_utils._swarm.engine import Engine, EngineError, Login
from ansible_collections.airstack.backbone.plugins.module_utils._swarm.stack import (
    Changes,
    Found,
    Service,
    StackError,
    Wanted,
)

PAUSE = 1.0
"""Seconds between two looks."""

LOG_LINES = 15
"""Of the log of a task that failed."""

REMOVAL = 60
"""Seconds in which the Engine lets go of a network whose last task has ended."""


def look(engine: Engine, name: str) -> Found:
    """What the Swarm has of a stack.

    :raises StackError: the Engine is no manager of a Swarm
    :raises EngineError: it cannot be asked
    """
    info = engine.get("/info")
    swarm = info["Swarm"]
    if not swarm.get("ControlAvailable"):
        raise StackError(
            "the Docker Engine of this host is no manager of a Swarm"
            f" ({swarm.get('LocalNodeState', 'inactive')}). Make one with `docker swarm init`, or run this on a manager."
        )
    own = {"label": [f"{comparison.NAMESPACE}={name}"]}
    services = {each["Spec"]["Name"]: each for each in engine.get("/services", filters=own)}
    networks = engine.get("/networks")
    found_tasks: dict[str, list[Any]] = {}
    for task in _tasks(engine, list(services)):
        found_tasks.setdefault(task["ServiceID"], []).append(task)
    return Found(
        services=services,
        networks={
            each["Name"]: each for each in networks if (each.get("Labels") or {}).get(comparison.NAMESPACE) == name
        },
        configs={each["Spec"]["Name"]: each for each in engine.get("/configs", filters=own)},
        secrets={each["Spec"]["Name"]: each for each in engine.get("/secrets", filters=own)},
        nodes=engine.get("/nodes"),
        network_names={each["Id"]: each["Name"] for each in networks},
        tasks=found_tasks,
        time=info["SystemTime"],
    )


def _tasks(engine: Engine, names: Sequence[str]) -> list[Any]:
    return list(engine.get("/tasks", filters={"service": list(names)})) if names else []


def apply(
    engine: Engine, wanted: Wanted, found: Found, planned: Changes, patience: int, login: Login | None
) -> list[str]:
    """Does what is planned, wave by wave, each only when the one before works.

    login: at the registry of the services' images. patience: seconds to wait for processes that finish their work before
    they make room for others. The services whose processes take longer are returned; the Engine goes on with them by itself.

    :raises StackError: a service has not come to work
    """
    label = {comparison.NAMESPACE: wanted.name}
    for network in planned.networks:
        engine.post("/networks/create", {**network, "CheckDuplicate": True, "Labels": label})
    ids = {kind: {name: each["ID"] for name, each in there.items()} for kind, there in _versioned(found)}
    for kind, names, contents in (
        ("configs", planned.configs, wanted.configs),
        ("secrets", planned.secrets, wanted.secrets),
    ):
        for name in names:
            data = base64.b64encode(contents[name].encode()).decode()
            ids[kind][name] = engine.post(f"/{kind}/create", {"Name": name, "Labels": label, "Data": data})["ID"]
    # A label that goes before its service has the Engine end what runs there, and run a job again elsewhere.
    for node in planned.labels:
        _relabel(engine, node.number, {**node.before, **node.after})
    late: list[str] = []
    for wave in sorted({service.wave for service in wanted.services}):
        here = [service for service in wanted.services if service.wave == wave]
        changed = [service for service in here if service.name in planned.services]
        for service in changed:
            _bring(engine, service, found, ids, service.name in planned.again, login)
        late += _wait(engine, here, {service.name: found.time for service in changed}, patience)
    late += _remove(engine, found, planned, patience)
    for node in planned.labels:
        _relabel(engine, node.number, node.after)
    return late


def _versioned(found: Found) -> list[tuple[str, Mapping[str, Any]]]:
    return [("configs", found.configs), ("secrets", found.secrets)]


def _relabel(engine: Engine, number: str, labels: Mapping[str, str]) -> None:
    node = engine.get(f"/nodes/{number}")
    if node["Spec"].get("Labels", {}) == labels:
        return
    spec = {**node["Spec"], "Labels": dict(labels)}
    engine.post(f"/nodes/{number}/update", spec, version=node["Version"]["Index"])


def _bring(
    engine: Engine,
    service: Service,
    found: Found,
    ids: Mapping[str, Mapping[str, str]],
    is_again: bool,
    login: Login | None,
) -> None:
    spec = comparison.resolved(service.spec, ids["configs"], ids["secrets"])
    headers = login.header(spec["TaskTemplate"]["ContainerSpec"]["Image"]) if login else None
    there = found.services.get(service.name)
    if there is None:
        engine.post("/services/create", spec, headers)
        return
    count = there["Spec"]["TaskTemplate"].get("ForceUpdate", 0) + is_again
    spec["TaskTemplate"] = {**spec["TaskTemplate"], "ForceUpdate": count}
    engine.post(f"/services/{there['ID']}/update", spec, headers, version=there["Version"]["Index"])


def _wait(engine: Engine, services: Sequence[Service], changed: Mapping[str, str], patience: int) -> list[str]:
    """Waits until the services work; what still drains is returned.

    changed: from which time on the tasks of those services are to be looked at that this run has changed
    """
    begin = time.monotonic()
    started = {service.name: begin for service in services}
    progress = dict.fromkeys(started, (-1, ""))
    waiting = {service.name: service for service in services}
    late = []
    while waiting:
        for name, service in list(waiting.items()):
            there, verdict = _verdict(engine, service, name in changed)
            now = time.monotonic()
            here = (verdict.progress, verdict.stage)
            if here != progress[name] or verdict.state == tasks.DRAINING:
                progress[name], started[name] = here, now
            if verdict.state == tasks.DONE:
                del waiting[name]
            elif verdict.state == tasks.FAILED:
                raise StackError(_failure(engine, there, verdict.reason, changed.get(name, "")))
            elif verdict.state == tasks.DRAINING and now - begin > patience:
                late.append(name)
                del waiting[name]
            elif now - started[name] > service.timeout:
                reason = f"{verdict.progress} of its processes work after {service.timeout} s without another one"
                raise StackError(_failure(engine, there, reason, changed.get(name, "")))
        if waiting:
            time.sleep(PAUSE)
    return late


def _verdict(engine: Engine, service: Service, is_changed: bool) -> tuple[Any, tasks.Verdict]:
    there = engine.get(f"/services/{service.name}")
    listed = _tasks(engine, [service.name])
    if service.is_job:
        return there, tasks.job(there, listed)
    return there, tasks.replicas(there, listed, is_changed)


def _failure(engine: Engine, service: Mapping[str, Any], reason: str, since: str) -> str:
    """What a person needs to know of a service that does not work."""
    name = service["Spec"]["Name"]
    listed = [task for task in tasks.newest(_tasks(engine, [name])) if task["CreatedAt"] >= tasks.second(since)]
    lines = [f"The service {name} does not work: {reason}."]
    if said := (service.get("UpdateStatus") or {}).get("Message"):
        lines.append(f"The Engine says: {said}")
    is_job = "ReplicatedJob" in service["Spec"]["Mode"]
    if found := tasks.errors(listed, "", is_job):
        lines += ["Its newest tasks:", *(f"  {error}" for error in found)]
    for task in listed:
        if tasks.has_ended_badly(task, is_job) and (log := _log(engine, task["ID"])):
            lines += ["The last lines of one of them:", *(f"  {line}" for line in log)]
            break
    return "\n".join(lines)


def _log(engine: Engine, task: str) -> list[str]:
    try:
        return engine.log(f"/tasks/{task}/logs", LOG_LINES)
    except EngineError:
        # The node that had it is away, or keeps no logs that can be read.
        return []


def _remove(engine: Engine, found: Found, planned: Changes, patience: int) -> list[str]:
    """Removes what is no longer wanted; the services whose processes still finish their work are returned.

    Until they have done so, what they use stays, and goes in a later run.
    """
    for name in planned.removed_services:
        engine.delete(f"/services/{found.services[name]['ID']}")
    late = _not_ended(engine, {found.services[name]["ID"]: name for name in planned.removed_services}, patience)
    if late:
        return late
    for name in planned.removed_networks:
        _let_go(engine, name, found.networks[name]["Id"])
    for kind, names, there in (
        ("configs", planned.removed_configs, found.configs),
        ("secrets", planned.removed_secrets, found.secrets),
    ):
        for name in names:
            engine.delete(f"/{kind}/{there[name]['ID']}")
    return []


def _not_ended(engine: Engine, removed: Mapping[str, str], patience: int) -> list[str]:
    """Those of the removed services, names by ID, whose processes run for longer than the patience."""
    until = time.monotonic() + patience
    while removed:
        running = {task["ServiceID"] for task in engine.get("/tasks") if not tasks.is_over(task)}
        late = [name for number, name in removed.items() if number in running]
        if not late or time.monotonic() > until:
            return late
        time.sleep(PAUSE)
    return []


def _let_go(engine: Engine, name: str, number: str) -> None:
    """Removes a network. The Engine refuses it until some seconds after its last task, or only says that it is gone."""
    until = time.monotonic() + REMOVAL
    while True:
        said = _removed(engine, number)
        if said is None:
            return
        if time.monotonic() > until:
            raise StackError(
                f"the network {name} is still in use ({said}): do processes of a removed service still finish their work, or"
                " does something else use it? Run this again when they are done."
            )
        time.sleep(PAUSE)


def _removed(engine: Engine, number: str) -> str | None:
    """None when a network is gone, else why not."""
    try:
        engine.delete(f"/networks/{number}")
        engine.get(f"/networks/{number}")
    except EngineError as error:
        return None if error.status == NOT_FOUND else str(error)
    return "the Engine has it still"
