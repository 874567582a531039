# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role airflow_broker takes from a real broker when the workers have ceased to use it. Of SQS: test_broker_sqs_role."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")

from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import send
from ansible_collections.airstack.backbone.tests.unit.services import redis_servers
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer, on_path, rabbitmqctl

ROLE = {"name": "airstack.backbone.airflow_broker"}
DESCRIPTION = {
    "airflow_environment": "local",
    "airflow_longest_task": "8h",
    "airflow_dag_sources": [{"name": name, "path": f"/dags/{name}", "queues": [name]} for name in ("etl", "ml")],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}, {"name": "ml", "queues": ["ml"]}],
}
GROUPS = {
    "airflow_database": ["db1"],
    "airflow_broker": ["mq1"],
    "airflow_control": ["control1"],
    "airflow_workers_etl": ["w1"],
    "airflow_workers_ml": ["w2"],
}


def playbook(*entry_points: str) -> list[dict[str, Any]]:
    facts = {"airflow_plan": "{{ planned.airflow_plan }}", "airflow_secrets": "{{ given }}"}
    tasks: list[dict[str, Any]] = [
        {"airstack.backbone.plan": {}, "register": "planned"},
        {"ansible.builtin.set_fact": facts, "no_log": True},
        *({"ansible.builtin.include_role": {**ROLE, "tasks_from": each}} for each in entry_points),
    ]
    return [{"hosts": "mq1", "gather_facts": False, "tasks": tasks}]


@pytest.fixture(name="node")
def node_with_more_queues(tmp_path: Path) -> Iterator[brokers.RabbitMQ]:
    with brokers.RabbitMQ(tmp_path) as server:
        server.start(brokers.service(brokers.pool("etl", "etl", "empty", "full")))
        yield server


@needs.rabbitmq
def test_rabbitmqs_empty_queues_go_and_one_with_messages_stays(node: brokers.RabbitMQ, tmp_path: Path) -> None:
    def queues() -> set[str]:
        return set(node.control("--silent", "list_queues", "-p", "airflow-local", "name").split())

    environment = on_path(tmp_path, {"rabbitmqctl": rabbitmqctl(node)})
    given = {**DESCRIPTION, "given": {}, "airflow_broker_provider": "rabbitmq"}
    deploy = Deployer(tmp_path, playbook("leftovers"), GROUPS, given, environment)
    told = json.dumps({"value": {"queues": [{"queue": name} for name in ("etl", "ml", "empty", "x.celery.pidbox")]}})
    seen = ("-e", json.dumps({"__airflow_broker_told": {"rc": 0, "stdout": told}}))
    changed = ("-e", json.dumps({"__airflow_broker_owed": ["running"]}))
    send(application(node.url("airflow", "broker"), None), "full", range(2))
    before = queues()
    for options in ((), ("--check", *seen)):
        run = deploy(*options)
        assert (run.failed, run.changed, queues()) == (0, 0, before), run.said
    removed = deploy(*seen)
    assert (removed.failed, removed.changed) == (0, 1), removed.said
    assert before - queues() == {"empty"}
    again = deploy(*changed)
    assert (again.failed, again.changed) == (0, 0), again.said


@needs.redis
def test_rediss_users_lose_the_queues_that_are_theirs_no_more(tmp_path: Path) -> None:
    with redis_servers.one(tmp_path) as servers:
        port = servers.planned["port"]
        users = tmp_path / str(port) / "users.acl"
        operator = redis_servers.client(servers.planned, "operator")

        def deploy(*options: str) -> Any:
            there = {"content": base64.b64encode(users.read_bytes()).decode()}
            places = {
                "__airflow_broker_users_file": {"path": str(users), "secret": "users", "restarts": ["users"]},
                "__airflow_broker_users_there": there,
                "__airflow_broker_pending": str(tmp_path / "pending"),
                "__airflow_broker_node": {"port": port, "address": "127.0.0.1"},
            }
            given = {**DESCRIPTION, "given": redis_servers.SECRETS, "airflow_broker_provider": "redis"}
            made = Deployer(tmp_path, playbook("leftovers"), GROUPS, given, {})
            return made("-e", json.dumps(places), *options)

        assert "~etl_highmem" in operator.acl_getuser("airflow-local-etl")["keys"]
        foretold = deploy("--check", "--diff")
        assert foretold.failed == 0, foretold.said
        assert foretold.changed > 0
        assert "~etl_highmem" in operator.acl_getuser("airflow-local-etl")["keys"]
        narrowed = deploy("--diff")
        assert narrowed.failed == 0, narrowed.said
        assert operator.acl_getuser("airflow-local-etl")["keys"] == [
            "~pool.etl.unacked",
            "~pool.etl.unacked_index",
            "~etl",
        ]
        assert not (tmp_path / "pending").exists()
        assert service.password_hash(redis_servers.SECRETS["broker"]) not in foretold.said + narrowed.said
        again = deploy()
        assert (again.failed, again.changed) == (0, 0), again.said
