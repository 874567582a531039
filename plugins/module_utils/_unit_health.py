# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a unit that runs also works: seen from its own host, cheaply enough to ask every second."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

TIMEOUT = 10
"""Seconds for one answer."""

SETTLING = 30
"""Seconds that a process has to live where its heartbeat may be another host's: twice what a component takes to fail at a
broken configuration, for which 3 to 15 s were measured with Airflow 3.3.2 on two cores."""

MONITOR = "/api/v2/monitor/health"


def probe(health: Mapping[str, Any]) -> Callable[[float], str | None]:
    """A function of the time at which the unit started (seconds since the epoch): what is wrong, None where nothing is.

    health: {type: http, url}, {type: heartbeat, component, urls of API servers, hosts}, {type: port, port} or
    {type: none}. hosts is how many run the component; as many as there are API servers where it is not told.
    """
    return {
        "http": lambda started: _http(health["url"]),
        "heartbeat": lambda started: (
            _heartbeat(health["urls"], health["component"], started)
            or _settling(health.get("hosts") or len(health["urls"]), started)
        ),
        "port": lambda started: _port(health["port"]),
        "none": lambda started: None,
    }[health["type"]]


def _http(url: str) -> str | None:
    try:
        status, _body = _get(url)
    except (OSError, ValueError) as error:
        return f"does not answer at {url} ({error})"
    return None if status == http.HTTPStatus.OK else f"answers {status} at {url}"


def _heartbeat(urls: Sequence[str], component: str, started: float) -> str | None:
    problem = "has no API server to ask for its heartbeat"
    for url in urls:
        try:
            _status, body = _get(url + MONITOR)
            latest = json.loads(body)[component][f"latest_{component}_heartbeat"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"cannot be judged: {url}{MONITOR} does not tell its heartbeat ({error or type(error).__name__})"
            continue
        if latest and datetime.fromisoformat(latest.replace("Z", "+00:00")).timestamp() >= started:
            return None
        problem = f"gave no heartbeat since it started (last one: {latest or 'never'})"
    return problem


def _settling(hosts: int, started: float) -> str | None:
    """The monitor tells the newest heartbeat of all hosts; with several, this one's own process has to last besides.

    A process that systemd restarts begins anew, so its age says that neither its invocation nor its restarts changed.
    """
    age = time.time() - started
    if hosts == 1 or age >= SETTLING:
        return None
    return f"has run for {max(age, 0):.0f} s; the heartbeat may be another host's, so that it works is known after {SETTLING} s"


def _port(port: int) -> str | None:
    try:
        socket.create_connection(("localhost", port), timeout=TIMEOUT).close()
    except OSError as error:
        return f"does not listen on port {port} ({error})"
    return None


def _get(url: str) -> tuple[int, bytes]:
    """Status and body of an address; no proxy is asked, since it is this host's own or a neighbour's."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", urlunsplit(("", "", parts.path or "/", parts.query, "")))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error or type(error).__name__}") from error
    finally:
        connection.close()
