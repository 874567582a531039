# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a component from inside its own container: a few lines of Python, about 50 ms each.

Airflow's own commands for that take seconds of CPU time, at every look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PATIENCE = 5
"""Seconds for one connection."""

_HTTP = """\
import socket
with socket.create_connection(("127.0.0.1", {port}), {patience}) as connection:
    connection.sendall(b"GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n")
    raise SystemExit(connection.recv(64).split()[1:2] != [b"200"])
"""

READY = "AIRFLOW_BACKBONE_READY"
"""The variable of a file that a worker makes when it consumes its queues; its port is open long before that."""

_READY = """\
import os
os.stat("{ready}")
"""

_PORT = """\
import socket
socket.create_connection(("127.0.0.1", {port}), {patience}).close()
"""

# The API server is a machine of its own: that it cannot be asked, or does not reach the database itself, is no fault of
# the component, which is not to be ended for it.
_HEARTBEAT = """\
import json, socket
try:
    with socket.create_connection(("{host}", {port}), {patience}) as connection:
        connection.sendall(b"GET /api/v2/monitor/health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    health = json.loads(answer.partition(b"\\r\\n\\r\\n")[2])
    statuses = [health[name]["status"] for name in ("metadatabase", "{component}")]
except (OSError, ValueError, LookupError, TypeError):
    statuses = []
raise SystemExit(statuses == ["healthy", "unhealthy"])
"""


def command(health: Mapping[str, Any], api_host: str, api_port: int, ready: str | None = None) -> list[str] | None:
    """The program of a look and its arguments; it ends with 0 where the component works. None: there is nothing to look at.

    health: the component's. api_host, api_port: where an API server answers. ready: the file that it makes when it works.
    """
    made: dict[str, Callable[[], str | None]] = {
        "http": lambda: _HTTP.format(port=health["port"], path=health["path"], patience=PATIENCE),
        "port": lambda: _PORT.format(port=health["port"], patience=PATIENCE),
        "heartbeat": lambda: _HEARTBEAT.format(
            host=api_host, port=api_port, component=health["component"], patience=PATIENCE
        ),
        "end": lambda: None,
    }
    text = made[health["type"]]()
    # Without the packages of the environment, of which some are imported at every start of Python.
    if text is None:
        return None
    return ["python", "-I", "-S", "-c", (_READY.format(ready=ready) if ready else "") + text]
