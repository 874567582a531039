# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A small Airflow: the part of its REST API that tells of bundles, and a dag-processor that goes on when it is told to.

Answers have the fields that those of Airflow 3.3.2 have (api_fastapi/core_api/datamodels), as far as they are read. The
dag-processor does what that one does (dag_processing/manager.py), one look of a client after the other.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union
from urllib.parse import parse_qs, unquote, urlsplit

USER = "admin"
PASSWORD = "the admin's"
PAGE = 3
"""The server's maximum_page_limit."""

Files = dict[str, Union[list[str], str]]
"""A release: the dag_ids that each file defines, or the text of the error that keeps it from being read."""


class Airflow(ThreadingHTTPServer):
    """`dags`, `errors`, `pools`, `runs`, `tasks`, `versions` are the entries of each list.

    `puts` are the files that were announced, `refusals` the status to answer a path with, `asked` the paths that were
    asked for, `busy` the files of which a request waits already.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dags: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, dict[str, Any]] = {}
        self.pools = [{"name": "default_pool"}]
        self.runs: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}
        self.puts: list[str] = []
        self.asked: list[str] = []
        self.refusals: dict[str, int] = {}
        self.busy: set[str] = set()
        self.processors: dict[str, Processor] = {}

    @property
    def arguments(self) -> dict[str, Any]:
        """The modules' arguments that lead here."""
        return {"hosts": ["127.0.0.1"], "port": self.server_port, "user": USER, "password": PASSWORD}

    def lists(self) -> dict[str, tuple[str, list[dict[str, Any]]]]:
        versions = [
            {"dag_id": dag_id, "bundle_name": self.dags[dag_id]["bundle_name"], "bundle_version": release}
            for dag_id, release in self.versions.items()
        ]
        return {
            "dags": ("dags", sorted(self.dags.values(), key=lambda dag: dag["dag_id"])),
            "importErrors": ("import_errors", list(self.errors.values())),
            "pools": ("pools", self.pools),
            "dags/~/dagVersions": ("dag_versions", versions),
        }

    def cursors(self) -> dict[str, tuple[str, list[dict[str, Any]]]]:
        return {
            "dags/~/dagRuns": ("dag_runs", self.runs),
            "dags/~/dagRuns/~/taskInstances": ("task_instances", self.tasks),
        }


class Processor:
    """The dag-processor's part of one bundle.

    `works` is whether it runs at all, `writes` whether it stores what DAGs look like, `idle` how many looks it takes
    until it parses all files again and looks by itself which release is current; None where a test is over before.
    """

    def __init__(self, airflow: Airflow, bundle: str, releases: dict[str, Files], current: str) -> None:
        self.airflow = airflow
        self.bundle = bundle
        self.releases = releases
        self.current = current
        self.taken = ""
        self.works = True
        self.writes = True
        self.idle: int | None = None
        self._idled = 0
        self._queue: list[tuple[str, str]] = []
        self._clock = 0
        airflow.processors[bundle] = self
        self.take_up()
        while self._queue:
            self.step()

    def tell(self, file: str) -> None:
        """A file is announced: the path of what waits to be parsed is that of the release so far."""
        if self.works:
            self._queue.append((file, self.taken))
            self.take_up()

    def take_up(self) -> None:
        """Look which release is current: new files are parsed, the DAGs and errors of missing ones vanish."""
        if self.taken == self.current:
            return
        files = self.releases[self.current]
        former = self.releases.get(self.taken, {})
        self.taken = self.current
        self._queue += [(file, self.current) for file in files if file not in former]
        self._queue = [(file, release) for file, release in self._queue if file in files]
        for dag in self.airflow.dags.values():
            dag["is_stale"] |= dag["bundle_name"] == self.bundle and dag["relative_fileloc"] not in files
        for file in former.keys() - files.keys():
            self.airflow.errors.pop(file, None)

    def step(self) -> None:
        """Parse the next file and store it as the release that is taken up now."""
        if not self.works:
            return
        if not self._queue:
            self._idled += 1
            if self._idled == self.idle:
                self._idled = 0
                self.take_up()
                self._queue += [(file, self.taken) for file in self.releases[self.taken]]
            return
        file, release = self._queue.pop(0)
        content = self.releases[release].get(file, [])
        if isinstance(content, str):
            self.airflow.errors[file] = {
                "filename": file,
                "bundle_name": self.bundle,
                "stack_trace": content.format(path=self.path(release, file)),
                "timestamp": self._now(),
            }
            for dag in self.airflow.dags.values():
                if dag["relative_fileloc"] == file:
                    dag.update(is_stale=True, has_import_errors=True)
            return
        self.airflow.errors.pop(file, None)
        for dag_id in content:
            self.airflow.dags[dag_id] = {
                "dag_id": dag_id,
                "bundle_name": self.bundle,
                "bundle_version": self.taken,
                "relative_fileloc": file,
                "fileloc": self.path(release, file),
                "last_parsed_time": self._now(),
                "is_paused": dag_id != "unpaused",
                "is_stale": False,
                "has_import_errors": False,
                "file_token": f"{self.bundle}/{file}.signed",
            }
            if self.writes:
                self.airflow.versions[dag_id] = self.taken

    def _now(self) -> str:
        self._clock += 1
        return f"2026-11-26T10:{self._clock // 60:02}:{self._clock % 60:02}.5Z"

    def path(self, release: str, file: str) -> str:
        return f"/srv/dags/{self.bundle}/releases/{release}/{file}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for each answer, without which each waits 40 ms for an acknowledgement
    server: Airflow

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if sent == {"username": USER, "password": PASSWORD}:
            self._answer(201, {"access_token": "a token"})
        else:
            self._answer(401, {"detail": "Invalid credentials"})

    def do_PUT(self) -> None:
        path = self._path()
        if path is None:
            return
        token = unquote(path.partition("/")[2])
        bundle, _slash, file = token.removesuffix(".signed").partition("/")
        if file in self.server.busy:
            self._answer(409, {"detail": {"reason": "Unique constraint violation"}})
            return
        self.server.puts.append(file)
        self._answer(201, None)
        self.server.processors[bundle].tell(file)

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        query = parse_qs(urlsplit(self.path).query)
        if path in self.server.lists():
            self._answer(200, self._by_offset(path, query))
        elif path in self.server.cursors():
            self._answer(200, self._by_cursor(path, query))
        else:
            _dags, dag_id, _runs, run_id = [unquote(part) for part in path.split("/")]
            runs = [run for run in self.server.runs if (run["dag_id"], run["dag_run_id"]) == (dag_id, run_id)]
            self._answer(200 if runs else 404, runs[0] if runs else {"detail": "not found"})

    def _path(self) -> str | None:
        """The path below /api/v2/; None where the request is refused and answered so."""
        path = urlsplit(self.path).path.removeprefix("/api/v2/")
        self.server.asked.append(path)
        if self.headers["Authorization"] != "Bearer a token":
            self._answer(401, {"detail": "Not authenticated"})
        elif path.partition("/")[0] in self.server.refusals:
            self._answer(self.server.refusals[path.partition("/")[0]], {"detail": "refused"})
        else:
            return path
        return None

    def _by_offset(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        key, entries = self.server.lists()[path]
        for field in ("bundle_name", "bundle_version"):
            entries = [entry for entry in entries if field not in query or entry[field] == query[field][0]]
        if path == "dags":
            stale = query.get("exclude_stale") == ["false"]
            broken = query.get("has_import_errors") == ["true"]
            entries = [
                dag for dag in entries if (stale or not dag["is_stale"]) and (not broken or dag["has_import_errors"])
            ]
            for processor in self.server.processors.values():
                processor.step()
        offset, limit = int(query.get("offset", ["0"])[0]), min(int(query["limit"][0]), PAGE)
        return {key: entries[offset : offset + limit], "total_entries": len(entries)}

    def _by_cursor(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        key, entries = self.server.cursors()[path]
        assert query["order_by"] == ["id"], "a cursor without an order that stays"
        entries = [entry for entry in entries if entry["state"] in query["state"]]
        first = int(query.get("cursor", ["0"])[0] or 0)
        following = first + min(int(query["limit"][0]), PAGE)
        page = {key: entries[first:following], "total_entries": len(entries), "previous_cursor": None}
        return {**page, "next_cursor": str(following) if following < len(entries) else None}

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Keeps the tests' output clean."""


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Airflow]:
    """An Airflow that answers until the end of the block."""
    with Airflow() as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
