# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Three real nodes of RabbitMQ with the role's configuration: no task is lost with a node, and no half lives on alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _amqp
from ansible_collections.airstack.backbone.plugins.module_utils._model import plan, settings
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.services import rabbitmq_nodes
from ansible_collections.airstack.backbone.tests.unit.services.rabbitmq_nodes import Network, Node

pytest.importorskip("celery", reason="a cluster under load needs Celery, which is not installed")
if LACK := rabbitmq_nodes.missing():
    pytest.skip(f"a cluster of RabbitMQ needs {LACK}", allow_module_level=True)

HERE = Path(__file__).parent
TASKS = 300
PATIENCE = 600
ADDRESSES = {"mq1": "10.89.58.11", "mq2": "10.89.58.12", "mq3": "10.89.58.13"}
GROUPS = {
    "airflow_database": ["db1"],
    "airflow_broker": list(ADDRESSES),
    "airflow_control": ["control1"],
    "airflow_workers_etl": ["client"],
}
VARIABLES = {
    "airflow_environment": "local",
    "airflow_dag_sources": [{"name": "etl", "path": "/dags", "queues": ["etl"]}],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
}


@dataclass
class Broker:
    """A running cluster, and what its clients need."""

    nodes: list[Node]
    network: Network
    folder: Path
    plan: dict[str, Any]
    secrets: dict[str, str]

    @property
    def trace(self) -> Path:
        return self.folder / "trace"

    def client(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A program on the client's host, with what the applications read in its environment."""
        known = {
            "AIRFLOW_PLAN": str(self.folder / "plan.json"),
            "AIRFLOW_SECRETS": str(self.folder / "secrets"),
            "CLUSTER_TRACE": str(self.trace),
            "WALL_RESULTS": str(self.folder / "results"),
        }
        return subprocess.Popen(
            [*self.network.enter("client"), sys.executable, *command],
            cwd=HERE,
            env={**os.environ, **known, **environment},
            stdout=subprocess.PIPE,
            stderr=(self.folder / "client.log").open("ab"),
            text=True,
        )

    def done(self) -> Counter[int]:
        """How often each task ran to its end."""
        return Counter(map(int, self.trace.read_text(encoding="utf-8").split())) if self.trace.exists() else Counter()

    def members(self) -> dict[str, set[str]]:
        """The nodes that hold a copy of each quorum queue and are there, as the first of the nodes that run tells."""
        for node in self.nodes:
            queues = node.ask("list_queues", "--vhost", self.plan["broker"]["vhost"], "name", "type", "online")
            if queues is not None:
                return {queue["name"]: set(queue["online"]) for queue in queues if queue["type"] == "quorum"}
        raise AssertionError("no node answers")


@pytest.fixture(name="broker", scope="module")
def broker_of_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    planned, problems = plan.make(VARIABLES, Inventory(GROUPS, ADDRESSES))
    assert planned is not None, problems
    secrets = {secret["name"]: f"of-{secret['name']}" for secret in planned["secrets"]}
    folder = tmp_path_factory.mktemp("cluster")
    for path in ("secrets", "results"):
        (folder / path).mkdir()
    (folder / "plan.json").write_text(json.dumps(planned), encoding="utf-8")
    for name, value in secrets.items():
        (folder / "secrets" / name).write_text(value, encoding="utf-8")
    with rabbitmq_nodes.cluster(planned, secrets, folder) as (nodes, network):
        yield Broker(nodes, network, folder, planned, secrets)


def wait_for(reached: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline, f"after {patience} s: {what}"
        time.sleep(1)


def test_each_queue_has_its_copies_and_the_ports_are_on_the_nodes_own_address(broker: Broker) -> None:
    names = {node.name for node in broker.nodes}
    assert broker.members() == {"etl": names}
    for node in broker.nodes:
        assert set(node.running()) == names
        listening = subprocess.run(
            [*broker.network.enter(node.host), "ss", "-Hltn", "sport = :25672 or sport = :5672"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        places = {line.split()[3] for line in listening.splitlines()}
        assert places == {f"{ADDRESSES[node.host]}:{port}" for port in (5672, 25672)}


def test_who_has_another_cookie_commands_no_node(broker: Broker, tmp_path: Path) -> None:
    first, *_others = broker.nodes
    (tmp_path / ".erlang.cookie").write_text("another", encoding="utf-8")
    (tmp_path / ".erlang.cookie").chmod(0o400)
    stranger = first.control("rabbitmqctl", "cluster_status", HOME=str(tmp_path))
    assert stranger.returncode != 0
    assert "cookie" in stranger.stderr


def test_a_node_that_is_killed_under_load_loses_no_task(
    broker: Broker, record_property: Callable[[str, object], None]
) -> None:
    """Kills the node that leads the queue and has the clients' connections: the first in their address."""
    victim = broker.nodes[0]
    transfer = victim.control(
        "rabbitmqctl", "eval", f"rabbit_quorum_queue:transfer_leadership({queue_of(broker)}, '{victim.name}')."
    )
    assert transfer.returncode == 0, transfer.stderr
    workers = [worker(broker, number) for number in (1, 2)]
    sender = broker.client("cluster_app.py", str(TASKS), "0.05", str(settings.PUBLISH_TIMEOUT))
    try:
        wait_for(lambda: len(broker.done()) >= TASKS // 10 or sender.poll() is not None, "too few tasks ran")
        assert sender.poll() is None, (broker.folder / "client.log").read_text(encoding="utf-8")
        victim.kill()
        wait_for(lambda: len(broker.done()) >= TASKS // 2, "the tasks do not go on without the node")
        victim.start()
        output, _error = sender.communicate(timeout=PATIENCE)
        sent = json.loads(output)
        wait_for(lambda: set(sent["taken"]) <= set(broker.done()), f"lost: {set(sent['taken']) - set(broker.done())}")
    finally:
        for process in [sender, *workers]:
            process.terminate()
            process.wait(timeout=300)
    twice = {number: times for number, times in broker.done().items() if times > 1}
    record_property("run twice", len(twice))
    record_property("slowest publish", sent["slowest"])
    assert not sent["errors"], "".join(sent["errors"].values())
    assert len(sent["taken"]) == TASKS
    wait_for(lambda: broker.members() == {"etl": {node.name for node in broker.nodes}}, "a copy does not come back")


def queue_of(broker: Broker) -> str:
    """An Erlang expression for the queue's record."""
    name = f'{{resource, <<"{broker.plan["broker"]["vhost"]}">>, queue, <<"etl">>}}'
    return f"element(2, rabbit_amqqueue:lookup({name}))"


def worker(broker: Broker, number: int) -> subprocess.Popen[str]:
    """Its name is one that the pool's user may have a mailbox for."""
    return broker.client(
        *("-m", "celery", "--app", "cluster_app", "worker", "--concurrency", "4", "--queues", "etl"),
        *("--hostname", f"etl@client{number}", "--without-mingle", "--without-gossip"),
        WALL_POOL="etl",
    )


def test_the_doctor_asks_a_node_that_answers(broker: Broker) -> None:
    nobody, node = {"host": "10.89.58.99", "port": 5672}, {"host": ADDRESSES["mq2"], "port": 5672}
    asked = {
        "places": [nobody, node],
        "vhost": broker.plan["broker"]["vhost"],
        "user": broker.plan["broker"]["user"],
        "password": broker.secrets["broker"],
        "is_tls": False,
        "seconds": 15,
        "queues": ["etl"],
    }

    def ask(question: dict[str, Any]) -> dict[str, Any]:
        program = subprocess.run(
            [*broker.network.enter("client"), sys.executable, str(Path(_amqp.__file__))],
            input=json.dumps(question),
            check=True,
            capture_output=True,
            text=True,
        )
        answer: dict[str, Any] = json.loads(program.stdout)
        return answer

    assert ask(asked)["queues"]["etl"]["messages"] == 0
    assert "error" in ask({**asked, "places": [nobody]})


def test_a_node_that_is_cut_off_pauses_and_comes_back(broker: Broker) -> None:
    """Without its cable a node hears nothing: the others go on, and it serves nobody until it hears them again."""
    lonely, other, _third = broker.nodes
    broker.network.cable(lonely.host, is_plugged=False)
    try:
        wait_for(lambda: lonely.name not in other.running(), "the others do not notice that it is gone")
        wait_for(lambda: "minority" in lonely.log(), "it does not notice that it is alone")
        wait_for(lambda: listeners(lonely) == [], "it goes on serving, alone")
        sent = broker.client("cluster_app.py", "3", "0", str(settings.PUBLISH_TIMEOUT)).communicate(timeout=PATIENCE)[0]
        assert json.loads(sent)["taken"] == [0, 1, 2], sent
    finally:
        broker.network.cable(lonely.host, is_plugged=True)
    names = {node.name for node in broker.nodes}
    wait_for(lambda: set(lonely.running()) == names, "it does not come back")
    wait_for(lambda: broker.members() == {"etl": names}, "its copies do not come back")


def listeners(node: Node) -> list[Any]:
    """Where the node takes clients, as its own tool tells; none where it pauses."""
    answer = node.ask("status")
    found = answer["listeners"] if answer else []
    return [each for each in found if each["protocol"] == "amqp"]
