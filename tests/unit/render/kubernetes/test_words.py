# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Names that DNS takes, words that Kubernetes leaves alone, and the programs in the manifests, really run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model import dns
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import naming, pods, probes
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, expanded

NAMES = st.from_regex(r"(worker|triggerer)-[a-z][a-z0-9_]{0,49}", fullmatch=True)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@given(NAMES)
def test_a_name_is_a_label_of_dns_with_room_for_a_revision(text: str) -> None:
    assert LABEL.fullmatch(dns.label(text) + "-" + "0" * 10)


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_two_names_stay_two(texts: list[str]) -> None:
    assert dns.label(texts[0]) != dns.label(texts[1])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("worker-etl", "worker-etl"),
        ("worker-data_science", "worker-data-science"),
        ("worker-a_", "worker-a-44828d5266"),
        ("triggerer-" + "a" * 50, "triggerer-" + "a" * 31 + "-9e2668a806"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert dns.label(text) == name


def test_a_keyed_hash_changes_with_content_and_key_and_is_not_the_contents_own() -> None:
    made = naming.keyed_digest({"password": "hunter2"}, "key")
    assert made == naming.keyed_digest({"password": "hunter2"}, "key")
    assert naming.keyed_digest({"password": "hunter3"}, "key") != made
    assert naming.keyed_digest({"password": "hunter2"}, "another") != made
    assert naming.digest({"password": "hunter2"}) != made


@given(st.text(st.sampled_from("$()HOMEa b"), max_size=20))
def test_a_word_is_taken_literally(text: str) -> None:
    assert expanded(pods.literal(text), {"HOME": "/home/somebody", "": "nothing"}) == text


def test_what_the_model_leaves_open_is_filled_in_by_the_cluster(variables: dict[str, Any]) -> None:
    container = PLATFORMS["small"](variables).pods()["worker-etl"]["spec"]["containers"][0]
    known = {"AIRFLOW_MACHINE": "worker-etl-1", "AIRFLOW_WORKER_QUEUES": "etl,etl_highmem"}
    words = [expanded(word, known) for word in container["args"]]
    assert words[3:5] == ["--queues", "etl,etl_highmem"]
    assert "etl@worker-etl-1" in words
    # A reference is filled in by what stands before it alone.
    assert [each["name"] for each in container["env"]][:2] == list(known)


def test_dollar_signs_of_variables_stay(variables: dict[str, Any]) -> None:
    component = {
        **PLATFORMS["small"](variables).components[1],
        "environment": {"TEMPLATE": "costs $(HOME) $5"},
    }
    (made,) = [each["value"] for each in pods.environment(component) if each["name"] == "TEMPLATE"]
    assert expanded(made, {"HOME": "/tmp"}) == "costs $(HOME) $5"


def first_container(variables: dict[str, Any], platform: str, component: str, name: str) -> list[str]:
    """The command of a container that runs before a component's, as the container is given it."""
    spec = PLATFORMS[platform](variables).pods()[component]["spec"]
    (found,) = [each for each in spec["initContainers"] if each["name"] == name]
    return [expanded(word, {}) for word in found["command"]]


def run(command: list[str], places: Mapping[str, Path]) -> subprocess.CompletedProcess[str]:
    """The command, with folders of this machine for those of a container."""
    for folder, place in places.items():
        command = [word.replace(folder, str(place)) for word in command]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_reader_waits_for_its_dags_and_says_for_what(variables: dict[str, Any], tmp_path: Path) -> None:
    command = first_container(variables, "small", "worker-etl", "look-for-dags")
    storage = {"/srv/airflow/dags": tmp_path}
    empty = run(command, storage)
    assert empty.returncode == 1
    assert empty.stderr == f"{tmp_path}/.airflow-dag-storage is not there: is this the DAG storage?\n"
    (tmp_path / ".airflow-dag-storage").mkdir()
    assert run(command, storage).stderr == empty.stderr
    (tmp_path / ".airflow-dag-storage").rmdir()
    (tmp_path / ".airflow-dag-storage").touch()
    unpublished = run(command, storage)
    assert unpublished.returncode == 1
    assert unpublished.stderr == f"{tmp_path}/etl is not there: was this DAG source ever published?\n"
    (tmp_path / "etl").mkdir()
    assert (run(command, storage).returncode, run(command, storage).stderr) == (0, "")


def test_a_credential_that_is_opened_for_writing_is_copied(variables: dict[str, Any], tmp_path: Path) -> None:
    command = first_container(variables, "full", "api-server", "copy-credentials")
    name = "simple_auth_manager_passwords"
    secrets, copies = tmp_path / "secrets", tmp_path / "copies"
    secrets.mkdir()
    copies.mkdir()
    (secrets / name).write_text("{}", encoding="utf-8")
    (secrets / name).chmod(0o440)
    done = run(command, {"/run/secrets/airflow": secrets, "/run/airflow": copies})
    assert (done.returncode, done.stderr) == (0, "")
    assert (copies / name).read_text(encoding="utf-8") == "{}"
    assert (copies / name).stat().st_mode & 0o777 == 0o600


@contextmanager
def monitor(answer: Any) -> Iterator[int]:
    """The port of an API server whose monitor answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode() if self.path == probes.MONITOR else b"{}"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port: int, component: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *probes.PYTHON[1:], probes.ASK, "127.0.0.1", str(port), probes.MONITOR, component]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_readiness_is_what_the_apis_monitor_says() -> None:
    answer = {
        "metadatabase": {"status": "healthy"},
        "triggerer": {"status": "unhealthy"},
        "dag_processor": {"status": "healthy"},
        "scheduler": {"status": None},
    }
    with monitor(answer) as port:
        assert (ask(port, "dag_processor").returncode, ask(port, "dag_processor").stderr) == (0, "")
        assert (ask(port, "triggerer").returncode, ask(port, "triggerer").stderr) == (1, "triggerer is unhealthy\n")
        assert ask(port, "nobody").stderr == "nobody is None\n"
    assert ask(port, "dag_processor").returncode == 1
