# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the doctor concludes from a platform's answers."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _health


def on(*hosts: str) -> dict[str, t.Any]:
    """How a component is placed by systemd, where hosts and machines are the same."""
    return {"hosts": list(hosts), "machines": list(hosts), "replicas": len(hosts)}


PLAN: dict[str, t.Any] = {
    "environment": "local",
    "platform": "systemd",
    "airflow_version": "3.3.2",
    "hosts": [{"name": "control1", "address": "10.0.0.13"}],
    "api": {"servers": [{"host": "control1", "url": "http://control1:8080"}], "port": 8080, "admin_user": "admin"},
    "broker": {"host": "10.0.0.11", "port": 5672},
    "components": [
        {"name": "api-server", "kind": "api-server", "pool": None, **on("control1")},
        {"name": "scheduler", "kind": "scheduler", "pool": None, **on("control1", "control2")},
        {"name": "dag-processor", "kind": "dag-processor", "pool": None, **on("control1")},
        {"name": "triggerer", "kind": "triggerer", "pool": None, **on("control1")},
        {"name": "worker-etl", "kind": "worker", "pool": "etl", **on("worker1", "worker2")},
        {"name": "worker-ml", "kind": "worker", "pool": "ml", **on("worker3")},
    ],
    "pools": [
        {"name": "etl", "queues": ["etl", "shared"], **on("worker1", "worker2")},
        {"name": "ml", "queues": ["ml", "shared"], **on("worker3")},
    ],
    "sources": [{"name": "etl"}, {"name": "ml"}],
}
PUBLISHED = 1_790_000_000.0
"""2026-09-21T14:13:20Z"""
AT_ONCE = "2026-09-21T14:13:30Z"
LATER = "2026-09-21T14:20:00Z"

HEALTHY: dict[str, t.Any] = {
    "apis": [
        {
            "host": "control1",
            "url": "http://10.0.0.13:8080",
            "version": {"version": "3.3.2", "git_version": None},
            "health": {
                "metadatabase": {"status": "healthy"},
                "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-09-21T14:13:19+00:00"},
                "triggerer": {"status": "healthy", "latest_triggerer_heartbeat": "2026-09-21T14:13:19+00:00"},
                "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": "2026-09-21T14:13:19+00:00"},
            },
        }
    ],
    "login": None,
    "jobs": [
        {"job_type": "SchedulerJob", "hostname": "control1"},
        {"job_type": "SchedulerJob", "hostname": "control2"},
        {"job_type": "DagProcessorJob", "hostname": "control1"},
        {"job_type": "TriggererJob", "hostname": "control1"},
    ],
    "dags": [
        {"dag_id": "etl_sleep", "bundle_name": "etl", "bundle_version": "r2", "relative_fileloc": "sleep.py"},
        {"dag_id": "ml_train", "bundle_name": "ml", "bundle_version": "r9", "relative_fileloc": "train.py"},
        {"dag_id": "orphan", "bundle_name": "gone", "bundle_version": "r0", "relative_fileloc": "gone.py"},
    ],
    "import_errors": [],
    "queues": {
        "etl": {"consumers": 2, "messages": 0},
        "ml": {"consumers": 1, "messages": 0},
        "shared": {"consumers": 3, "messages": 0},
    },
    "releases": {
        "etl": {"release": "r2", "published": PUBLISHED, "dag_files": ["sleep.py"]},
        "ml": {"release": "r9", "published": PUBLISHED, "dag_files": ["train.py"]},
    },
}


@pytest.fixture(name="seen")
def healthy_platform() -> dict[str, t.Any]:
    return copy.deepcopy(HEALTHY)


def import_error(timestamp: str, bundle: str | None = "etl", trace: str = "") -> dict[str, t.Any]:
    return {
        "import_error_id": 1,
        "timestamp": timestamp,
        "filename": "load.py",
        "bundle_name": bundle,
        "stack_trace": trace or "Traceback (most recent call last):\n  File ...\nModuleNotFoundError: no pandas\n\n",
    }


def only(plan: dict[str, t.Any], seen: dict[str, t.Any]) -> _health.Finding:
    """The one finding; each test spoils one thing of a healthy platform."""
    (finding,) = _health.examine(plan, seen)
    return finding


def test_nothing_is_wrong_with_a_healthy_platform(seen: dict[str, t.Any]) -> None:
    assert _health.examine(PLAN, seen) == []


def test_where_the_platform_chooses_among_hosts_one_without_an_api_server_is_no_finding(seen: dict[str, t.Any]) -> None:
    silent = {"host": "control2", "url": "http://10.0.0.14:8080", "error": "Connection refused"}
    assert _health.examine({**PLAN, "platform": "swarm"}, {**seen, "apis": [silent, *seen["apis"]]}) == []
    assert only(PLAN, {**seen, "apis": [silent]}).found == "http://10.0.0.14:8080 does not answer (Connection refused)"


def test_advice_names_where_the_platform_keeps_what_components_print(seen: dict[str, t.Any]) -> None:
    seen["queues"]["ml"]["consumers"] = 0
    assert only(PLAN, seen).advice == "look at `journalctl -u airflow-worker-ml` on worker3"
    swarm = {**PLAN, "platform": "swarm"}
    assert only(swarm, seen).advice == "look at `docker service logs airflow-local_worker-ml`"
    kubernetes = {**PLAN, "platform": "kubernetes"}
    assert only(kubernetes, seen).advice == (
        "look at `kubectl logs --selector 'airstack.backbone/environment=local,airstack.backbone/component in (worker-ml)'`"
        " in its namespace"
    )


def test_an_api_server_that_does_not_answer_is_the_only_finding(seen: dict[str, t.Any]) -> None:
    seen["apis"] = [{"host": "control1", "url": "http://10.0.0.13:8080", "error": "Connection refused"}]
    seen.update(jobs=None, dags=None, import_errors=None)
    finding = only(PLAN, seen)
    assert str(finding) == (
        "API server on control1: http://10.0.0.13:8080 does not answer (Connection refused);"
        " look at `journalctl -u airflow-api-server` on control1"
    )
    assert not finding.is_final


def test_another_version_than_described_is_found(seen: dict[str, t.Any]) -> None:
    seen["apis"][0]["version"]["version"] = "3.3.1"
    assert "3.3.1 and the description says 3.3.2" in only(PLAN, seen).found


def test_an_unreachable_database_hides_the_heartbeats(seen: dict[str, t.Any]) -> None:
    health = seen["apis"][0]["health"]
    health["metadatabase"]["status"] = "unhealthy"
    for component in ("scheduler", "triggerer", "dag_processor"):
        health[component]["status"] = "unhealthy"
    assert "metadata database" in only(PLAN, seen).found


@pytest.mark.parametrize(
    ("is_refused", "advice"), [(True, "airflow_secret_admin"), (False, "journalctl -u airflow-api-server")]
)
def test_a_refused_password_is_final_and_a_silent_api_is_not(
    seen: dict[str, t.Any], is_refused: bool, advice: str
) -> None:
    seen.update(jobs=None, dags=None, import_errors=None)
    seen["login"] = {"user": "admin", "error": "401 Unauthorized", "is_refused": is_refused}
    finding = only(PLAN, seen)
    assert finding.is_final is is_refused
    assert advice in finding.advice


@pytest.mark.parametrize("kind", _health.HEARTBEATS)
def test_a_stale_heartbeat_is_found_although_the_api_answers_200(seen: dict[str, t.Any], kind: str) -> None:
    seen["apis"][0]["health"][kind.replace("-", "_")]["status"] = "unhealthy"
    finding = only(PLAN, seen)
    assert finding.part == kind
    assert finding.found == "its last heartbeat was at 2026-09-21T14:13:19+00:00"
    assert f"airflow-{kind}` on control1" in finding.advice


def test_each_teams_triggerer_has_to_beat(seen: dict[str, t.Any]) -> None:
    own = {"name": "triggerer-etl", "kind": "triggerer", "pool": None, "team": "etl", **on("control1")}
    plan = {**PLAN, "components": [*PLAN["components"], own]}
    [finding] = _health.examine(plan, seen)
    assert (finding.part, finding.found) == ("triggerer", "1 of 2 give heartbeats")
    assert finding.advice == "look at `journalctl -u airflow-triggerer -u airflow-triggerer-etl` on control1"
    seen["jobs"].append({"job_type": "TriggererJob", "hostname": "control1"})
    assert _health.examine(plan, seen) == []
    assert _health.report(plan, seen, [])["components"]["triggerer"]["hosts"] == ["control1"]


@pytest.mark.parametrize("answer", [None, {"status": None, "latest_triggerer_heartbeat": None}])
def test_a_component_that_never_ran_is_found(seen: dict[str, t.Any], answer: dict[str, t.Any] | None) -> None:
    seen["apis"][0]["health"]["triggerer"] = answer
    assert only(PLAN, seen).found == "it never gave a heartbeat"


def test_one_of_two_schedulers_that_is_dead_is_found(seen: dict[str, t.Any]) -> None:
    del seen["jobs"][0]
    finding = only(PLAN, seen)
    assert (finding.part, finding.found) == ("scheduler", "1 of 2 give heartbeats")
    assert "control1, control2" in finding.advice


def test_a_queue_without_a_consumer_names_every_pool_that_should(seen: dict[str, t.Any]) -> None:
    seen["queues"]["shared"] = {"consumers": 0, "messages": 7}
    finding = only(PLAN, seen)
    assert finding.found == "no worker consumes it, and 7 tasks wait"
    assert finding.advice == (
        "look at `journalctl -u airflow-worker-etl -u airflow-worker-ml` on worker1, worker2, worker3"
    )
    assert finding.severity == _health.ERROR


def test_a_queue_that_is_missing_is_found(seen: dict[str, t.Any]) -> None:
    seen["queues"]["ml"] = {"error": "NOT_FOUND - no queue 'ml'"}
    assert "NOT_FOUND - no queue 'ml'" in only(PLAN, seen).found


def test_fewer_workers_than_planned_warn_and_do_not_fail(seen: dict[str, t.Any]) -> None:
    seen["queues"]["etl"]["consumers"] = 1
    finding = only(PLAN, seen)
    assert (finding.found, finding.severity) == ("1 of 2 workers consume it", _health.WARNING)
    assert _health.report(PLAN, seen, [finding])["is_healthy"]
    assert not _health.is_settled([finding])


def renamed(plan: dict[str, t.Any]) -> dict[str, t.Any]:
    """With a pool whose name is no label."""
    return {**plan, "pools": [{**pool, "name": pool["name"].replace("t", "_")} for pool in plan["pools"]]}


def test_what_is_scaled_needs_its_least_alone(seen: dict[str, t.Any]) -> None:
    kubernetes = {**PLAN, "platform": "kubernetes"}
    scaled = _health.with_least(kubernetes, {"scheduler": 1, "worker-ml": 0, "worker-etl": 1})
    del seen["jobs"][0]
    seen["queues"].update(ml={"consumers": 0, "messages": 0}, etl={"consumers": 1, "messages": 0})
    assert _health.examine(scaled, seen) == []
    assert "1 worker;" in _health.report(scaled, seen, [])["summary"]
    seen["queues"]["ml"]["messages"] = 2
    finding = only(scaled, seen)
    assert (finding.found, finding.severity) == ("no worker consumes it, and 2 tasks wait", _health.WARNING)
    seen["queues"]["etl"]["consumers"] = 0
    assert [found.severity for found in _health.examine(scaled, seen)] == [_health.ERROR, _health.WARNING]
    (labelled,) = (
        pool for pool in _health.with_least(renamed(kubernetes), {"worker-e-l": 0})["pools"] if pool["name"] == "e_l"
    )
    assert labelled["machines"] == []
    more = _health.with_least(kubernetes, {"worker-etl": 4})
    assert "0 of 4" not in str(_health.examine(more, seen))
    seen["queues"]["etl"]["consumers"] = 3
    assert "3 of 4 workers consume it" in str(_health.examine(more, seen))


def test_consumers_that_a_broker_does_not_tell_are_no_finding(seen: dict[str, t.Any]) -> None:
    seen["queues"]["ml"]["consumers"] = None
    assert _health.examine(PLAN, seen) == []


@pytest.mark.parametrize(
    ("provider", "told", "severity", "said"),
    [
        ("redis", {"maxmemory-policy": "allkeys-lru"}, _health.ERROR, "deploy with site.yml, which sets it"),
        ("external", {"maxmemory-policy": "volatile-lru"}, _health.ERROR, "throws tasks away when its memory is full"),
        ("external", {"appendonly": "no"}, _health.WARNING, "forgets what was sent"),
    ],
)
def test_a_setting_that_loses_tasks_is_named(
    seen: dict[str, t.Any], provider: str, told: dict[str, str], severity: str, said: str
) -> None:
    seen["broker_settings"] = {"maxmemory-policy": "noeviction", "appendonly": "yes", **told}
    finding = only({**PLAN, "broker": {**PLAN["broker"], "provider": provider, "sentinel": None}}, seen)
    [(name, value)] = told.items()
    assert finding.found.startswith(f"its {name} is {value} and has to be ")
    assert (finding.severity, finding.is_final) == (severity, True)
    assert said in finding.advice


def test_a_silent_broker_is_one_finding(seen: dict[str, t.Any]) -> None:
    seen["queues"] = {"": {"error": "Connection refused"}}
    finding = only(PLAN, seen)
    assert (finding.part, finding.found) == ("broker", "10.0.0.11:5672 does not answer (Connection refused)")


def test_a_broker_that_cannot_be_asked_is_no_finding(seen: dict[str, t.Any]) -> None:
    seen["queues"] = None
    assert _health.examine(PLAN, seen) == []
    assert "not asked" in _health.report(PLAN, seen, [])["summary"]


def test_a_source_without_a_release_is_found(seen: dict[str, t.Any]) -> None:
    seen["releases"]["ml"] = {"release": None, "published": 0.0, "dag_files": []}
    finding = only(PLAN, seen)
    assert (finding.part, finding.found) == ("source ml", "no release of it is published")


def test_dags_of_a_former_release_are_waited_for(seen: dict[str, t.Any]) -> None:
    seen["dags"][0]["bundle_version"] = "r1"
    finding = only(PLAN, seen)
    assert finding.found == "release r2 is published, and Airflow still has 1 DAG of r1"
    assert not finding.is_final


@pytest.mark.parametrize(("dag_files", "findings"), [(["sleep.py"], 1), ([], 0)])
def test_a_source_needs_a_dag_only_where_a_file_defines_one(
    seen: dict[str, t.Any], dag_files: list[str], findings: int
) -> None:
    del seen["dags"][0]
    seen["releases"]["etl"]["dag_files"] = dag_files
    assert len(_health.examine(PLAN, seen)) == findings


def test_an_import_error_that_airflow_hides_is_found(seen: dict[str, t.Any]) -> None:
    """etl's train.py is broken, and ml has DAGs in a file of that name."""
    seen["releases"]["etl"]["dag_files"] = ["sleep.py", "train.py"]
    finding = only(PLAN, seen)
    assert finding.part == "source etl"
    assert "no DAG of train.py" in finding.found


@pytest.mark.parametrize("file", ["helper.py", "load.py"])
def test_a_file_without_a_dag_may_be_a_helper_or_have_an_error_that_shows(seen: dict[str, t.Any], file: str) -> None:
    seen["releases"]["etl"]["dag_files"] = ["sleep.py", file]
    seen["import_errors"] = [import_error(LATER)]
    assert only(PLAN, seen).found.startswith("load.py cannot be imported")


def test_a_storage_that_this_host_does_not_hold_is_no_finding(seen: dict[str, t.Any]) -> None:
    seen["releases"] = None
    assert _health.examine(PLAN, seen) == []


@pytest.mark.parametrize(("timestamp", "is_final"), [(AT_ONCE, False), (LATER, True)])
def test_an_import_error_is_final_once_it_must_be_of_the_release(
    seen: dict[str, t.Any], timestamp: str, is_final: bool
) -> None:
    seen["import_errors"] = [import_error(timestamp)]
    finding = only(PLAN, seen)
    assert finding.found == "load.py cannot be imported: ModuleNotFoundError: no pandas"
    assert finding.is_final is is_final


def test_a_source_that_has_only_an_import_error_is_settled(seen: dict[str, t.Any]) -> None:
    del seen["dags"][0]
    seen["import_errors"] = [import_error(LATER)]
    assert only(PLAN, seen).is_final


def test_import_errors_of_bundles_that_the_plan_does_not_know_are_not_its_own(seen: dict[str, t.Any]) -> None:
    seen["import_errors"] = [import_error(LATER, bundle="gone"), import_error(LATER, bundle=None)]
    assert _health.examine(PLAN, seen) == []


def test_many_import_errors_are_not_all_spelled_out(seen: dict[str, t.Any]) -> None:
    seen["import_errors"] = [import_error(LATER)] * 13
    findings = _health.examine(PLAN, seen)
    assert len(findings) == _health.SHOWN_ERRORS + 1
    assert findings[-1].found == "3 more files cannot be imported"
    assert _health.is_settled(findings)


def test_everything_is_told_at_once_the_causes_first(seen: dict[str, t.Any]) -> None:
    seen["apis"][0]["health"]["dag_processor"]["status"] = "unhealthy"
    seen["queues"]["ml"]["consumers"] = 0
    seen["dags"] = []
    findings = _health.examine(PLAN, seen)
    assert [finding.part for finding in findings] == ["dag-processor", "queue ml", "source etl", "source ml"]
    lines = _health.message(findings).splitlines()
    assert [line[:4] for line in lines] == ["  1.", "  2.", "  3.", "  4."]


def test_one_finding_that_time_may_mend_keeps_the_doctor_waiting(seen: dict[str, t.Any]) -> None:
    seen["import_errors"] = [import_error(LATER)]
    assert _health.is_settled(_health.examine(PLAN, seen))
    seen["queues"]["ml"]["consumers"] = 0
    assert not _health.is_settled(_health.examine(PLAN, seen))


def test_the_summary_says_what_was_verified(seen: dict[str, t.Any]) -> None:
    assert _health.report(PLAN, seen, [])["summary"] == (
        "Airflow 3.3.2 of local is healthy: 1 API server; fresh heartbeats of scheduler, dag-processor, triggerer;"
        " 3 queues consumed by 3 workers; 2 sources with 2 DAGs, no import error"
    )


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"apis": [{"host": "control1", "url": "http://10.0.0.13:8080", "error": "timed out"}]},
        {
            "login": {"user": "admin", "error": "401", "is_refused": True},
            "jobs": None,
            "dags": None,
            "import_errors": None,
        },
        {"queues": {"": {"error": "refused"}}},
        {"releases": None},
    ],
)
def test_the_report_is_plain_data_whatever_was_seen(seen: dict[str, t.Any], answers: dict[str, t.Any]) -> None:
    seen.update(answers)
    findings = _health.examine(PLAN, seen)
    report = _health.report(PLAN, seen, findings)
    assert json.loads(json.dumps(report)) == report
    assert report["is_healthy"] is (not findings)


def test_a_trace_without_a_line_still_gives_a_reason() -> None:
    assert _health.last_line("\n \n") == "no reason given"
