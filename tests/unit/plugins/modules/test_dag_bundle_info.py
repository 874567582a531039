# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What Airflow's API says of bundles, from a server that answers in its words."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _api
from ansible_collections.airstack.backbone.plugins.module_utils._dags import bundles
from ansible_collections.airstack.backbone.plugins.modules import dag_bundle_info
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.airflow_api import Airflow, Processor, running


@pytest.fixture(name="airflow")
def small_airflow() -> Iterator[Airflow]:
    with running() as airflow:
        yield airflow


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


def version(bundle: str | None, release: str | None) -> dict[str, Any]:
    return {"bundle_name": bundle, "bundle_version": release}


def run(dag_id: str, run_id: str, state: str, release: str | None, *versions: dict[str, Any]) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "state": state,
        "bundle_version": release,
        "dag_versions": list(versions),
    }


def task(dag_id: str, run_id: str, state: str, of: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"dag_id": dag_id, "dag_run_id": run_id, "state": state, "dag_version": of}


def test_bundles_are_told_with_their_dags_errors_and_releases(airflow: Airflow, run_module: Any) -> None:
    Processor(airflow, "etl", {"r1": {"a.py": ["a", "b", "c"], "d.py": ["d"], "x.py": "no module"}}, "r1")
    Processor(airflow, "ml", {"m1": {"m.py": ["m"]}}, "m1")
    airflow.dags["b"]["bundle_version"] = "r0"
    airflow.pools = [{"name": name, "team_name": None} for name in ("wide", "default_pool", "last")]
    airflow.pools.append({"name": "narrow", "team_name": "etl"})
    airflow.runs = [run("a", f"run {number}", "queued", f"q{number}", version("etl", "r1")) for number in range(7)]
    result = run_module(dag_bundle_info.main, **airflow.arguments)
    assert result["is_answering"]
    assert result["reason"] == ""
    assert result["url"] == f"http://127.0.0.1:{airflow.server_port}"
    assert not result["changed"]
    assert result["pools"] == ["default_pool", "last", "narrow", "wide"]
    assert result["pool_teams"] == {"narrow": "etl"}
    assert result["dags"] == {"a": "etl", "b": "etl", "c": "etl", "d": "etl", "m": "ml"}
    assert result["bundles"]["ml"] == {
        "versions": {"m1": 1},
        "dags": ["m"],
        "import_errors": [],
        "in_use": [],
        "needed": ["m1"],
    }
    in_use = [*(f"q{number}" for number in range(7)), "r1"]
    assert result["bundles"]["etl"] == {
        "versions": {"r0": 1, "r1": 3},
        "dags": ["a", "b", "c", "d"],
        "import_errors": [{"file": "x.py", "text": "no module"}],
        "in_use": in_use,
        "needed": [*in_use[:-1], "r0", "r1"],
    }


@pytest.mark.parametrize(
    ("state", "in_use"), [("queued", ["old"]), ("running", ["old"]), ("success", []), ("failed", [])]
)
def test_a_release_is_in_use_until_its_run_is_finished(
    airflow: Airflow, run_module: Any, state: str, in_use: list[str]
) -> None:
    airflow.runs = [run("a", "r", state, "old", version("etl", None))]
    result = run_module(dag_bundle_info.main, **airflow.arguments, bundles=["etl"])
    assert result["bundles"]["etl"]["in_use"] == in_use


@pytest.mark.parametrize(
    ("state", "in_use"),
    [("queued", ["old"]), ("running", ["old"]), ("restarting", ["old"]), ("success", []), ("up_for_retry", [])],
)
def test_a_task_at_a_worker_keeps_the_release_of_its_finished_run(
    airflow: Airflow, run_module: Any, state: str, in_use: list[str]
) -> None:
    airflow.runs = [run("a/ä", "manual__2026-11-26T10:49:36+00:00", "failed", "old", version("etl", None))]
    airflow.tasks = [task("a/ä", "manual__2026-11-26T10:49:36+00:00", state)]
    result = run_module(dag_bundle_info.main, **airflow.arguments, bundles=["etl"])
    assert result["bundles"]["etl"]["in_use"] == in_use


def test_a_run_that_was_deleted_meanwhile_uses_nothing(airflow: Airflow, run_module: Any) -> None:
    airflow.tasks = [task("a", "gone", "running", version("etl", "of its callbacks"))]
    result = run_module(dag_bundle_info.main, **airflow.arguments)
    assert result["bundles"]["etl"]["in_use"] == ["of its callbacks"]


def test_tasks_of_unfinished_runs_cost_no_request_each(airflow: Airflow, run_module: Any) -> None:
    airflow.runs = [run("a", "r", "running", "old", version("etl", "new"))]
    airflow.tasks = [task("a", "r", "running", version("etl", "new")) for _time in range(8)]
    result = run_module(dag_bundle_info.main, **airflow.arguments)
    assert result["bundles"]["etl"]["in_use"] == ["new", "old"]
    assert airflow.asked.count("dags/~/dagRuns/~/taskInstances") == 3
    assert "dags/a/dagRuns/r" not in airflow.asked


def test_a_release_of_an_unknown_bundle_is_kept_in_each() -> None:
    runs = [run("a", "r", "running", "old"), run("b", "r", "running", None)]
    told = bundles.describe(["etl", "ml"], [], [], runs, [task("c", "r", "running", version(None, "older"))])
    assert {name: bundle["in_use"] for name, bundle in told.items()} == {
        "etl": ["old", "older"],
        "ml": ["old", "older"],
    }


def test_a_run_without_a_version_of_its_dag_belongs_to_the_dags_bundle() -> None:
    dags = [{"dag_id": "a", "bundle_name": "etl", "bundle_version": None}]
    told = bundles.describe(None, dags, [], [run("a", "r", "running", "old")], [])
    assert told["etl"]["in_use"] == told["etl"]["needed"] == ["old"]


@pytest.mark.parametrize("required", [False, True])
def test_an_api_that_does_not_answer_is_told_or_fails(run_module: Any, required: bool) -> None:
    port = closed_port()
    asked = {"hosts": ["127.0.0.1", "ftp://files"], "port": port, "user": "admin", "password": "secret"}
    result = run_module(dag_bundle_info.main, **asked, bundles=["etl"], required=required)
    said = f"http://127.0.0.1:{port}: Connection refused; ftp://files is no http or https URL of an API server"
    if required:
        assert result["failed"]
        assert result["msg"].endswith(said)
    else:
        assert not result["is_answering"]
        assert result["reason"] == said
        assert result["url"] is None
        assert (result["pools"], result["pool_teams"], result["dags"]) == ([], {}, {})
        assert result["bundles"]["etl"]["needed"] == []


@pytest.mark.parametrize(
    ("changed", "refusals", "words"),
    [
        ({"password": "another"}, {}, "refuses the user admin: 401 Unauthorized"),
        ({}, {"dags": 403}, "refuses the user admin: 403 Forbidden"),
        ({}, {"pools": 500}, "/api/v2/pools gave 500 Internal Server Error"),
        ({"hosts": []}, {}, "no API server was named"),
    ],
)
def test_an_answer_that_is_none_says_why(
    airflow: Airflow, run_module: Any, changed: dict[str, Any], refusals: dict[str, int], words: str
) -> None:
    airflow.refusals = refusals
    result = run_module(dag_bundle_info.main, **{**airflow.arguments, **changed})
    assert not result["is_answering"]
    assert words in result["reason"]


def test_an_airflow_that_knows_no_cursors_is_not_half_read(
    airflow: Airflow, run_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_cursor = airflow.RequestHandlerClass._by_cursor  # type: ignore[attr-defined]

    def forget(handler: Any, path: str, query: Any) -> dict[str, Any]:
        page: dict[str, Any] = by_cursor(handler, path, query)
        del page["next_cursor"]
        return page

    monkeypatch.setattr(airflow.RequestHandlerClass, "_by_cursor", forget)
    result = run_module(dag_bundle_info.main, **airflow.arguments)
    assert not result["is_answering"]
    assert "/api/v2/dags/~/dagRuns is not read by cursor" in result["reason"]


def test_the_first_server_that_answers_is_used(airflow: Airflow, run_module: Any) -> None:
    hosts = [f"http://127.0.0.1:{closed_port()}", "127.0.0.1", "never.invalid"]
    result = run_module(dag_bundle_info.main, **{**airflow.arguments, "hosts": hosts})
    assert result["url"] == f"http://127.0.0.1:{airflow.server_port}"


def test_check_mode_answers_the_same(airflow: Airflow, run_module: Any) -> None:
    Processor(airflow, "etl", {"r1": {"a.py": ["a"]}}, "r1")
    told = [run_module(dag_bundle_info.main, **airflow.arguments, check=check) for check in (False, True)]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.0.0.21", "http://10.0.0.21:8080"),
        ("fd00::21", "http://[fd00::21]:8080"),
        ("[fd00::21]", "http://[fd00::21]:8080"),
        ("http://api.example.com", "http://api.example.com:80"),
        ("https://airflow.example.com/team/", "https://airflow.example.com:443/team"),
        ("https://[fd00::21]:8443", "https://[fd00::21]:8443"),
    ],
)
def test_an_address_is_a_host_or_a_url(address: str, place: str) -> None:
    assert str(_api.location(address, 8080)) == place


@pytest.mark.parametrize("address", ["ftp://api", "https://", "https://api:port"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"api|https|port"):
        _api.location(address, 8080)


@pytest.fixture(name="certificate", scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing, which makes the certificate of an https server")
    directory = tmp_path_factory.mktemp("tls")
    made = directory / "server.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(directory / "key")]
    name = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([openssl, "req", "-x509", *key, *name, "-out", str(made)], check=True, capture_output=True)
    return made


def test_https_is_verified_against_the_authority_that_is_named(certificate: Path, run_module: Any) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_name("key"))
    with running(tls) as airflow:
        asked = {**airflow.arguments, "hosts": [f"https://127.0.0.1:{airflow.server_port}"]}
        unknown = run_module(dag_bundle_info.main, **asked)
        assert "CERTIFICATE_VERIFY_FAILED" in unknown["reason"]
        assert run_module(dag_bundle_info.main, **asked, ca_path=str(certificate))["is_answering"]
        assert run_module(dag_bundle_info.main, **asked, validate_certs=False)["is_answering"]


def test_authorities_that_cannot_be_read_are_told(airflow: Airflow, run_module: Any, tmp_path: Path) -> None:
    result = run_module(dag_bundle_info.main, **airflow.arguments, ca_path=str(tmp_path / "absent"))
    assert result["failed"]
    assert "absent holds no certificates" in result["msg"]


def test_the_password_is_told_nowhere(airflow: Airflow, run_module: Any) -> None:
    run_module(dag_bundle_info.main, **{**airflow.arguments, "password": "very secret"}, verbose=True)
    assert "very secret" not in run_module.printed
    assert not any("very secret" in line for line in run_module.logged)
