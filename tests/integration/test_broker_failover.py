# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The node that leads the broker is killed in the middle of a DAG run, and each of its tasks runs all the same."""

from __future__ import annotations

import contextlib
import json
import typing as t
from collections import Counter

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _resp
from ansible_collections.airstack.backbone.tests.integration import deployed
from ansible_collections.airstack.backbone.tests.integration.deployed import (
    VERIFY,
    Airflow,
    Platform,
    ansible_playbook,
    wait_for,
)

pytestmark = [pytest.mark.disturbs, pytest.mark.broker]

SHORT_TASKS = '''
"""Short tasks on the first queue of the source."""

from __future__ import annotations

import time

from airflow.sdk import DAG, task

with DAG("short_tasks", schedule=None, max_active_tasks={tasks}):

    @task(retries=0)
    def short(number: int) -> int:
        time.sleep(1)
        return number

    short.expand(number=list(range({tasks})))
'''
TASKS = 40
BEFORE = TASKS // 5
"""As many tasks are through when the node is killed."""

UNITS = {"rabbitmq": ["rabbitmq-server"], "redis": ["redis-server", "redis-sentinel"]}
"""What a node runs, by the broker's provider."""

PATIENCE = 240


@pytest.fixture(name="source", scope="module")
def source_of_short_tasks(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[dict[str, t.Any]]:
    if len(platform.plan["broker"]["nodes"]) < 2:
        pytest.skip("needs a broker of several nodes")
    source = platform.plan["sources"][0]
    dags = {source["name"]: {"short_tasks": SHORT_TASKS.format(tasks=TASKS)}}
    with deployed.further_dags(platform, tmp_path_factory.mktemp("source"), dags):
        yield source


def leading_node(platform: Platform, queue: str, away: str = "") -> str:
    """The host whose node leads a queue of RabbitMQ, or is Redis's master; one that is away is not asked."""
    broker = platform.plan["broker"]
    if broker["provider"] == "redis":
        sentinel = broker["sentinel"]
        places = [(node["address"], node["port"]) for node in sentinel["nodes"]]
        address, _port = _resp.master(places, sentinel["master_name"], login(platform))
        return next(node["name"] for node in broker["nodes"] if node["address"] == address)
    asked = f"rabbitmqctl --silent list_queues --vhost {broker['vhost']} name leader --formatter json"
    asks = next(node["name"] for node in broker["nodes"] if node["name"] != away)
    queues = json.loads(platform.run(asks, asked).stdout)
    leader = next(each["leader"] for each in queues if each["name"] == queue)
    return next(host for host, node in broker["cluster"]["nodes"].items() if node == leader)


def is_complete(platform: Platform) -> bool:
    """Whether each of the broker's nodes holds what the others hold."""
    broker = platform.plan["broker"]
    if broker["provider"] == "redis":
        address = {node["name"]: (node["address"], node["port"]) for node in broker["nodes"]}
        with contextlib.closing(_resp.Redis(*address[leading_node(platform, "")], login(platform))) as master:
            return master.info("replication")["connected_slaves"] == str(len(broker["nodes"]) - 1)
    asked = f"rabbitmqctl --silent list_queues --vhost {broker['vhost']} name type online --formatter json"
    done = platform.run(broker["nodes"][0]["name"], asked, check=False)
    queues = json.loads(done.stdout) if done.returncode == 0 else []
    online = [len(each["online"]) for each in queues if each["type"] == "quorum"]
    return bool(online) and set(online) == {broker["cluster"]["copies"]}


def login(platform: Platform) -> tuple[str, str]:
    broker = platform.plan["broker"]
    return broker["user"], platform.secrets[broker["secret"]]


@contextlib.contextmanager
def killed(platform: Platform, host: str) -> t.Iterator[None]:
    """A node is killed with kill -9, and stays away for so long."""
    units = " ".join(UNITS[platform.plan["broker"]["provider"]])
    platform.run(host, f"systemctl kill --signal=KILL {units} && systemctl stop {units}")
    try:
        yield
    finally:
        platform.run(host, f"systemctl start {units}")


def test_no_task_is_lost_with_the_node_that_leads(
    platform: Platform, airflow: Airflow, source: dict[str, t.Any]
) -> None:
    assert wait_for(lambda: airflow.knows("short_tasks"), 90)
    run = airflow.trigger("short_tasks")

    def through() -> int:
        return sum(task["state"] == "success" for task in airflow.tasks(run))

    assert wait_for(lambda: through() >= BEFORE, PATIENCE)
    leader = leading_node(platform, source["queues"][0])
    with killed(platform, leader):
        assert through() < TASKS, "the node has to be killed while tasks wait"
        state = airflow.ended(run, PATIENCE)
        tasks = airflow.tasks(run)
        assert leading_node(platform, source["queues"][0], leader) != leader
    assert (state, Counter(task["state"] for task in tasks)) == ("success", {"success": TASKS})
    assert {task["map_index"] for task in tasks} == set(range(TASKS))
    assert wait_for(lambda: is_complete(platform), PATIENCE)
    ansible_playbook(platform.inventory, VERIFY, {})
