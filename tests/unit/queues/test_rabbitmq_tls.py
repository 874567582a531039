# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queues that move between real workers on a real RabbitMQ with TLS, whose certificate everybody looks at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")
pytest.importorskip("cryptography", reason="TLS needs certificates, and what makes them is not installed")

from ansible_collections.airstack.backbone.plugins.modules import worker_queues, worker_queues_info
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import Workers, send
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

pytestmark = [
    pytest.mark.skipif(not brokers.HAS_RABBITMQ, reason="needs rabbitmq-server"),
    pytest.mark.skipif(os.geteuid() != 0, reason="RabbitMQ's own programs are for root and its user"),
]

WORKERS = ["etl@w1", "etl@w2"]
NOBODY = "127.0.0.9"
"""Where no node is, as where one is down."""

Module = Callable[..., dict[str, Any]]


@pytest.fixture(name="authority", scope="module")
def authority_of_the_platform(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "authority")


@pytest.fixture(name="rabbitmq", scope="module")
def running_rabbitmq(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.RabbitMQ]:
    folder = tmp_path_factory.mktemp("rabbitmq")
    authority.equip(folder / "tls", "127.0.0.1")
    server = brokers.RabbitMQ(folder, folder / "tls")
    try:
        server.start(brokers.service(brokers.pool("etl", "etl", "spare")))
        yield server
    finally:
        server.stop()


@pytest.fixture(name="workers", scope="module")
def running_workers(
    rabbitmq: brokers.RabbitMQ, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    running = Workers(tmp_path_factory.mktemp("workers"))
    try:
        for name, queues in zip(WORKERS, (["etl", "spare"], ["etl"])):
            running.start(rabbitmq.url("airflow-etl", "broker_etl"), name, queues=queues, ca=authority.ca)
        running.ready()
        yield running
    finally:
        running.stop()


@pytest.fixture(name="move")
def module(workers: Workers, rabbitmq: brokers.RabbitMQ, authority: Authority, run_module: Any) -> Module:
    def move(queues: dict[str, list[str]], **options: Any) -> dict[str, Any]:
        assigned = [{"workers": name, "queues": each} for name, each in queues.items()]
        given = {
            "broker_url": rabbitmq.url("airflow", "broker"),
            "ca_path": str(authority.ca),
            "expected_workers": WORKERS,
            **options,
        }
        result: dict[str, Any] = run_module(worker_queues.main, assignments=assigned, **given)
        return result

    return move


def test_a_queue_moves_and_its_tasks_run(
    move: Module, workers: Workers, rabbitmq: brokers.RabbitMQ, authority: Authority, run_module: Any
) -> None:
    result = move({"etl@w1": ["etl"], "etl@w2": ["etl", "spare"]})
    assert result["workers"]["etl@w2"] == {"before": ["etl"], "after": ["etl", "spare"]}
    url = rabbitmq.url("airflow", "broker")
    send(application(url, None, str(authority.ca)), "spare", range(3))
    workers.finish(range(3))
    seen = run_module(worker_queues_info.main, broker_url=url, ca_path=str(authority.ca), expected_workers=WORKERS)
    assert seen["queues"]["spare"]["workers"] == ["etl@w2"]
    assert move({"etl@w1": ["etl", "spare"], "etl@w2": ["etl"]})["changed"]


def test_the_next_node_is_asked_for_its_own_name(move: Module, rabbitmq: brokers.RabbitMQ) -> None:
    url = rabbitmq.url("airflow", "broker")
    result = move({"etl@w1": ["etl", "spare"]}, broker_url=f"{url.replace('127.0.0.1', NOBODY)};{url}")
    assert not result.get("failed"), result
    absent = move({"etl@w1": ["etl"]}, broker_url=";".join([url.replace("127.0.0.1", NOBODY)] * 2))
    assert absent["msg"].count("Connection refused") == 2


def test_another_authoritys_certificate_is_refused(move: Module, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    result = move({"etl@w1": ["etl"]}, ca_path=str(stranger.ca))
    assert result["failed"]
    assert "certificate verify failed" in result["msg"]
    assert "See that ca_path has the authority" in result["msg"]
