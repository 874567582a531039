# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a cluster sees that a component works, out of the model's health. None of it starts Airflow.

- startup: from when on the others count; what does not get there within the component's start_timeout is started anew.
- liveness: what fails it is started anew. A worker has none: a worker that has died ends its container by itself, and one
  whose log server alone has died still runs tasks.
- readiness: whether an update may go on, and whether a Service sends to it. A component of which heartbeats tell has no
  other: what the API says of it is no reason to start it anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..._model.placement import API_NAME
from .cluster import Component, Target

Probe = dict[str, Any]

STARTUP_PERIOD = 5
"""Seconds between two looks at a component that starts."""

LIVENESS = {"periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 4}
"""Two minutes without an answer: longer than a node under load takes for one."""

READINESS = {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}

HEARTBEAT = {"periodSeconds": 30, "timeoutSeconds": 20, "failureThreshold": 3}
"""A Python that starts costs more than a look of the kubelet's own."""

MONITOR = "/api/v2/monitor/health"

ASK = """\
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=15)
connection.request("GET", sys.argv[3])
status = json.load(connection.getresponse()).get(sys.argv[4], {}).get("status")
sys.exit(None if status == "healthy" else f"{sys.argv[4]} is {status}")
"""
"""Whether the API's monitor calls a component healthy: host, port and path of the monitor, the component's name there."""

PYTHON = ("python", "-I", "-S", "-c")
"""Without the packages of the environment, of which some are imported at every start of Python."""


def of(component: Component, target: Target) -> dict[str, Probe]:
    """The probes of a component's container."""
    health = component["health"]
    made: dict[str, Callable[[], dict[str, Probe]]] = {
        "http": lambda: _local(component, _http(health)),
        "port": lambda: _local(component, _tcp(health["port"])),
        "heartbeat": lambda: _heartbeat(component, target),
        "end": dict,
    }
    return made[health["type"]]()


def _local(component: Component, look: Probe) -> dict[str, Probe]:
    return {
        "startupProbe": {**look, **_startup(component)},
        **({} if component["kind"] == "worker" else {"livenessProbe": {**look, **LIVENESS}}),
        "readinessProbe": {**look, **READINESS},
    }


def _startup(component: Component) -> Probe:
    tries = math.ceil(component["start_timeout"] / STARTUP_PERIOD)
    return {"periodSeconds": STARTUP_PERIOD, "timeoutSeconds": STARTUP_PERIOD, "failureThreshold": tries}


def _heartbeat(component: Component, target: Target) -> dict[str, Probe]:
    """Readiness by the API's monitor; where the component also listens, that tells whether it lives."""
    where = [API_NAME, str(target.platform.api_port), MONITOR]
    asked = {"exec": {"command": [*PYTHON, ASK, *where, component["health"]["component"]]}}
    ready = {"readinessProbe": {**asked, **HEARTBEAT}}
    if component["port"] is None:
        return ready
    look = _tcp(component["port"])
    return {"startupProbe": {**look, **_startup(component)}, "livenessProbe": {**look, **LIVENESS}, **ready}


def asks_api(component: Component) -> bool:
    """Whether a component's probes ask the API server."""
    return component["health"]["type"] == "heartbeat"


def _http(health: dict[str, Any]) -> Probe:
    return {"httpGet": {"path": health["path"], "port": health["port"], "scheme": "HTTP"}}


def _tcp(port: int) -> Probe:
    return {"tcpSocket": {"port": port}}
