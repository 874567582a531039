# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a cluster sees that a component works, out of the model's health. None of it starts Airflow.

- startup: from when on the others count; what does not get there within the component's start_timeout is started anew.
- liveness: what fails it is started anew. A worker has none: a worker that has died ends its container by itself, and one
  whose log server alone has died still runs tasks.
- readiness: whether an update may go on, and whether a Service sends to it.

Where heartbeats tell, readiness is that the API's monitor shows one, and that it shows none ends a component only when the
API and the database are well, and it had its time to start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..._model.components import STOP_TIMEOUT
from ..._model.placement import API_NAME
from .. import image
from .. import probes as shared
from .cluster import Component, Target

Probe = dict[str, Any]

STARTUP_PERIOD = 5
"""Seconds between two looks at a component that starts."""

LIVENESS = {"periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 4}
"""Two minutes without an answer: longer than a node under load takes for one."""

READINESS = {"periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 3}

READY_FILE = f"{image.SCRATCH}/consumes"
"""What a worker makes when it consumes its queues, and removes when it starts: it outlives the container in its pod."""

MONITOR = "/api/v2/monitor/health"

ASK = """\
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
connection.request("GET", sys.argv[3])
status = json.load(connection.getresponse()).get(sys.argv[4], {}).get("status")
sys.exit(None if status == "healthy" else f"{sys.argv[4]} is {status}")
"""
"""Whether the API's monitor calls a component healthy: host, port and path of the monitor, the component's name there."""

PYTHON = ("python", "-I", "-S", "-c")
"""Without the packages of the environment, of which some are imported at every start of Python."""


def of(component: Component, target: Target) -> dict[str, Probe]:
    """The probes of a component's container."""
    made: dict[str, Callable[[Component, Target], dict[str, Probe]]] = {
        "http": _http,
        "port": _consuming,
        "heartbeat": _heartbeat,
        "end": lambda _component, _target: {},
    }
    return made[component["health"]["type"]](component, target)


def environment(component: Component) -> dict[str, str]:
    """The variables by which a component tells its probes something."""
    return {shared.READY: READY_FILE} if component["health"]["type"] == "port" else {}


def asks_api(component: Component) -> bool:
    """Whether a component's probes ask the API server."""
    return component["health"]["type"] == "heartbeat"


def _http(component: Component, target: Target) -> dict[str, Probe]:
    """The kubelet asks by itself where a component listens for others; what listens for its own machine is asked there."""
    health = component["health"]
    asked = {"httpGet": {"path": health["path"], "port": health["port"], "scheme": "HTTP"}}
    look = asked if component["port"] == health["port"] else _inside(component, target)
    return {
        "startupProbe": {**look, **_startup(component)},
        "livenessProbe": {**look, **LIVENESS},
        "readinessProbe": {**look, **READINESS},
    }


def _consuming(component: Component, target: Target) -> dict[str, Probe]:
    look = _inside(component, target)
    # One that has never consumed has no task to finish.
    started = {**_startup(component), "terminationGracePeriodSeconds": STOP_TIMEOUT}
    return {"startupProbe": {**look, **started}, "readinessProbe": {**look, **READINESS}}


def _heartbeat(component: Component, target: Target) -> dict[str, Probe]:
    monitor = [API_NAME, str(target.platform.api_port), MONITOR, component["health"]["component"]]
    return {
        "livenessProbe": {
            **_inside(component, target),
            "initialDelaySeconds": component["start_timeout"],
            **LIVENESS,
        },
        "readinessProbe": {**_run([*PYTHON, ASK, *monitor]), **READINESS},
    }


def _inside(component: Component, target: Target) -> Probe:
    """A look from inside the component's container, as on any platform."""
    ready = environment(component).get(shared.READY)
    return _run(shared.command(component["health"], API_NAME, target.platform.api_port, ready) or [])


def _run(command: list[str]) -> Probe:
    return {"exec": {"command": command}}


def _startup(component: Mapping[str, Any]) -> Probe:
    tries = math.ceil(component["start_timeout"] / STARTUP_PERIOD)
    return {"periodSeconds": STARTUP_PERIOD, "timeoutSeconds": STARTUP_PERIOD, "failureThreshold": tries}
