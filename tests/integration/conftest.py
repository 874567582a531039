# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Tests of a platform that is deployed. See README.md for how to run them against an inventory of one's own."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import tempfile
import typing as t
import uuid
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ansible_collections.airstack.backbone.tests.integration import containers, deployed
from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, at_once, wait_for

PLATFORM: pytest.StashKey[Platform] = pytest.StashKey()
FOLDER: pytest.StashKey[pathlib.Path] = pytest.StashKey()

NO_PLATFORM = "needs a deployed platform: --ansible-inventory"
OF_PLATFORMS: dict[str, tuple[str, t.Container[str]]] = {
    "containers": ("needs a platform whose components run in containers", containers.OF_PLATFORM),
    "swarm": ("needs a platform on Docker Swarm", ["swarm"]),
    "kubernetes": ("needs a platform on Kubernetes", ["kubernetes"]),
}
"""Tests of some platforms alone, by their marker: why others skip them, and which ones run them."""

RUN_SECONDS = 1200
TASK_PROCESS = re.compile(r"airflow worker -- ")
"""The title that Airflow 3.3 gives to the process of a task."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--may-disturb",
        metavar="ENVIRONMENT",
        help="the inventory's airflow_environment, said again: its DAGs may be triggered and its workers stopped",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "disturbs: triggers DAGs, publishes sources or stops workers (--may-disturb)")
    config.addinivalue_line(
        "markers", "broker: what another broker may do otherwise; the scenarios of brokers run these alone"
    )
    config.addinivalue_line("markers", "containers: of a platform whose components run in containers")
    config.addinivalue_line(
        "markers", "swarm: of a platform on Docker Swarm; its scenario runs these and `containers` alone"
    )
    config.addinivalue_line("markers", "kubernetes: of a platform on Kubernetes; likewise")
    inventory = config.getoption("ansible_inventory")
    if not inventory or config.getoption("collectonly"):
        return
    # Short, because a socket's path holds at most 108 bytes.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="backbone-"))
    config.stash[FOLDER] = folder
    platform = config.stash[PLATFORM] = Platform(str(pathlib.Path(inventory).absolute()), folder)
    _write_for_clients(platform, folder)


def _write_for_clients(platform: Platform, folder: pathlib.Path) -> None:
    """What the tests of the services' walls read, which also run without Ansible."""
    (folder / "plan.json").write_text(json.dumps(platform.plan), encoding="utf-8")
    (folder / "secrets").mkdir()
    for name, value in platform.secrets.items():
        (folder / "secrets" / name).write_text(value, encoding="utf-8")
    os.environ["AIRFLOW_PLAN"] = str(folder / "plan.json")
    os.environ["AIRFLOW_SECRETS"] = str(folder / "secrets")


def pytest_unconfigure(config: pytest.Config) -> None:
    if PLATFORM in config.stash:
        config.stash[PLATFORM].disconnect()
    if FOLDER in config.stash:
        shutil.rmtree(config.stash[FOLDER])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of a `machine`, `unit` or `worker` is one for each of the platform's."""
    platform = metafunc.config.stash.get(PLATFORM, None)
    for name, cases in {
        "unit": [] if platform is None else platform.units,
        "worker": [] if platform is None else platform.workers,
        "machine": [] if platform is None else [(host,) for host in platform.hosts],
    }.items():
        if name in metafunc.fixturenames:
            absent = [pytest.param(None, marks=pytest.mark.skip(NO_PLATFORM), id="absent")]
            present = [pytest.param(case if len(case) > 1 else case[0], id="-".join(case[:2])) for case in cases]
            metafunc.parametrize(name, present or absent, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip by name what may not run; what needs the workers stopped comes last, so that they are stopped once."""
    platform = config.stash.get(PLATFORM, None)
    environment = platform and platform.plan["environment"]
    for item in items:
        if (
            platform is not None
            and item.get_closest_marker("disturbs")
            and config.getoption("may_disturb") != environment
        ):
            item.add_marker(pytest.mark.skip(f"disturbs the platform: needs --may-disturb={environment}"))
        for marker, (reason, platforms) in OF_PLATFORMS.items():
            if platform is not None and item.get_closest_marker(marker) and platform.plan["platform"] not in platforms:
                item.add_marker(pytest.mark.skip(reason))
    items.sort(key=lambda item: "workers_stopped" in getattr(item, "fixturenames", ()))


def _may_disturb(config: pytest.Config) -> bool:
    return bool(config.getoption("may_disturb") == config.stash[PLATFORM].plan["environment"])


@pytest.fixture(name="platform", scope="session")
def deployed_platform(pytestconfig: pytest.Config) -> Platform:
    if PLATFORM not in pytestconfig.stash:
        pytest.skip(NO_PLATFORM)
    return pytestconfig.stash[PLATFORM]


@pytest.fixture(name="airflow", scope="session")
def rest_api(platform: Platform) -> deployed.Airflow:
    return platform.airflow


@pytest.fixture(name="containers", scope="session")
def containers_of_the_platform(platform: Platform) -> containers.Containers:
    return containers.OF_PLATFORM[platform.plan["platform"]](platform)


@pytest.fixture(name="scans", scope="session")
def scans_for_secrets(platform: Platform) -> t.Iterator[dict[str, Future[dict[str, t.Any] | None]]]:
    """What each worker's host shows of the secrets when a task is first seen to run on it."""

    def scan(host: str) -> dict[str, t.Any] | None:
        answer = platform.seek(host, platform.secrets)
        return answer if any(TASK_PROCESS.search(title) for title in answer["titles"]) else None

    with ThreadPoolExecutor() as executor:
        yield {
            host: executor.submit(wait_for, lambda host=host: scan(host), RUN_SECONDS)
            for host, _unit, _pool in platform.workers
        }


@pytest.fixture(name="triggered", scope="session")
def triggered_runs(platform: Platform, scans: t.Any) -> list[dict[str, t.Any]]:
    """A run of every DAG of every source, begun at the same time."""
    assert scans, "they look before there is something to see"
    airflow = platform.airflow
    sources = {source["name"] for source in platform.plan["sources"]}

    def trigger(dag: dict[str, t.Any]) -> dict[str, t.Any]:
        run = airflow.trigger(dag["dag_id"], dag_run_id=f"test-{uuid.uuid4()}")
        return {**run, "source": dag["bundle_name"], "release": dag["bundle_version"]}

    return at_once([lambda dag=dag: trigger(dag) for dag in airflow.dags() if dag["bundle_name"] in sources])


@pytest.fixture(name="finished", scope="session")
def finished_runs(platform: Platform, triggered: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The triggered runs when all of them have ended, each with its `tasks`."""
    airflow = platform.airflow

    def state(run: dict[str, t.Any]) -> dict[str, t.Any]:
        answer: dict[str, t.Any] = airflow.ask(
            "GET", f"dags/{run['dag_id']}/dagRuns/{deployed.quoted(run['dag_run_id'])}"
        )
        return {**run, **answer}

    def ended() -> list[dict[str, t.Any]]:
        runs = at_once([lambda run=run: state(run) for run in triggered])
        return runs if all(run["state"] in ("success", "failed") for run in runs) else []

    runs = wait_for(ended, RUN_SECONDS) or [state(run) for run in triggered]
    return [{**run, "tasks": airflow.tasks(run)} for run in runs]


@pytest.fixture(name="workers_stopped", scope="session")
def all_workers_stopped(request: pytest.FixtureRequest) -> t.Iterator[None]:
    """No worker runs; afterwards all of them do again, and the doctor says so.

    They run on where the platform may not be disturbed, for tests that can do with them, too.
    """
    platform = request.config.stash.get(PLATFORM, None)
    if platform is None or not _may_disturb(request.config):
        yield
        return

    def each(verb: str) -> None:
        at_once(
            [
                lambda host=host, unit=unit: platform.run(host, f"systemctl {verb} {unit}")
                for host, unit, _pool in platform.workers
            ]
        )

    each("stop")
    try:
        yield
    finally:
        each("start")
        deployed.ansible_playbook(platform.inventory, deployed.VERIFY, {})
