# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a unit works, asked of a real HTTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _unit_health
from ansible_collections.airstack.backbone.plugins.module_utils._unit_health import MONITOR, SETTLING, probe

STARTED = 1_700_000_000.0
ANSWERS: dict[str, tuple[int, Any]] = {
    "/well": (200, "fine"),
    "/ill": (503, "not so"),
    "/asked?deep=1": (200, "fine"),
    "/": (200, "fine"),
    f"/fresh{MONITOR}": (200, {"triggerer": {"latest_triggerer_heartbeat": "2023-11-14T22:13:21.5Z"}}),
    f"/old{MONITOR}": (200, {"triggerer": {"latest_triggerer_heartbeat": "2023-11-14T22:13:19.123456Z"}}),
    f"/never{MONITOR}": (200, {"triggerer": {"latest_triggerer_heartbeat": None}}),
    f"/odd{MONITOR}": (200, ["no", "monitor"]),
}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

    def log_message(self, *_arguments: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture(name="port", scope="module")
def server_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(name="closed")
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/well", None), ("/asked?deep=1", None), ("", None), ("/ill", "answers 503 at http://127.0.0.1:{port}/ill")],
)
def test_http_wants_200(port: int, path: str, problem: str | None) -> None:
    found = probe({"type": "http", "url": f"http://127.0.0.1:{port}{path}"})(STARTED)
    assert found == (problem.format(port=port) if problem else None)


def test_http_that_is_not_there_is_named(closed: int) -> None:
    url = f"http://127.0.0.1:{closed}/well"
    assert f"does not answer at {url}" in str(probe({"type": "http", "url": url})(STARTED))


@pytest.mark.parametrize("address", ["localhost:abc", "localhost:99999", "[::1"])
def test_an_address_that_is_none_is_a_problem_and_no_traceback(address: str) -> None:
    url = f"http://{address}/x"
    assert f"does not answer at {url}" in str(probe({"type": "http", "url": url})(STARTED))


def test_what_is_no_http_is_a_problem_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def rudely() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail\r\n")

        threading.Thread(target=rudely, daemon=True).start()
        assert "no HTTP" in str(probe({"type": "http", "url": f"http://127.0.0.1:{port}/"})(STARTED))


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["/fresh"], None),
        (["/old"], "gave no heartbeat since it started (last one: 2023-11-14T22:13:19.123456Z)"),
        (["/never"], "gave no heartbeat since it started (last one: never)"),
        (["/old", "/fresh"], None),
        ([], "has no API server to ask for its heartbeat"),
    ],
)
def test_a_heartbeat_is_younger_than_the_process(port: int, paths: list[str], problem: str | None) -> None:
    urls = [f"http://127.0.0.1:{port}{path}" for path in paths]
    assert probe({"type": "heartbeat", "component": "triggerer", "urls": urls})(STARTED) == problem


@pytest.mark.parametrize(
    ("servers", "hosts", "age", "is_settling"),
    [
        (1, None, 2, False),
        (2, None, 2, True),
        (2, None, SETTLING, False),
        (1, 2, 2, True),
        (2, 1, 2, False),
    ],
)
def test_a_process_whose_heartbeat_may_be_anothers_has_to_last(
    port: int, monkeypatch: pytest.MonkeyPatch, servers: int, hosts: int | None, age: int, is_settling: bool
) -> None:
    monkeypatch.setattr(_unit_health.time, "time", lambda: STARTED + age)
    urls = [f"http://127.0.0.1:{port}/fresh"] * servers
    problem = probe({"type": "heartbeat", "component": "triggerer", "urls": urls, "hosts": hosts})(STARTED)
    assert (problem is not None) == is_settling
    assert not is_settling or "has run for 2 s; the heartbeat may be another host's" in str(problem)


def test_the_next_api_server_is_asked_when_one_is_gone(port: int, closed: int) -> None:
    urls = [f"http://127.0.0.1:{closed}", f"http://127.0.0.1:{port}/odd", f"http://127.0.0.1:{port}/fresh"]
    health = {"type": "heartbeat", "component": "triggerer", "urls": urls}
    assert probe(health)(STARTED) is None
    assert "does not tell its heartbeat" in str(probe({**health, "urls": urls[:2]})(STARTED))


def test_a_port_is_listened_on_or_not(port: int, closed: int) -> None:
    assert probe({"type": "port", "port": port})(STARTED) is None
    assert f"does not listen on port {closed}" in str(probe({"type": "port", "port": closed})(STARTED))
