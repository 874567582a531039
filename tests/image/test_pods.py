# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""All pods of a platform, which podman runs from its manifests with the core's image, to a canary DAG on two pools.

PostgreSQL, RabbitMQ and what stands for S3 (moto) run beside podman on this host. What podman cannot do of a manifest, and what
is made of it instead: tests/unit/render/kubernetes/kube_play.py.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airstack.backbone.plugins.module_utils._model import placement, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._model.secrets import MAKERS
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import component_manifests
from ansible_collections.airstack.backbone.tests.image import containers, modules
from ansible_collections.airstack.backbone.tests.image.core_images import Controller
from ansible_collections.airstack.backbone.tests.integration.deployed import Airflow, wait_for
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues.brokers import RabbitMQ
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes import kube_play
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import endpoints_of
from ansible_collections.airstack.backbone.tests.unit.services import aws, postgresql_server

pytestmark = [
    needs.root,
    needs.podman,
    needs.docker_registry,
    needs.mmdebstrap,
    needs.static_busybox,
    needs.postgresql,
    needs.rabbitmq,
]

PATIENCE = 900
"""Seconds for a pod to work, or for a run to end; on two idle cores the slowest one takes 30."""

CANARY = '''
"""A task on each of two pools, which tells where it runs and which sources it sees."""

from __future__ import annotations

import os
import socket

from airflow.sdk import DAG, task


def sing() -> dict[str, object]:
    print(f"the canary sings on {socket.gethostname()}")
    return {"host": socket.gethostname(), "sources": sorted(os.listdir("/srv/airflow/dags"))}


with DAG("canary", schedule=None):
    task(task_id="on_etl", queue="etl")(sing)()
    task(task_id="on_ml", queue="ml")(sing)()
'''
ORDERS = '''
"""A DAG of another source, whose task names no queue."""

from __future__ import annotations

import socket

from airflow.sdk import DAG, task

with DAG("orders", schedule=None):

    @task
    def load() -> str:
        return socket.gethostname()

    load()
'''
DAGS = {"canary": CANARY, "etl": ORDERS}
DESCRIPTION = {
    "airflow_environment": "pods",
    "airflow_platform": "kubernetes",
    "airflow_api_url": "http://api-server:8080",
    "airflow_cluster_networks": ["10.88.0.0/16"],
    "airflow_longest_task": "20m",
    "airflow_dag_sources": [
        {"name": "canary", "path": "/dags/canary", "queues": ["etl", "ml"]},
        {"name": "etl", "path": "/dags/etl", "queues": ["etl"]},
    ],
    "airflow_worker_pools": [
        {"name": "etl", "queues": ["etl"], "concurrency": 2},
        {"name": "ml", "queues": ["ml"], "concurrency": 2},
    ],
}
SERVICES = ("airflow_database", "airflow_broker", "airflow_object_store")


class Pods:
    """A platform's pods on a network of podman's.

    started: the pods as they are played, by name.
    """

    def __init__(self, podman: kube_play.Podman, network: str, folder: Path) -> None:
        self.podman = podman
        self.storage = folder / "dags"
        self.started: dict[str, dict[str, Any]] = {}
        self._network = network
        self._folder = folder

    def play(self, *manifests: Mapping[str, Any]) -> None:
        file = self._folder / "played.yaml"
        file.write_text(yaml.safe_dump_all(manifests, sort_keys=False), encoding="utf-8")
        self.podman("kube", "play", "--quiet", "--network", self._network, str(file))

    def run(self, steps: list[dict[str, Any]]) -> None:
        """Everything in its order; after each step its pods work, or have ended as they should."""
        every = [manifest for step in steps for manifest in step["manifests"]]
        maps = {each["metadata"]["name"]: each for each in every if each["kind"] == "ConfigMap"}
        data = {name: each["data"] for name, each in maps.items()}
        for secret in [each for each in every if each["kind"] == "Secret"]:
            self.podman.bring_secret(secret)
        for step in steps:
            workloads = [each for each in step["manifests"] if each["kind"] in kube_play.WORKLOADS]
            made = [pod for workload in workloads for pod in kube_play.pods(workload)]
            for pod in made:
                *first, main = kube_play.playable(pod, data, self.storage)
                for each in first:
                    self.play(each)
                    self.end(each)
                self.play(*_read(main, maps), main)
                self.started[pod["metadata"]["name"]] = pod
            for pod in made:
                if step["wait"] == "complete":
                    self.end(pod)
                else:
                    self.become_ready(pod)

    def end(self, pod: Mapping[str, Any]) -> None:
        """Wait until a pod has done its work."""
        assert self.podman("wait", _container(pod)).strip() == "0", self.logs(pod)

    def logs(self, pod: Mapping[str, Any]) -> str:
        done = self.podman.run("logs", "--tail", "60", _container(pod))
        return f"{pod['metadata']['name']}:\n{done.stdout}{done.stderr}"

    def address(self, name: str) -> str:
        infra = self.podman("pod", "inspect", name, "--format", "{{.InfraContainerID}}").strip()
        (network,) = json.loads(self.podman("inspect", infra))[0]["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def become_ready(self, pod: Mapping[str, Any]) -> None:
        """Wait until a cluster would call it ready: its probes look, as they stand in its manifest."""
        deadline = time.monotonic() + PATIENCE
        for probe in kube_play.probes(pod):
            while not self._look(pod, probe):
                assert time.monotonic() < deadline, self.logs(pod)
                time.sleep(probe["periodSeconds"])

    def _look(self, pod: Mapping[str, Any], probe: Mapping[str, Any]) -> bool:
        if "exec" in probe:
            return self.podman.run("exec", _container(pod), *probe["exec"]["command"]).returncode == 0
        asked, address = probe["httpGet"], self.address(pod["metadata"]["name"])
        try:
            with urllib.request.urlopen(f"http://{address}:{asked['port']}{asked['path']}", timeout=10):
                return True
        except OSError:
            return False


def _container(pod: Mapping[str, Any]) -> str:
    """What podman calls the container of a pod."""
    (container,) = pod["spec"]["containers"]
    return f"{pod['metadata']['name']}-{container['name']}"


def _read(pod: Mapping[str, Any], maps: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The ConfigMaps that a pod reads."""
    volumes = [volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume]
    (container,) = pod["spec"]["containers"]
    sources = [each["valueFrom"].get("configMapKeyRef") for each in container["env"] if "valueFrom" in each]
    names = dict.fromkeys([*volumes, *(source["name"] for source in sources if source)])
    return [maps[name] for name in names]


class Platform:
    """A platform whose pods run, its API and its log store."""

    def __init__(self, pods: Pods, planned: Mapping[str, Any], secrets: Mapping[str, str], store: aws.Aws) -> None:
        self.pods = pods
        url = f"http://{pods.address('api-server')}:{planned['api']['port']}"
        self.airflow = Airflow(url, planned["api"]["admin_user"], secrets["admin"])
        self._s3, self._bucket = store.client("s3"), planned["log_store"]["bucket"]

    def runs(self, dag: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """A run of a DAG that ended well, and its tasks by their names."""
        assert wait_for(lambda: self.airflow.knows(dag), PATIENCE), self._said()
        run = self.airflow.trigger(dag)
        assert self.airflow.ended(run, PATIENCE) == "success", self._said()
        return run, {task["task_id"]: task for task in self.airflow.tasks(run)}

    def _said(self) -> str:
        return "\n".join(self.pods.logs(pod) for pod in self.pods.started.values())

    def stored(self, run: Mapping[str, Any], task: str) -> str:
        """What the log store has of a task."""
        found = self._s3.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        keys = [each["Key"] for each in found if run["dag_run_id"] in each["Key"] and task in each["Key"]]
        return "".join(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read().decode() for key in keys)


@contextmanager
def podman_with_images_of_this_host(folder: Path) -> Iterator[kube_play.Podman]:
    """podman with a storage of its own, beside which it reads this host's."""
    told = containers.podman(
        containers.settings(folder), "info", "--format", "{{.Store.GraphDriverName}} {{.Store.GraphRoot}}"
    )
    driver, place = told.split()
    with tempfile.TemporaryDirectory() as run:
        podman = kube_play.Podman(folder, run, driver, "--storage-opt", f"{driver}.imagestore={place}")
        podman.bring_pause(kube_play.root_filesystem(folder, ["sleep"], {}))
        try:
            yield podman
        finally:
            podman("pod", "rm", "--all", "--force", "--time", "0")
            podman("rm", "--all", "--force", "--time", "0")
            podman("rmi", "--force", kube_play.PAUSE)
            # With the secrets, which outlast their pods.
            shutil.rmtree(folder)


@contextmanager
def network_of(podman: kube_play.Podman) -> Iterator[tuple[str, str]]:
    """A network's name and this host's address in it, which is there as long as somebody is on it."""
    name = f"airflow-pods-{os.getpid()}"
    podman("network", "create", name)
    try:
        podman("run", "--detach", "--network", name, kube_play.PAUSE)
        (made,) = json.loads(podman("network", "inspect", name))
        yield name, made["subnets"][0]["gateway"]
    finally:
        podman("network", "rm", "--force", "--time", "0", name)


def publish(environment: Mapping[str, str], storage: Path, sentinel: str, folder: Path) -> None:
    """Both sources, as the roles publish them."""
    names = list(DAGS)
    wanted = {"path": str(storage), "environment": "pods", "sources": names, "sentinel": sentinel}
    modules.module(environment, "dag_storage", wanted)
    for name, text in DAGS.items():
        (folder / name).mkdir()
        (folder / name / f"{name}_dag.py").write_text(text.lstrip(), encoding="utf-8")
    sources = [{"name": name, "path": str(folder / name)} for name in names]
    assert modules.module(environment, "dag_sync", {"storage": str(storage), "sources": sources})["changed"]


@pytest.fixture(name="platform", scope="module")
def platform_in_pods(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("pods")
    with ExitStack() as stack:
        podman = stack.enter_context(podman_with_images_of_this_host(tmp_path_factory.mktemp("podman")))
        network, address = stack.enter_context(network_of(podman))
        groups = {**{group: ["backbone1"] for group in SERVICES}, "airflow_publisher": ["publisher1"]}
        inventory = Inventory(groups, {"backbone1": address})
        planned, problems = plan.make(DESCRIPTION, inventory, tuple(placement.PLATFORMS))
        assert planned is not None, problems
        secrets = {secret["name"]: MAKERS[secret["kind"]]() for secret in planned["secrets"]}

        pods = Pods(podman, network, folder)
        publish(controller.environment, pods.storage, planned["dag_storage"]["sentinel"], folder)
        stack.enter_context(postgresql_server.running(planned["database"], secrets))
        listens = {"listeners.tcp.2": f"{address}:{planned['broker']['port']}"}
        broker = stack.enter_context(RabbitMQ(tmp_path_factory.mktemp("broker"), settings=listens, passwords=secrets))
        broker.start(planned["broker"])
        store = stack.enter_context(aws.running(address, planned["log_store"]["object_store"]["port"]))
        store.client("s3", aws.ADMINISTRATOR).create_bucket(
            Bucket=planned["log_store"]["bucket"], CreateBucketConfiguration={"LocationConstraint": aws.REGION}
        )
        told = {"namespace": "airflow-pods", "image": controller.pull(), "dags": {"existing": {"name": "dags"}}}
        pods.run(component_manifests(planned, endpoints_of(planned), told, secrets))
        yield Platform(pods, planned, secrets, store)


@pytest.fixture(name="canary", scope="module")
def run_of_the_canary(platform: Platform) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    return platform.runs("canary")


POOLS = {"on_etl": ("worker-etl-0", ["canary", "etl"]), "on_ml": ("worker-ml-0", ["canary"])}
"""The pod that each task of the canary's runs in, and the sources that are there."""


def test_every_component_has_a_pod(platform: Platform) -> None:
    kinds = ["setup", "api-server", "scheduler", "dag-processor", "triggerer", "worker-etl-0", "worker-ml-0"]
    assert [*platform.pods.started][1:] == kinds[1:]


@pytest.mark.parametrize("task", POOLS)
def test_the_canary_runs_on_each_pool_which_has_its_own_sources_alone(
    platform: Platform, canary: tuple[dict[str, Any], dict[str, dict[str, Any]]], task: str
) -> None:
    run, tasks = canary
    host, sources = POOLS[task]
    told = platform.airflow.returned(run, task)
    assert told == {"host": host, "sources": [".airflow-dag-storage", *sources]}
    assert tasks[task]["hostname"] == platform.pods.address(host)


@pytest.mark.parametrize("task", POOLS)
def test_its_log_is_in_the_store_and_is_shown(
    platform: Platform, canary: tuple[dict[str, Any], dict[str, dict[str, Any]]], task: str
) -> None:
    run, tasks = canary
    sung = f"the canary sings on {POOLS[task][0]}"
    # A worker sends a log when its task has ended.
    assert wait_for(lambda: sung in platform.stored(run, task), PATIENCE)
    assert sung in platform.airflow.log(tasks[task])


def test_another_source_runs_where_it_may(platform: Platform) -> None:
    run, _tasks = platform.runs("orders")
    assert platform.airflow.returned(run, "load") == "worker-etl-0"
