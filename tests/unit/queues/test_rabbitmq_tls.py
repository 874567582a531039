# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queues that move between real workers on a real RabbitMQ with TLS, whose certificate everybody looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")
pytest.importorskip("cryptography", reason="TLS needs certificates, and what makes them is not installed")

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import Workers, send
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

pytestmark = needs.rabbitmq

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
    with brokers.RabbitMQ(folder, folder / "tls") as server:
        server.start(brokers.service(brokers.pool("etl", "etl", "spare")))
        yield server


@pytest.fixture(name="workers", scope="module")
def running_workers(
    rabbitmq: brokers.RabbitMQ, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("workers")) as running:
        for name, queues in zip(WORKERS, (["etl", "spare"], ["etl"])):
            running.start(rabbitmq.url("airflow-etl", "broker_etl"), name, queues=queues, ca=authority.ca)
        running.ready()
        yield running


@pytest.fixture(name="asked")
def what_the_modules_are_asked(rabbitmq: brokers.RabbitMQ, authority: Authority, workers: Workers) -> dict[str, Any]:
    url = rabbitmq.url("airflow", "broker")
    return {"broker_url": url, "ca_path": str(authority.ca), "expected_workers": WORKERS}


def test_a_queue_moves_and_its_tasks_run(
    move: Module, look: Module, workers: Workers, rabbitmq: brokers.RabbitMQ, authority: Authority
) -> None:
    result = move({"etl@w1": ["etl"], "etl@w2": ["etl", "spare"]})
    assert result["workers"]["etl@w2"] == {"before": ["etl"], "after": ["etl", "spare"]}
    send(application(rabbitmq.url("airflow", "broker"), None, str(authority.ca)), "spare", range(3))
    workers.finish(range(3))
    assert look()["queues"]["spare"]["workers"] == ["etl@w2"]
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
