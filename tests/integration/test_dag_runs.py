# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Every DAG of every source runs, where it belongs, on the release that it began with; foreign queues are refused.

A deadline's callback runs where its source's tasks do.
"""

from __future__ import annotations

import typing as t
import uuid

import pytest

from ansible_collections.airstack.backbone.tests.integration import deployed
from ansible_collections.airstack.backbone.tests.integration.deployed import (
    VERIFY,
    Airflow,
    Platform,
    ansible_playbook,
    at_once,
    wait_for,
)

pytestmark = pytest.mark.disturbs

TRESPASSER = '''
"""A DAG whose task names the queue of another team."""

from __future__ import annotations

from airflow.sdk import DAG, task

with DAG("trespasser", schedule=None):

    @task(queue="{queue}")
    def trespass() -> None: ...

    trespass()
'''
LATE = '''
"""A DAG whose runs are late as soon as they are queued, which they say in a worker's journal."""

from __future__ import annotations

import datetime
import time

from airflow.sdk import DAG, DeadlineAlert, DeadlineReference, SyncCallback, task


def say(context: dict) -> None:
    print("late is", context["dag_run"]["dag_run_id"])


late = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, datetime.timedelta(0), SyncCallback(say))

with DAG("late", schedule=None, deadline=late):

    @task
    def linger() -> None:
        time.sleep(10)

    linger()
'''
PARSED_WITHIN = 600
CALLED_WITHIN = 600


@pytest.fixture(name="further", scope="module")
def source_with_further_dags(
    platform: Platform, triggered: list[dict[str, t.Any]], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[dict[str, t.Any]]:
    """The first source published, while DAGs run, with one whose queue is not the source's and one with a deadline."""
    assert triggered
    source = platform.plan["sources"][0]
    queue, *_others = (
        queue for other in platform.plan["sources"] for queue in other["queues"] if queue not in source["queues"]
    )
    dags = {source["name"]: {"trespasser": TRESPASSER.format(queue=queue), "late": LATE}}
    folder = tmp_path_factory.mktemp("source")
    with deployed.further_dags(platform, folder, dags, airflow_dags_gate_enabled=False):
        yield {"source": source["name"], "queue": queue}


def test_a_queue_of_another_team_is_an_import_error_that_names_both(
    further: dict[str, t.Any], airflow: Airflow
) -> None:
    (error,) = wait_for(lambda: airflow.import_errors(further["source"]), PARSED_WITHIN)
    assert error["filename"].endswith("trespasser.py")
    refusal = error["stack_trace"].strip().splitlines()[-1]
    assert f"'{further['queue']}'" in refusal
    assert f"'{further['source']}'" in refusal
    assert "trespasser" not in {dag["dag_id"] for dag in airflow.dags()}


def test_the_doctor_names_the_file_that_is_refused(platform: Platform, further: dict[str, t.Any]) -> None:
    output = ansible_playbook(platform.inventory, VERIFY, {"airflow_verify_timeout": 0}, succeeds=False)
    assert f"source {further['source']}: trespasser.py cannot be imported" in output


@pytest.mark.broker
def test_a_missed_deadline_calls_on_a_worker_of_its_source(
    platform: Platform, further: dict[str, t.Any], airflow: Airflow
) -> None:
    assert wait_for(lambda: airflow.knows("late"), PARSED_WITHIN)
    run = airflow.trigger("late", dag_run_id=f"late-{uuid.uuid4()}")["dag_run_id"]

    def said() -> list[dict[str, t.Any]]:
        """The pools whose workers say that the run is late."""
        return [
            pool
            for host, unit, pool in platform.workers
            if f"late is {run}" in platform.run(host, f"journalctl --unit {unit} --since -1h --output cat").stdout
        ]

    (pool,) = wait_for(said, CALLED_WITHIN)
    (source,) = (source for source in platform.plan["sources"] if source["name"] == further["source"])
    assert source["queues"][0] in pool["queues"]


@pytest.mark.broker
def test_every_source_has_runs_and_each_succeeds(platform: Platform, finished: list[dict[str, t.Any]]) -> None:
    assert {run["source"] for run in finished} == {source["name"] for source in platform.plan["sources"]}
    wrong = [
        f"{run['dag_id']}: {run['state']}; {task['task_id']} on {task['hostname']} is {task['state']}"
        for run in finished
        if run["state"] != "success"
        for task in run["tasks"]
    ]
    assert not wrong


@pytest.mark.broker
def test_each_task_ran_on_a_host_of_its_own_pool(platform: Platform, finished: list[dict[str, t.Any]]) -> None:
    machines = [host for host, _unit, _pool in platform.workers]
    # What Airflow calls a host: socket.getfqdn() there
    ask = "python3 -c 'import socket; print(socket.getfqdn())'"
    names = at_once([lambda host=host: platform.run(host, ask).stdout.strip() for host in machines])
    called = dict(zip(machines, names, strict=True))
    sources = {source["name"]: source for source in platform.plan["sources"]}
    tasks = [(run["source"], task) for run in finished for task in run["tasks"]]
    assert tasks
    for source, task in tasks:
        assert task["queue"] in sources[source]["queues"]
        pools = [pool for pool in platform.plan["pools"] if task["queue"] in pool["queues"]]
        assert task["hostname"] in {called[host] for pool in pools for host in pool["hosts"]}


@pytest.mark.usefixtures("further")
def test_a_run_stays_on_the_release_that_it_began_with(finished: list[dict[str, t.Any]]) -> None:
    """Although another one was published while it ran."""
    assert all(run["release"] for run in finished)
    assert {run["dag_id"]: run["bundle_version"] for run in finished} == {
        run["dag_id"]: run["release"] for run in finished
    }


def test_a_mapped_task_ran_in_copies(finished: list[dict[str, t.Any]]) -> None:
    assert any(task["map_index"] > 0 for run in finished for task in run["tasks"])
