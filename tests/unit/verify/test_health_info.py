# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How the doctor asks: against an HTTP server that answers as Airflow's REST API does, and a real directory of releases."""

from __future__ import annotations

import http.server
import json
import pathlib
import stat
import subprocess
import threading
import types
import typing as t
import urllib.parse

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _health
from ansible_collections.airstack.backbone.plugins.modules import health_info
from ansible_collections.airstack.backbone.tests.unit.clock import Clock

PASSWORD = "the admin's"
DAGS = [{"dag_id": f"dag_{number:03}", "bundle_name": "etl", "bundle_version": "r1"} for number in range(250)]
LISTS: dict[str, tuple[str, list[t.Any]]] = {
    "/api/v2/jobs": ("jobs", [{"job_type": "SchedulerJob"}]),
    "/api/v2/dags": ("dags", DAGS),
    "/api/v2/importErrors": ("import_errors", []),
}


class Airflow(http.server.BaseHTTPRequestHandler):
    """Pages hold 100 entries at most, and lists are for those with a token."""

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/api/v2/version":
            self._answer(200, {"version": "3.3.2"})
        elif url.path == "/api/v2/monitor/health":
            self._answer(200, {"metadatabase": {"status": "healthy"}})
        elif self.headers["Authorization"] != "Bearer a token":
            self._answer(401, {"detail": "Not authenticated"})
        else:
            key, entries = LISTS[url.path]
            offset, limit = int(query.get("offset", 0)), min(int(query["limit"]), 100)
            self._answer(200, {key: entries[offset : offset + limit], "total_entries": len(entries)})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if sent == {"username": "admin", "password": PASSWORD}:
            self._answer(201, {"access_token": "a token"})
        else:
            self._answer(401, {"detail": "Invalid credentials"})

    def _answer(self, status: int, content: dict[str, t.Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_arguments: t.Any) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture(name="port", scope="module")
def api_server() -> t.Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Airflow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(name="plan")
def small_plan(port: int, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    return {
        "platform": "systemd",
        "hosts": [{"name": "control1", "address": "127.0.0.1"}],
        "components": [{"name": "api-server", "kind": "api-server", "replicas": 1}],
        "api": {
            "servers": [{"host": "control1", "url": f"http://127.0.0.1:{port}"}],
            "port": port,
            "admin_user": "admin",
        },
        "broker": {"host": "10.0.0.11", "port": 5672, "vhost": "airflow", "user": "airflow"},
        "dag_storage": {"path": str(tmp_path), "sentinel": ".airflow-dag-storage"},
        "pools": [{"name": "etl", "queues": ["etl"], "hosts": ["worker1"], "machines": ["worker1"]}],
        "sources": [{"name": "etl"}],
    }


def look(plan: dict[str, t.Any], **changed: t.Any) -> dict[str, t.Any]:
    """One look with the module's parameters, of which some are changed."""

    def run_command(command: list[str], data: str) -> tuple[int, str, str]:
        done = subprocess.run(command, input=data, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    params = {
        "plan": plan,
        "broker": None,
        "admin_password": PASSWORD,
        "broker_password": "the broker's",
        "python": "/nonexistent/python",
        "image": None,
        **changed,
    }
    module = types.SimpleNamespace(params=params, run_command=run_command)
    return health_info.Look(t.cast("t.Any", module), params["plan"]).take()


def interpreter(path: pathlib.Path, shell: str) -> str:
    """A program that stands in for Airflow's Python; it gets the question on standard input."""
    path.write_text(f"#!/bin/sh\n{shell}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def publish(storage: pathlib.Path, release: str, content: str) -> None:
    directory = storage / "etl" / "releases" / release / "nested"
    directory.mkdir(parents=True)
    (directory / "a.py").write_text(content, encoding="utf-8")
    (storage / "etl" / "current").symlink_to(f"releases/{release}")
    (storage / ".airflow-dag-storage").touch()


def test_all_pages_of_a_list_are_read(plan: dict[str, t.Any]) -> None:
    seen = look(plan)
    assert seen["login"] is None
    assert seen["dags"] == DAGS
    assert seen["import_errors"] == []
    assert seen["jobs"] == [{"job_type": "SchedulerJob"}]
    assert seen["apis"][0]["version"] == {"version": "3.3.2"}


def test_a_wrong_password_is_told_from_an_api_that_does_not_answer(plan: dict[str, t.Any]) -> None:
    seen = look(plan, admin_password="another")
    assert seen["login"] == {"user": "admin", "error": "401 Unauthorized", "is_refused": True}
    assert seen["dags"] is None


def test_an_api_that_does_not_answer_says_why(plan: dict[str, t.Any]) -> None:
    plan["api"]["servers"][0]["url"] = "http://127.0.0.1:1"
    seen = look(plan)
    assert seen["apis"] == [{"host": "control1", "url": "http://127.0.0.1:1", "error": "Connection refused"}]
    assert seen["login"] is None


def test_what_answers_without_json_is_no_api(plan: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Airflow, "_answer", lambda self, *_: (self.send_response(200), self.end_headers()))
    assert "error" in look(plan)["apis"][0]


def test_what_answers_with_no_object_is_no_api(plan: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Airflow, *_: t.Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    monkeypatch.setattr(Airflow, "_answer", answer)
    (api,) = look(plan)["apis"]
    assert api["error"] == "/api/v2/version gave no JSON object"
    assert _health.examine({**plan, "sources": []}, {**look(plan), "queues": None})[0].part == "API server on control1"


def test_the_broker_is_asked_by_another_interpreter_and_never_in_its_arguments(
    plan: dict[str, t.Any], tmp_path: pathlib.Path
) -> None:
    answer = {"queues": {"etl": {"consumers": 1, "messages": 0}}}
    asked, arguments = tmp_path / "asked", tmp_path / "arguments"
    python = interpreter(tmp_path / "python", f"cat >{asked}; echo \"$@\" >{arguments}; echo '{json.dumps(answer)}'")
    assert look(plan, python=python)["queues"] == answer["queues"]
    assert json.loads(asked.read_text())["password"] == "the broker's"
    assert "the broker's" not in arguments.read_text()
    assert "queue_declare" in arguments.read_text()


@pytest.mark.parametrize(
    ("shell", "error"),
    [
        ('echo \'{"error": "refused"}\'', "refused"),
        ("echo 'Traceback' >&2; echo 'SyntaxError: no' >&2; exit 1", "SyntaxError: no"),
    ],
)
def test_a_broker_that_could_not_be_asked_says_why(
    plan: dict[str, t.Any], tmp_path: pathlib.Path, shell: str, error: str
) -> None:
    assert look(plan, python=interpreter(tmp_path / "python", shell))["queues"] == {"": {"error": error}}


def test_a_core_that_is_not_there_is_told(plan: dict[str, t.Any]) -> None:
    assert "/nonexistent/python is not there" in look(plan)["queues"][""]["error"]


def test_a_broker_of_another_kind_is_not_asked(plan: dict[str, t.Any]) -> None:
    assert look(plan, broker={"scheme": "other"})["queues"] is None


def test_redis_that_does_not_answer_is_told(plan: dict[str, t.Any]) -> None:
    place = {"host": "127.0.0.1", "port": 1, "user": "airflow", "pools": [{"name": "etl", "user": "airflow-etl"}]}
    assert "refused" in look(plan, broker={"scheme": "redis", **place})["queues"][""]["error"]
    sentinel = {"master_name": "airflow", "nodes": [{"address": "127.0.0.1", "port": 1}]}
    asked = look(plan, broker={"scheme": "sentinel", "sentinel": sentinel, **place})
    assert "no Sentinel names a master" in asked["queues"][""]["error"]


@pytest.mark.parametrize(
    ("content", "dag_files"),
    [
        ("with DAG('a') as dag: ...", ["nested/a.py"]),
        ("@dag(schedule=None)\ndef a(): ...", ["nested/a.py"]),
        ("@sdk.dag\ndef a(): ...", ["nested/a.py"]),
        ("from airflow.sdk import DAG  # a dag's helper\nx: DAG", []),
    ],
)
def test_releases_are_read_from_the_storage(
    plan: dict[str, t.Any], tmp_path: pathlib.Path, content: str, dag_files: list[str]
) -> None:
    publish(tmp_path, "r1", content)
    (release,) = look(plan)["releases"].values()
    assert (release["release"], release["dag_files"]) == ("r1", dag_files)
    assert release["published"] == (tmp_path / "etl" / "current").lstat().st_mtime


def test_what_is_named_like_a_file_and_is_none_defines_no_dag(plan: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    publish(tmp_path, "r1", "with DAG('a') as dag: ...")
    release = tmp_path / "etl" / "releases" / "r1"
    (release / "package.py").mkdir()
    (release / "gone.py").symlink_to("nowhere")
    (release / "round.py").symlink_to("round.py")
    (seen,) = look(plan)["releases"].values()
    assert seen["dag_files"] == ["nested/a.py"]


def test_a_link_that_leads_nowhere_is_no_release(plan: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    publish(tmp_path, "r1", "")
    (tmp_path / "etl" / "current").unlink()
    (tmp_path / "etl" / "current").symlink_to("releases/gone")
    assert look(plan)["releases"]["etl"]["release"] is None


def test_a_directory_without_the_sentinel_is_not_the_storage(plan: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    (tmp_path / "etl").mkdir()
    assert look(plan)["releases"] is None


class Changing:
    """A look that finds something wrong a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.taken = 0

    def take(self) -> dict[str, t.Any]:
        self.taken += 1
        return {"is_wrong": self.taken <= self.times}


@pytest.mark.parametrize(
    ("times", "timeout", "is_final", "taken"),
    [(0, 180, False, 1), (2, 180, False, 3), (99, 0, False, 1), (99, 180, True, 1), (99, 9, False, 5)],
)
def test_the_doctor_waits_as_long_as_it_may_help(
    monkeypatch: pytest.MonkeyPatch, times: int, timeout: int, is_final: bool, taken: int
) -> None:
    monkeypatch.setattr(health_info, "time", Clock())
    finding = _health.Finding("a", "b", "c", is_final=is_final)
    monkeypatch.setattr(health_info._health, "examine", lambda _plan, seen: [finding] if seen["is_wrong"] else [])
    look = Changing(times)
    health_info.wait(t.cast("t.Any", look), {}, timeout)
    assert look.taken == taken
