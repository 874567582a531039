# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Other queues of a worker are no reason to restart it, unless it cannot be told or needs another source for them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.components import (
    component_files,
    component_queue_files,
    component_units,
    worker_assignments,
)
from ansible_collections.airstack.backbone.tests.unit.render.conftest import ADDRESSES, GROUPS

CORE = "/opt/airflow/core/3.3.2-0123456789ab"
HOST = "worker-etl1"
UNIT = "airflow-worker-etl.service"
QUEUES = "/etc/airflow/worker-etl/queues"


def made(variables: dict[str, Any], **changes: Any) -> dict[str, Any]:
    planned, problems = plan.make({**variables, **changes}, Inventory(GROUPS, ADDRESSES))
    assert planned is not None, problems
    return planned


def fewer(variables: dict[str, Any]) -> dict[str, Any]:
    """The same platform without the queue etl_highmem."""
    sources = [{**variables["airflow_dag_sources"][0], "queues": ["etl"]}, *variables["airflow_dag_sources"][1:]]
    pools = [{**variables["airflow_worker_pools"][0], "queues": ["etl"]}, *variables["airflow_worker_pools"][1:]]
    return made(variables, airflow_dag_sources=sources, airflow_worker_pools=pools)


def lent(variables: dict[str, Any]) -> dict[str, Any]:
    """The same platform with the queue ml for the pool etl, too."""
    etl, ml = variables["airflow_worker_pools"]
    return made(variables, airflow_worker_pools=[{**etl, "queues": [*etl["queues"], "ml"]}, ml])


def restarting(before: dict[str, Any], after: dict[str, Any], endpoints: dict[str, Any]) -> dict[str, list[str]]:
    """The files of the worker's host that differ, each with the labels that file_set gives back for it."""
    secrets = {secret["name"]: "x" for secret in before["secrets"]}
    old, new = (
        {file["path"]: file for file in component_files(each, endpoints, HOST, CORE, secrets, 30)["files"]}
        for each in (before, after)
    )
    return {path: file["restarts"] for path, file in new.items() if file != old[path]}


@pytest.fixture(name="planned")
def planned_platform(variables: dict[str, Any]) -> dict[str, Any]:
    return made(variables)


def test_other_queues_restart_nothing(variables: Any, planned: Any, endpoints: Any) -> None:
    assert restarting(planned, fewer(variables), endpoints) == {QUEUES: [], "/etc/airflow/routing.json": []}


def test_a_queue_of_another_source_restarts_the_worker(variables: Any, planned: Any, endpoints: Any) -> None:
    changed = restarting(planned, lent(variables), endpoints)
    assert changed[f"/etc/systemd/system/{UNIT}"] == ["daemon-reload", UNIT]


def test_other_queues_restart_a_worker_that_cannot_be_told(variables: Any, planned: Any, endpoints: Any) -> None:
    endpoints["broker"] = {**endpoints["broker"], "scheme": "sqs", "endpoint_url": None}
    assert restarting(planned, fewer(variables), endpoints)[QUEUES] == [UNIT]
    (unit,) = component_units(planned, endpoints, HOST)
    assert QUEUES in unit["files"]


def test_a_running_worker_is_not_stale_for_its_queues(planned: Any, endpoints: Any) -> None:
    (unit,) = component_units(planned, endpoints, HOST)
    assert QUEUES not in unit["files"]


def test_the_files_of_queues_are_those_of_all_files(planned: Any, endpoints: Any, secrets: Any) -> None:
    for host in ("control1", HOST):
        files = component_files(planned, endpoints, host, CORE, secrets, 30)["files"]
        some = component_queue_files(planned, endpoints, host)
        assert [file["path"] for file in some] == [*([QUEUES] if host == HOST else []), "/etc/airflow/routing.json"]
        assert all(file in files for file in some)
    assert component_queue_files(planned, endpoints, "backbone1") == []


def test_only_workers_that_run_as_they_shall_are_told(planned: Any) -> None:
    def seen(condition: str) -> dict[str, Any]:
        return {"condition": condition}

    units = {
        "control1": {"airflow-scheduler.service": seen("current")},
        "worker-etl1": {UNIT: seen("current")},
        "worker-etl2": {UNIT: seen("stale")},
        "worker-ml1": {"airflow-worker-ml.service": seen("down")},
    }
    told = [{"workers": "etl@worker-etl1", "queues": ["etl", "etl_highmem"]}]
    nothing: dict[str, list[str]] = {host: [] for host in units}
    assert worker_assignments(planned, units, nothing) == told
    assert worker_assignments(planned, units, {**nothing, "worker-etl1": [UNIT]}) == []
    assert worker_assignments(planned, {HOST: units[HOST]}, nothing) == told
