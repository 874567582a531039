# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A platform on Kubernetes: its walls, DAGs that come and go through a pod, a core that does not start, a pool that is gone."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model.placement import API_NAME
from ansible_collections.airstack.backbone.plugins.module_utils._model.ports import WORKER_LOG_PORT
from ansible_collections.airstack.backbone.tests.integration.containers import BROKEN, Cluster, deploy
from ansible_collections.airstack.backbone.tests.integration.deployed import (
    VERIFY,
    Airflow,
    Platform,
    ansible_playbook,
    further_dags,
    wait_for,
)

pytestmark = [pytest.mark.disturbs, pytest.mark.kubernetes]

SEEN_SECONDS = 180
"""Until the DAG processor has parsed what was published, and until a pod is gone."""

TOKEN = "if [ -e /var/run/secrets/kubernetes.io ]; then echo there; else echo absent; fi"

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()
except socket.gaierror:
    raise
except OSError:
    print("refused")
else:
    print("connected")
"""

FURTHER = """
from airflow.sdk import DAG

with DAG("etl_further", schedule=None):
    pass
"""


def connect(cluster: Cluster, component: str, host: str, port: int) -> str:
    """What becomes of a connection from a component's pod, which a policy may refuse."""
    (pod,) = cluster.pods(component)
    command = ["exec", pod["metadata"]["name"], "--", "/opt/airflow/bin/python", "-c", CONNECT, host, str(port)]
    return cluster.kubectl(*command).stdout.strip()


def test_who_deploys_has_rights_in_the_namespace_alone(containers: Cluster) -> None:
    for question in ("list nodes", "create namespaces", "list secrets --all-namespaces", "create roles", "create pods"):
        assert containers.kubectl("auth", "can-i", *question.split(), check=False).stdout.strip() == "no"


def test_no_pod_has_a_token_of_the_cluster(platform: Platform, containers: Cluster) -> None:
    pods = containers.of("pods")
    assert {component["name"] for component in platform.plan["components"]} <= {
        pod["metadata"]["labels"].get("airstack.backbone/component") for pod in pods
    }
    for pod in (pod for pod in pods if pod["status"]["phase"] == "Running"):
        assert containers.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", TOKEN).stdout == "absent\n"


def test_a_pod_reaches_what_it_has_to_and_nothing_else(platform: Platform, containers: Cluster) -> None:
    database, broker = ((platform.plan[name]["host"], platform.plan[name]["port"]) for name in ("database", "broker"))
    (address,) = containers.addresses("worker-ml")
    logs = (address, WORKER_LOG_PORT)
    ways = {
        ("worker-etl", *broker): "connected",
        ("worker-etl", API_NAME, platform.plan["api"]["port"]): "connected",
        ("scheduler", *database): "connected",
        ("api-server", *logs): "connected",
        ("worker-etl", *logs): "refused",
        ("dag-processor", *broker): "refused",
        ("publisher", *database): "refused",
    }
    assert {way: connect(containers, *way) for way in ways} == ways


def test_what_was_published_from_a_pod_is_rolled_back(
    platform: Platform, airflow: Airflow, tmp_path: pathlib.Path
) -> None:
    with further_dags(platform, tmp_path, {"etl": {"etl_further": FURTHER}}):
        assert wait_for(lambda: airflow.knows("etl_further"), SEEN_SECONDS)
        ansible_playbook(platform.inventory, "playbooks/rollback_dags.yml", {"airflow_dags_only": "etl"})
        assert wait_for(lambda: not airflow.knows("etl_further"), SEEN_SECONDS)


def test_a_core_that_does_not_start_says_why_and_what_ran_goes_on(
    platform: Platform, airflow: Airflow, containers: Cluster
) -> None:
    before = containers.images()
    (image,) = set(before.values())
    ran = {pod["metadata"]["uid"] for name in before for pod in containers.pods(name)}
    output = deploy(platform, image, containers.derived(image, BROKEN), succeeds=False)
    assert "this core is broken" in output
    assert ran <= {pod["metadata"]["uid"] for name in before for pod in containers.pods(name)}
    assert airflow.dags()
    deploy(platform, image, image.partition("@")[2])
    assert containers.images() == before
    ansible_playbook(platform.inventory, VERIFY, {})


@pytest.fixture(name="pool_is_gone", scope="module")
def without_the_pool_of_ml(platform: Platform, containers: Cluster) -> t.Iterator[None]:
    """The platform with one pool and one source less, until it is as the inventory says."""
    sources = [{"name": each["name"], "queues": each["queues"], **each["origin"]} for each in platform.plan["sources"]]
    kept: dict[str, t.Any] = {
        "airflow_dag_sources": [source for source in sources if source["name"] != "ml"],
        "airflow_worker_pools": [
            {key: pool[key] for key in ("name", "queues", "concurrency")}
            for pool in platform.plan["pools"]
            if pool["name"] != "ml"
        ],
    }
    ansible_playbook(platform.inventory, "site.yml", kept)
    yield
    ansible_playbook(platform.inventory, "site.yml", {})
    assert containers.pods("worker-ml")


@pytest.mark.usefixtures("pool_is_gone")
def test_of_a_pool_that_is_gone_nothing_stays(containers: Cluster) -> None:
    kinds = "statefulsets,services,serviceaccounts,configmaps,secrets,networkpolicies,poddisruptionbudgets"
    assert containers.of(kinds, component="worker-etl")
    assert wait_for(lambda: not containers.pods("worker-ml"), SEEN_SECONDS)
    # What a pod on its way out still reads stays until a later run.
    assert [each["kind"] for each in containers.of("statefulsets", component="worker-ml")] == []
    assert "worker-ml" not in json.dumps(containers.of("networkpolicies", component="api-server"))
