# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role airflow_broker says of a real broker before anything is deployed, and how the platform uses one of others."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")

from ansible_collections.airstack.backbone.plugins.module_utils._model import credentials, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._services import rabbitmq as service
from ansible_collections.airstack.backbone.plugins.modules import worker_queues
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.plugins.modules import conftest
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import Workers, send
from ansible_collections.airstack.backbone.tests.unit.services import redis_servers
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer, Run, on_path, rabbitmqctl

run_module = conftest.run_module

ROLE = {"name": "airstack.backbone.airflow_broker"}
PROBLEMS = {"fail": {"msg": "{{ airflow_broker_problems }}"}, "when": "airflow_broker_problems | length > 0"}


def playbook(hosts: str, *more: str) -> list[dict[str, Any]]:
    """The preflight of a broker, and more entry points of the role."""
    facts = {"airflow_plan": "{{ planned.airflow_plan }}", "airflow_secrets": "{{ given }}"}
    tasks: list[dict[str, Any]] = [
        {"airstack.backbone.plan": {}, "register": "planned"},
        {"ansible.builtin.set_fact": facts, "no_log": True},
        {"ansible.builtin.include_role": {**ROLE, "tasks_from": "preflight"}},
        PROBLEMS,
        *({"ansible.builtin.include_role": {**ROLE, "tasks_from": name}} for name in more),
    ]
    return [{"hosts": hosts, "gather_facts": False, "tasks": tasks}]


DESCRIPTION = {
    "airflow_environment": "local",
    "airflow_longest_task": "8h",
    "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
}
GROUPS = {"airflow_database": ["db1"], "airflow_control": ["control1"], "airflow_workers_etl": ["w1"]}


# --- a broker of somebody else's --------------------------------------------------------------------------------------


def external(folder: Path, url: str, password: str) -> Deployer:
    """The platform with the broker of this address, which has no password in it."""
    described = {**DESCRIPTION, "airflow_broker_provider": "external", "airflow_broker_url": url}
    given = {**described, "given": {"broker": password}}
    return Deployer(folder, playbook("airflow_control", "main"), GROUPS, given, {})


def planned_url(url: str, password: str) -> str:
    """Celery's address, as the platform makes it."""
    variables = {**DESCRIPTION, "airflow_broker_provider": "external", "airflow_broker_url": url}
    made, wrong = plan.make(variables, Inventory(GROUPS, {}))
    assert made is not None, wrong
    broker = made["broker"]
    assert {pool["user"] for pool in broker["pools"]} == {broker["user"]}
    return credentials.broker_url(broker, broker["user"] or "", password)


@needs.redis
def test_a_redis_of_others_is_compared_and_stops_what_would_lose_tasks(tmp_path: Path) -> None:
    redis = pytest.importorskip("redis", reason="the Python client of Redis is not installed here")
    with brokers.redis(tmp_path) as own:
        server = redis.Redis.from_url(own)
        place = own.rpartition("@")[2]
        deploy = external(tmp_path, f"redis://{place}", brokers.REDIS_PASSWORD)
        well = deploy("--check")
        assert (well.failed, well.changed) == (0, 0), well.said
        assert "has the appendonly no, and has to have yes: without it a restart forgets" in plain(well)
        assert "which is provided elsewhere" in well.said

        server.config_set("maxmemory-policy", "allkeys-lru")
        refused = deploy()
        assert refused.failed == 1
        assert "has the maxmemory-policy allkeys-lru, and has to have noeviction" in plain(refused)
        assert "which is provided elsewhere" not in refused.said

        server.acl_setuser("airflow", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], categories=["+@all"])
        server.execute_command("ACL", "SETUSER", "airflow", "-config", "-info")
        blind = external(tmp_path, f"redis://airflow@{place}", "pw")()
        assert blind.failed == 0, blind.said
        assert "does not tell its maxmemory-policy, appendonly, appendfsync" in plain(blind)

        wrong = external(tmp_path, f"redis://{place}", "wr0ng")()
        assert wrong.failed == 1
        assert "does not answer (WRONGPASS" in plain(wrong)
        assert "wr0ng" not in wrong.said


@needs.redis
def test_workers_run_tasks_of_a_redis_of_others(tmp_path: Path) -> None:
    with brokers.redis(tmp_path) as own:
        url = planned_url("redis://" + own.rpartition("@")[2], brokers.REDIS_PASSWORD)
        with working(url, tmp_path):
            pass


@contextmanager
def working(url: str, folder: Path) -> Iterator[None]:
    """With a worker that has run tasks."""
    with Workers(folder) as running:
        running.start(url, "etl@w1", queues=["etl"])
        running.ready()
        send(application(url, None), "etl", range(3))
        running.finish(range(3))
        yield


@contextmanager
def rabbitmq(folder: Path, plugins: tuple[str, ...] = ()) -> Iterator[brokers.RabbitMQ]:
    """One with the user airflow, who may do everything in the empty virtual host airflow-local, and nothing else."""
    with brokers.RabbitMQ(folder, plugins=plugins) as server:
        server.start({**brokers.service(), "queues": [], "pools": []})
        server.control("set_permissions", "-p", "airflow-local", "airflow", ".*", ".*", ".*")
        server.control("set_user_tags", "airflow", "management")
        yield server


@needs.rabbitmq
def test_a_rabbitmq_of_others_is_compared_and_gets_what_it_has_to_hold(tmp_path: Path, run_module: Any) -> None:
    password = brokers.PASSWORDS["broker"]
    definitions = tmp_path / "wanted.json"
    with rabbitmq(tmp_path, ("rabbitmq_management",)) as server:
        url = f"amqp://airflow@127.0.0.1:{server.port}/airflow-local"
        deploy = external(tmp_path, url, password)
        unseen = deploy(airflow_broker_definitions_file=str(definitions))
        assert unseen.failed == 0, unseen.said
        assert "The broker's consumer_timeout could not be compared for etl" in plain(unseen)
        assert "needs 8h30m or more" in plain(unseen)

        api = {"airflow_broker_management_url": f"http://127.0.0.1:{server.management_port}"}
        empty = deploy(**api)
        assert empty.failed == 1
        assert "the broker has no queue etl in the virtual host airflow-local" in plain(empty)

        server.control("import_definitions", str(definitions))
        held = deploy(**api)
        assert held.failed == 0, held.said
        assert "could not be compared for etl" in plain(held)

        its_password = password.replace("of", "not of")
        stranger = external(tmp_path, url, its_password)(**api)
        assert stranger.failed == 1
        assert "lists no queues" in plain(stranger)
        assert password not in stranger.said + held.said
        assert its_password not in stranger.said

        used = planned_url(url, password)
        with working(used, tmp_path):
            wanted = {"broker_url": used, "expected_workers": ["etl@w1"]}
            moved = run_module(worker_queues.main, assignments=[{"workers": "etl@w1", "queues": ["etl"]}], **wanted)
            assert not moved["changed"], moved

    absent = deploy()
    assert absent.failed == 1
    assert f"the broker 127.0.0.1:{server.port} is not reached" in plain(absent)


QUEUES = [
    {"name": "etl", "effective_policy_definition": {"consumer-timeout": 1_800_000}, "arguments": {}},
    {"name": "other", "arguments": {"x-consumer-timeout": 1}},
]


def test_a_queue_of_others_that_gives_up_too_early_is_a_problem() -> None:
    """RabbitMQ 3.10 knows neither the policy nor the argument."""
    made, _wrong = plan.make(
        {**DESCRIPTION, "airflow_broker_provider": "external", "airflow_broker_url": "amqp://airflow@b/x"},
        Inventory(GROUPS, {}),
    )
    assert made is not None
    found = service.external(made, QUEUES)
    assert found["differences"] == []
    [problem] = found["problems"]
    assert problem.startswith("the broker's queue etl has the consumer timeout 30m, and the longest task needs 8h30m")
    enough = [{"name": "etl", "arguments": {"x-consumer-timeout": 30_600_000}, "effective_policy_definition": {}}]
    assert service.external(made, enough) == {"differences": [], "problems": []}


# --- one that the role manages ----------------------------------------------------------------------------------------


@pytest.fixture(name="node", scope="module")
def running_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.RabbitMQ]:
    with brokers.RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        server.start(brokers.service(brokers.pool("etl", "etl")))
        yield server


def managed(
    folder: Path, hosts: list[str], programs: Mapping[str, str], description: Mapping[str, Any], *entries: str
) -> Callable[..., Run]:
    """The platform on hosts of which the first has these programs, by name: what a shell does."""
    groups = {**GROUPS, "airflow_broker": hosts}
    given = {**description, "__airflow_broker_pending": str(folder / "pending")}
    deploy = Deployer(folder, playbook(hosts[0], *entries), groups, DESCRIPTION, on_path(folder, programs))
    return lambda *options, **changes: deploy("-e", json.dumps({**given, **changes}), *options)


def systemd(state: str) -> dict[str, str]:
    """What says of every unit that it is in this state: systemd does not run where the tests do."""
    return {"systemctl": f"echo LoadState=loaded; echo ActiveState={state}"}


def with_rabbitmq(
    folder: Path, hosts: list[str], node: brokers.RabbitMQ | None, *entries: str, **environment: str
) -> Callable[..., Run]:
    """With this node, which stands for RabbitMQ on the first host; environment: of those who ask it, in another way."""
    programs = systemd("active" if node else "inactive")
    if node:
        programs["rabbitmqctl"] = rabbitmqctl(node, **environment)
    description = {
        "airflow_broker_provider": "rabbitmq",
        "given": {},
        "__airflow_broker_data": str(folder / "data/rabbit@localhost"),
    }
    return managed(folder, hosts, programs, description, *entries)


@needs.rabbitmq
def test_a_shorter_patience_is_named_and_left_to_the_deployment(node: brokers.RabbitMQ, tmp_path: Path) -> None:
    deploy = with_rabbitmq(tmp_path, ["mq1"], node)
    run = deploy("--check")
    assert (run.failed, run.changed) == (0, 0), run.said
    assert "RabbitMQ on mq1 has the consumer_timeout 30m, and the plan has 8h30m: site.yml sets it" in plain(run)
    node.control("eval", "application:set_env(rabbit, consumer_timeout, 30600000).")
    again = deploy()
    assert (again.failed, "consumer_timeout" in again.said) == (0, False), again.said


@needs.rabbitmq
def test_one_node_does_not_become_three_while_it_holds_messages(node: brokers.RabbitMQ, tmp_path: Path) -> None:
    deploy = with_rabbitmq(tmp_path, ["mq1", "mq2", "mq3"], node)
    empty = deploy()
    assert empty.failed == 0, empty.said
    assert "is the node rabbit@localhost, and the plan calls it rabbit@mq1: its queues are empty" in plain(empty)
    send(application(node.url("airflow", "broker"), None), "etl", range(2))
    full = deploy()
    assert full.failed == 1
    assert "which takes nothing over of its messages (2 in etl). Stop the schedulers" in plain(full)
    node.control("purge_queue", "-p", "airflow-local", "etl")


def test_a_host_without_a_broker_has_nothing_to_say(tmp_path: Path) -> None:
    run = with_rabbitmq(tmp_path, ["mq1"], None)("--check")
    assert (run.failed, run.changed, "Name what differs" in run.said) == (0, 0, False), run.said


def test_a_node_that_is_down_does_not_become_three(tmp_path: Path) -> None:
    (tmp_path / "data/rabbit@localhost").mkdir(parents=True)
    (tmp_path / "data/rabbit@localhost-plugins-expand").mkdir()
    deploy = with_rabbitmq(tmp_path, ["mq1", "mq2", "mq3"], None)
    run = deploy()
    assert run.failed == 1
    said = "RabbitMQ on mq1 does not run, and has the data of rabbit@localhost, of which a node rabbit@mq1 takes nothing over"
    assert said in plain(run)
    (tmp_path / "data/rabbit@mq1").mkdir()
    assert deploy().failed == 0


@needs.rabbitmq
def test_a_node_that_hangs_is_a_problem(node: brokers.RabbitMQ, tmp_path: Path) -> None:
    deploy = with_rabbitmq(tmp_path, ["mq1"], node)
    (tmp_path / "pending").write_text("broker\n", encoding="utf-8")
    with node.frozen():
        run = deploy(__airflow_broker_answer_seconds=3)
    assert run.failed == 1
    asked = "RabbitMQ on mq1 runs, and was asked for its settings and queues (rabbitmqctl eval): no answer within 3 s. Look at"
    assert asked in plain(run)


@needs.rabbitmq
def test_a_node_that_refuses_is_a_problem_unless_a_run_was_cut_short(node: brokers.RabbitMQ, tmp_path: Path) -> None:
    """Who asks has another cookie, as after a change that the node has not been told."""
    deploy = with_rabbitmq(tmp_path, ["mq1"], node, HOME=str(tmp_path))
    run = deploy()
    assert run.failed == 1
    said = (
        "RabbitMQ on mq1 runs, and was asked for its settings and queues (rabbitmqctl eval): Error: unable to perform"
    )
    assert said in plain(run)
    assert "restart it, and run this again" in plain(run)
    (tmp_path / "pending").write_text("cookie\n", encoding="utf-8")
    again = deploy()
    assert again.failed == 0, again.said
    assert said in plain(again)
    assert "An earlier run was cut short: site.yml goes on with it" in plain(again)


def test_the_doctor_says_why_a_node_tells_nothing(tmp_path: Path) -> None:
    run = with_rabbitmq(tmp_path, ["mq1"], None, "differences")()
    assert run.failed == 1
    assert "The broker on mq1 does not answer: rabbitmq-server.service is inactive" in plain(run)


@pytest.mark.parametrize("text", ["", "Warning: x", "[]", '{"result": "ok"}'])
def test_an_answer_that_is_none_is_told(text: str) -> None:
    told, reason = service.answer({"rc": 0, "stdout": text, "stderr": ""}, 60)
    assert told is None
    assert reason == f"an answer that is none: {text}"


@needs.redis
def test_a_redis_that_hangs_is_a_problem_and_one_that_refuses_is_not(tmp_path: Path) -> None:
    with redis_servers.one(tmp_path) as servers:
        port = servers.planned["port"]
        description = {
            "airflow_broker_provider": "redis",
            "given": redis_servers.SECRETS,
            "__airflow_broker_node": {"name": "r1", "address": redis_servers.ADDRESS, "port": port},
        }
        deploy = managed(tmp_path, ["r1"], systemd("active"), description)
        well = deploy()
        assert well.failed == 0, well.said
        assert "Redis on r1 has the maxmemory 0, and the plan has 1gb: site.yml sets it" in plain(well)

        refused = deploy(given={**redis_servers.SECRETS, "redis_operator": "another"})
        assert refused.failed == 0, refused.said
        assert "Redis on r1 runs, and was asked for its settings: WRONGPASS" in plain(refused)

        servers.running[f"server-{port}"].send_signal(signal.SIGSTOP)
        try:
            silent = deploy()
        finally:
            servers.running[f"server-{port}"].send_signal(signal.SIGCONT)
        assert silent.failed == 1
        assert "Redis on r1 runs, and was asked for its settings: no answer within 10 s. Look at" in plain(silent)

    stopped = managed(tmp_path, ["r1"], systemd("inactive"), description)()
    assert (stopped.failed, "Name what differs" in stopped.said) == (0, False), stopped.said


def plain(run: Run) -> str:
    """What a run said, without the line breaks and quotes that YAML puts into long texts."""
    return " ".join(run.said.replace("''", "'").split())
