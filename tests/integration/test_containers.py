# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Components in containers: tasks run in those of their pools, and survive an update."""

from __future__ import annotations

import re
import typing as t
import uuid

import pytest

from ansible_collections.airstack.backbone.tests.integration.containers import Containers, deploy
from ansible_collections.airstack.backbone.tests.integration.deployed import Airflow, Platform, at_once, wait_for

pytestmark = [pytest.mark.disturbs, pytest.mark.containers]

RUN_SECONDS = 300
PATIENCE = 30
"""For how many seconds an update waits for a worker at work; what has no task stops within them."""

UPLOADED_SECONDS = 60
"""A worker sends a log when its task has ended, and the API server asks the worker for it until then."""

OTHER = "FROM {image}\nLABEL of-another-build=true\n"


@pytest.fixture(name="ended", scope="module")
def ended_runs(platform: Platform, airflow: Airflow) -> list[dict[str, t.Any]]:
    """A run of every DAG that has ended, with its tasks."""
    runs = [airflow.trigger(dag["dag_id"], dag_run_id=f"test-{uuid.uuid4()}") for dag in airflow.dags()]
    states = at_once([lambda run=run: airflow.ended(run, RUN_SECONDS) for run in runs])
    return [{**run, "state": state, "tasks": airflow.tasks(run)} for run, state in zip(runs, states, strict=True)]


def test_every_dag_succeeds_on_the_pools_of_all_sources(platform: Platform, ended: list[dict[str, t.Any]]) -> None:
    assert {run["state"] for run in ended} == {"success"}
    queues = {task["queue"] for run in ended for task in run["tasks"]}
    assert {pool["name"] for pool in platform.plan["pools"] if queues & set(pool["queues"])} == {
        pool["name"] for pool in platform.plan["pools"]
    }


def test_each_task_ran_in_a_container_of_its_own_pool(
    platform: Platform, containers: Containers, ended: list[dict[str, t.Any]]
) -> None:
    addresses = {pool["name"]: containers.addresses(f"worker-{pool['name']}") for pool in platform.plan["pools"]}
    for task in (task for run in ended for task in run["tasks"]):
        (pool,) = (pool["name"] for pool in platform.plan["pools"] if task["queue"] in pool["queues"])
        assert task["hostname"] in addresses[pool]


def test_logs_come_from_the_store_although_their_containers_are_volatile(
    platform: Platform, airflow: Airflow, ended: list[dict[str, t.Any]]
) -> None:
    for task in (run["tasks"][0] for run in ended):
        assert wait_for(lambda task=task: platform.plan["log_store"]["url"] in airflow.log(task), UPLOADED_SECONDS)


def test_a_worker_has_the_sources_of_its_pool_and_no_others(platform: Platform, containers: Containers) -> None:
    storage = platform.plan["dag_storage"]
    for pool in platform.plan["pools"]:
        mounts = containers.mounts(f"worker-{pool['name']}")
        assert {mount.path for mount in mounts} == {*pool["sources"], storage["sentinel"]}
        assert not any(mount.is_writable for mount in mounts)


def test_no_secret_is_in_the_description_of_a_container(platform: Platform, containers: Containers) -> None:
    for component in platform.plan["components"]:
        shown = containers.described(component["name"])
        assert shown != "[]"
        assert [name for name, value in platform.secrets.items() if value in shown] == []


@pytest.fixture(name="update", scope="module")
def update_under_a_task(platform: Platform, airflow: Airflow, containers: Containers) -> t.Iterator[dict[str, t.Any]]:
    """Another core, deployed while a task runs and without waiting for it; the first one comes back in the end."""
    before = containers.images()
    (image,) = set(before.values())
    digest = containers.derived(image, OTHER)
    run = airflow.trigger("etl_wait", dag_run_id=f"update-{uuid.uuid4()}", conf={"seconds": containers.update_seconds})
    (running,) = wait_for(lambda: [task for task in airflow.tasks(run) if task["state"] == "running"], RUN_SECONDS)
    wait_for(lambda: "sleeping" in airflow.log(running), RUN_SECONDS)
    live = airflow.log(running)
    output = deploy(platform, image, digest, airflow_components_drain_wait=PATIENCE)
    yield {"run": run, "digest": digest, "live": live, "output": output}
    deploy(platform, image, image.partition("@")[2])


def test_the_log_of_a_running_task_is_shown(containers: Containers, update: dict[str, t.Any]) -> None:
    assert f"sleeping for {containers.update_seconds} s" in update["live"]


def test_an_update_says_which_worker_is_at_work_and_does_not_wait_for_it(update: dict[str, t.Any]) -> None:
    said = " ".join(update["output"].split())
    assert re.search(r"worker-etl(?: and \S+)*: a (process|pod) still finishes its tasks", said), update["output"]


def test_a_running_task_is_finished_by_the_worker_that_an_update_replaces(
    airflow: Airflow, containers: Containers, update: dict[str, t.Any]
) -> None:
    assert airflow.ended(update["run"], containers.update_seconds + RUN_SECONDS) == "success"
    (slept,) = (task for task in airflow.tasks(update["run"]) if task["task_id"] == "sleep")
    assert slept["try_number"] == 1


def test_an_update_brings_every_component_to_the_new_core(containers: Containers, update: dict[str, t.Any]) -> None:
    images = wait_for(
        lambda: {image for image in containers.images().values() if image.endswith(update["digest"])}, RUN_SECONDS
    )
    assert set(containers.images().values()) == images
