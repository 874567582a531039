# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The modules against a small Swift that keeps its containers in memory and answers as the real one does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _swift
from ansible_collections.airstack.backbone.plugins.modules import swift_container, swift_container_info

KEY = "the-admins-key"
GRANT_HEADERS = ("X-Container-Read", "X-Container-Write")


class Swift(ThreadingHTTPServer):
    """`containers` are their grants by name, `refusals` the status to answer a method with, `calls` what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.containers: dict[str, dict[str, str]] = {}
        self.refusals: dict[str, int] = {}
        self.calls: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Swift

    def log_message(self, *_arguments: Any) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/":
            self.answer(200, body=b"some other server")
        elif asked.path == "/auth/v1.0":
            known = (self.headers["X-Auth-User"], self.headers["X-Auth-Key"]) == ("airflow:admin", KEY)
            headers = {"X-Auth-Token": "token", "X-Storage-Url": f"{self.server.url}/v1/AUTH_airflow"}
            self.answer(200 if known else 401, headers if known else None)
        else:
            marker = parse_qs(asked.query).get("marker", [""])[0]
            page = sorted(name for name in self.server.containers if name > marker)[:2]
            self.answer(200, body=json.dumps([{"name": name} for name in page]).encode())

    def do_HEAD(self) -> None:
        name = self.named("HEAD")
        if "HEAD" in self.server.refusals:
            self.answer(self.server.refusals["HEAD"])
        elif name not in self.server.containers:
            self.answer(404)
        else:
            sizes = {"x-container-object-count": "3", "x-container-bytes-used": "42"}
            # Swift says nothing of a list that is empty.
            grants = {header: value for header, value in self.server.containers[name].items() if value}
            self.answer(204, {**sizes, **grants})

    def do_PUT(self) -> None:
        name = self.named("PUT")
        if "PUT" in self.server.refusals:
            self.answer(self.server.refusals["PUT"])
        else:
            self.server.containers[name] = {header: self.headers[header] or "" for header in GRANT_HEADERS}
            self.answer(201)

    def named(self, method: str) -> str:
        assert self.headers["X-Auth-Token"] == "token"
        name = unquote(self.path.rsplit("/", 1)[1])
        self.server.calls.append(f"{method} {name}")
        return name


@pytest.fixture(name="swift")
def small_swift() -> Iterator[Swift]:
    with Swift() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def arguments(swift: Swift, **more: Any) -> dict[str, Any]:
    return {"auth_url": f"{swift.url}/auth/v1.0", "user": "airflow:admin", "key": KEY, **more}


def test_makes_the_container_for_parts_before_the_bucket(swift: Swift, run_module: Any) -> None:
    users = ["airflow:pool-etl", "airflow:core"]
    wanted = arguments(swift, name="logs", segments=True, readers=users, writers=users[1:])
    result = run_module(swift_container.main, **wanted)
    assert result["changed"]
    assert [call for call in swift.calls if call.startswith("PUT")] == ["PUT logs+segments", "PUT logs"]
    grants = {"X-Container-Read": "airflow:core,airflow:pool-etl", "X-Container-Write": "airflow:core"}
    assert swift.containers == {"logs": grants, "logs+segments": grants}
    told = {"readers": ["airflow:core", "airflow:pool-etl"], "writers": ["airflow:core"]}
    assert result["diff"] == {"before": {}, "after": {"logs": told, "logs+segments": told}}

    again = run_module(swift_container.main, **{**wanted, "readers": users[::-1]})
    assert not again["changed"]
    assert again["diff"] == {"before": {}, "after": {}}
    assert [(each["name"], each["objects"], each["bytes"]) for each in again["containers"]] == [
        ("logs+segments", 3, 42),
        ("logs", 3, 42),
    ]


def test_takes_grants_away(swift: Swift, run_module: Any) -> None:
    swift.containers["logs"] = {"X-Container-Read": "airflow:core, airflow:gone", "X-Container-Write": ".r:*"}
    result = run_module(swift_container.main, **arguments(swift, name="logs", readers=["airflow:core"]))
    assert result["changed"]
    assert swift.containers["logs"] == {"X-Container-Read": "airflow:core", "X-Container-Write": ""}
    assert result["diff"]["before"] == {"logs": {"readers": ["airflow:core", "airflow:gone"], "writers": [".r:*"]}}
    assert not run_module(swift_container.main, **arguments(swift, name="logs", readers=["airflow:core"]))["changed"]


def test_check_mode_changes_nothing(swift: Swift, run_module: Any) -> None:
    result = run_module(swift_container.main, check=True, **arguments(swift, name="logs", readers=["airflow:core"]))
    assert result["changed"]
    assert result["containers"] == [
        {"name": "logs", "readers": ["airflow:core"], "writers": [], "objects": 0, "bytes": 0}
    ]
    assert swift.containers == {}


NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"key": "wrong-key"}, "answered 401: it does not know the user airflow:admin, or has another key."),
        ({"auth_url": f"{NOBODY}/auth/v1.0"}, f"No Swift answers at {NOBODY}/auth/v1.0: "),
    ],
)
def test_a_store_that_is_not_ready_fails_except_in_check_mode(
    swift: Swift, run_module: Any, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    wanted = {**arguments(swift, name="logs"), **changed}
    result = run_module(swift_container.main, **wanted)
    assert result["failed"]
    assert message in result["msg"]
    checked = run_module(swift_container.main, check=True, **wanted)
    assert checked["changed"]
    assert message in warnings[0]
    assert run_module(swift_container_info.main, check=True, **{**arguments(swift), **changed})["failed"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("name", ["user", "key"])
@pytest.mark.parametrize("value", ["hush\nhush", "hush-hüsh", "hush-ключ", "hush\x7f", "hush ", ""])
def test_what_no_header_carries_is_refused_and_not_shown(
    swift: Swift, run_module: Any, name: str, value: str, check: bool
) -> None:
    result = run_module(swift_container.main, check=check, **{**arguments(swift, name="logs"), name: value})
    assert result["failed"]
    assert f"{name} is empty or holds something other than printable ASCII" in result["msg"]
    assert "hush" not in run_module.printed
    assert run_module(swift_container_info.main, **{**arguments(swift), name: value})["failed"]
    assert "hush" not in run_module.printed


def test_a_port_that_speaks_no_http_is_told(run_module: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/auth/v1.0"

        def rudely() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail\r\n")

        threading.Thread(target=rudely, daemon=True).start()
        wanted = {"auth_url": url, "user": "airflow:admin", "key": KEY, "name": "logs"}
        result = run_module(swift_container.main, **wanted)
    assert result["failed"]
    assert f"No Swift answers at {url}: what is there speaks no HTTP" in result["msg"]
    assert KEY not in run_module.printed


@pytest.mark.parametrize("address", ["http://localhost:abc/auth/v1.0", "nonsense"])
def test_what_is_no_address_is_told(swift: Swift, run_module: Any, address: str) -> None:
    result = run_module(swift_container.main, **{**arguments(swift, name="logs"), "auth_url": address})
    assert result["failed"]
    assert f"No Swift answers at {address}: " in result["msg"]


@pytest.mark.parametrize("check", [False, True])
def test_another_server_is_refused(swift: Swift, run_module: Any, check: bool) -> None:
    result = run_module(swift_container.main, check=check, **{**arguments(swift, name="logs"), "auth_url": swift.url})
    assert result["failed"]
    assert "this is not the version 1 authentication of a Swift" in result["msg"]


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ({"HEAD": 403}, "Swift refused to look at logs: it answered 403."),
        ({"PUT": 507}, "Swift refused to write logs: it answered 507."),
    ],
)
def test_a_refusal_is_told(swift: Swift, run_module: Any, refusal: dict[str, int], message: str) -> None:
    swift.refusals = refusal
    result = run_module(swift_container.main, **arguments(swift, name="logs"))
    assert (result["failed"], result["msg"]) == (True, message)


def test_info_tells_all_containers_over_many_pages(swift: Swift, run_module: Any) -> None:
    names = ["a", "b c", "d/e", "f", "g"]
    swift.containers = {name: {"X-Container-Read": "airflow:core", "X-Container-Write": ""} for name in names[:2]}
    swift.containers |= {name: {"X-Container-Read": "", "X-Container-Write": ""} for name in names[2:]}
    result = run_module(swift_container_info.main, **arguments(swift))
    assert not result["changed"]
    assert [container["name"] for container in result["containers"]] == names
    assert result["containers"][1]["readers"] == ["airflow:core"]


def test_info_leaves_out_what_is_missing(swift: Swift, run_module: Any) -> None:
    swift.containers["logs"] = dict.fromkeys(GRANT_HEADERS, "")
    result = run_module(swift_container_info.main, **arguments(swift, names=["nothing", "logs"]))
    assert [container["name"] for container in result["containers"]] == ["logs"]


def test_the_key_is_shown_nowhere(swift: Swift, run_module: Any) -> None:
    run_module(swift_container.main, verbose=True, **arguments(swift, name="logs"))
    assert KEY not in run_module.printed
    assert not any(KEY in line for line in run_module.logged)


def test_one_set_of_grants_has_one_form() -> None:
    assert _swift.grants(["b:y", "a:x", "b:y"], []) == _swift.parse_grants({"X-Container-Read": "a:x, ,b:y,"})
