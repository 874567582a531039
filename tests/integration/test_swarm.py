# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A platform on Docker Swarm: tasks run in the containers of their pools, and survive an update; one that fails is undone."""

from __future__ import annotations

import json
import typing as t
import uuid

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import (
    VERIFY,
    Airflow,
    Platform,
    ansible_playbook,
    at_once,
    wait_for,
)

pytestmark = [pytest.mark.disturbs, pytest.mark.swarm]

RUN_SECONDS = 300
UPLOADED_SECONDS = 60
"""A worker sends a log when its task has ended, and the API server asks the worker for it until then."""

LONG_TASK = 150
"""Seconds: longer than an update of all services takes until the workers' turn."""

OTHER = "FROM {image}\nLABEL of-another-build=true\n"
BROKEN = 'FROM {image}\nENTRYPOINT ["dumb-init", "--", "python", "-c", "raise SystemExit(\'this core is broken\')"]\n'


class Swarm:
    """The Swarm's manager, asked through the command of Docker on its host."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._stack = f"airflow-{platform.plan['environment']}"
        self.nodes: list[str] = platform.plan["nodes"]

    def docker(self, command: str, node: str | None = None, stdin: str = "") -> str:
        return self._platform.run(node or self.nodes[0], f"docker {command}", stdin).stdout.strip()

    def images(self) -> dict[str, str]:
        """The image of each service that stays, by component."""
        names = self.docker(f"service ls --quiet --filter label=com.docker.stack.namespace={self._stack}").split()
        services = json.loads(self.docker(f"service inspect {' '.join(names)}"))
        return {
            service["Spec"]["Name"].removeprefix(f"{self._stack}_"): service["Spec"]["TaskTemplate"]["ContainerSpec"][
                "Image"
            ]
            for service in services
            if "Replicated" in service["Spec"]["Mode"]
        }

    def containers(self, component: str) -> list[dict[str, t.Any]]:
        """What runs of a component, on whichever node."""
        label = f"label=com.docker.swarm.service.name={self._stack}_{component}"

        def on(node: str) -> list[dict[str, t.Any]]:
            found = self.docker(f"ps --quiet --filter {label}", node).split()
            return list(json.loads(self.docker(f"inspect {' '.join(found)}", node))) if found else []

        return [
            container for found in at_once([lambda node=node: on(node) for node in self.nodes]) for container in found
        ]

    def addresses(self, component: str) -> set[str]:
        return {
            network["IPAddress"]
            for container in self.containers(component)
            for network in container["NetworkSettings"]["Networks"].values()
        }

    def derived(self, image: str, recipe: str) -> str:
        """The digest of an image that was built on the core's and pushed beside it."""
        name = f"{image.partition('@')[0]}:{uuid.uuid4().hex}"
        self.docker(f"build --quiet --tag {name} -", stdin=recipe.format(image=image))
        self.docker(f"push --quiet {name}")
        (reference,) = json.loads(self.docker(f"image inspect {name} --format '{{{{json .RepoDigests}}}}'"))
        return str(reference.partition("@")[2])


@pytest.fixture(name="swarm", scope="module")
def swarm_of_the_platform(platform: Platform) -> Swarm:
    return Swarm(platform)


def deploy(platform: Platform, image: str, digest: str, succeeds: bool = True) -> str:
    """Deploy the platform with another image of the core."""
    core = {"image": image.partition("@")[0], "digest": digest}
    return ansible_playbook(platform.inventory, "site.yml", {"airflow_core_deployed": core}, succeeds=succeeds)


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
    platform: Platform, swarm: Swarm, ended: list[dict[str, t.Any]]
) -> None:
    addresses = {pool["name"]: swarm.addresses(f"worker-{pool['name']}") for pool in platform.plan["pools"]}
    for task in (task for run in ended for task in run["tasks"]):
        (pool,) = (pool["name"] for pool in platform.plan["pools"] if task["queue"] in pool["queues"])
        assert task["hostname"] in addresses[pool]


def test_logs_come_from_the_store_although_their_containers_are_volatile(
    platform: Platform, airflow: Airflow, ended: list[dict[str, t.Any]]
) -> None:
    for task in (run["tasks"][0] for run in ended):
        assert wait_for(lambda task=task: platform.plan["log_store"]["url"] in airflow.log(task), UPLOADED_SECONDS)


def test_a_worker_has_the_sources_of_its_pool_and_no_others(platform: Platform, swarm: Swarm) -> None:
    storage = platform.plan["dag_storage"]
    for pool in platform.plan["pools"]:
        (container,) = swarm.containers(f"worker-{pool['name']}")
        mounts = [mount for mount in container["Mounts"] if mount["Destination"].startswith(storage["path"])]
        assert {mount["Destination"].removeprefix(f"{storage['path']}/") for mount in mounts} == {
            *pool["sources"],
            storage["sentinel"],
        }
        assert not any(mount["RW"] for mount in mounts)


def test_no_secret_is_in_the_description_of_a_container(platform: Platform, swarm: Swarm) -> None:
    for component in platform.plan["components"]:
        shown = json.dumps(swarm.containers(component["name"]))
        assert shown != "[]"
        assert [name for name, value in platform.secrets.items() if value in shown] == []


@pytest.fixture(name="update", scope="module")
def update_under_a_task(platform: Platform, airflow: Airflow, swarm: Swarm) -> t.Iterator[dict[str, t.Any]]:
    """Another core, deployed while a task runs; the first one comes back in the end."""
    before = swarm.images()
    (image,) = set(before.values())
    digest = swarm.derived(image, OTHER)
    run = airflow.trigger("etl_wait", dag_run_id=f"update-{uuid.uuid4()}", conf={"seconds": LONG_TASK})
    (running,) = wait_for(lambda: [task for task in airflow.tasks(run) if task["state"] == "running"], RUN_SECONDS)
    wait_for(lambda: "sleeping" in airflow.log(running), RUN_SECONDS)
    live = airflow.log(running)
    deploy(platform, image, digest)
    yield {"run": run, "digest": digest, "live": live}
    deploy(platform, image, image.partition("@")[2])


def test_the_log_of_a_running_task_is_shown(update: dict[str, t.Any]) -> None:
    assert f"sleeping for {LONG_TASK} s" in update["live"]


def test_a_running_task_is_finished_by_the_worker_that_an_update_replaces(
    airflow: Airflow, update: dict[str, t.Any]
) -> None:
    assert airflow.ended(update["run"], RUN_SECONDS) == "success"
    (slept,) = (task for task in airflow.tasks(update["run"]) if task["task_id"] == "sleep")
    assert slept["try_number"] == 1


def test_an_update_brings_every_component_to_the_new_core(swarm: Swarm, update: dict[str, t.Any]) -> None:
    images = wait_for(
        lambda: {image for image in swarm.images().values() if image.endswith(update["digest"])}, RUN_SECONDS
    )
    assert set(swarm.images().values()) == images


def test_an_update_that_fails_says_why_and_is_undone(
    platform: Platform, swarm: Swarm, update: dict[str, t.Any]
) -> None:
    before = swarm.images()
    image = next(iter(before.values()))
    output = deploy(platform, image, swarm.derived(image, BROKEN), succeeds=False)
    assert "this core is broken" in output
    assert swarm.images() == before
    ansible_playbook(platform.inventory, VERIFY, {})
