# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queues that move between real workers on a real Redis, which counts no consumers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")
pytest.importorskip("redis", reason="needs Redis' client, which is not installed here")

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import Workers, send, unfinished, wait_for_queues

pytestmark = needs.redis

Module = Callable[..., dict[str, Any]]


@pytest.fixture(name="url", scope="module")
def url_of_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with brokers.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(name="scheduler", scope="module")
def application_of_the_scheduler(url: str) -> Any:
    return application(url, None)


@pytest.fixture(name="workers", scope="module")
def running_workers(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("workers")) as running:
        running.start(url, "etl@w1", queues=["etl", "spare"])
        running.start(url, "etl@w2", queues=["etl"])
        running.ready()
        yield running


@pytest.fixture(name="asked")
def what_the_modules_are_asked(url: str, workers: Workers) -> dict[str, Any]:
    return {"broker_url": url, "expected_workers": ["etl@w1", "etl@w2"]}


def test_no_task_is_lost_or_run_twice_while_queues_move(move: Module, workers: Workers, scheduler: Any) -> None:
    count = 300

    def publish() -> None:
        for number in range(count):
            send(scheduler, "spare" if number % 2 else "etl", [number], seconds=0.005)
            time.sleep(0.01)

    publisher = threading.Thread(target=publish)
    publisher.start()
    moved = 0
    while publisher.is_alive() or moved < 2:
        has, lacks = ("etl@w2", "etl@w1") if moved % 2 == 0 else ("etl@w1", "etl@w2")
        result = move({has: ["etl", "spare"], lacks: ["etl"]})
        assert result["changed"], result
        moved += 1
    publisher.join()
    workers.finish(range(count))
    time.sleep(1)
    assert workers.ran() == dict.fromkeys(range(count), 1)


def test_a_queue_with_messages_is_not_left_alone(
    move: Module, look: Module, workers: Workers, scheduler: Any, tmp_path: Path
) -> None:
    sent = range(1000, 1008)
    with unfinished(scheduler, "spare", sent, tmp_path):
        refused = move({"etl@*": ["etl"]})
        assert refused["failed"]
        assert "spare holds " in refused["msg"]
        assert move({"etl@*": ["etl"]}, allow_unserved=True)["unserved"]["spare"] >= 1
        seen = look(sources={"etl": ["etl", "spare"]})
        assert list(seen["without_consumer"]) == ["spare"]
        assert seen["queues"]["spare"]["consumers"] is None
        assert move({"etl@w1": ["etl", "spare"]})["changed"]
    workers.finish(sent)
    assert set(workers.ran().values()) == {1}


def test_a_moved_queue_stays_moved_when_the_connection_is_lost(move: Module, look: Module, scheduler: Any) -> None:
    # Taken away and given back: this is what Celery's own consumer forgets.
    for queues in (["etl"], ["etl", "spare"]):
        assert move({"etl@w1": queues})["changed"]
    with scheduler.connection_for_write() as connection:
        for kind in ("normal", "pubsub"):
            connection.default_channel.client.client_kill_filter(_type=kind, skipme=True)
    wait_for_queues(look, "etl@w1", ["etl", "spare"])


def test_a_wrong_password_is_told_without_it(move: Module, url: str) -> None:
    result = move({"etl@w1": ["etl"]}, broker_url=url.replace(brokers.REDIS_PASSWORD, "wr0ng"))
    assert result["failed"]
    assert "See that the user exists there with this password" in result["msg"]
    assert "wr0ng" not in result["msg"]


def test_an_unreachable_server_is_told(move: Module) -> None:
    result = move({"etl@w1": ["etl"]}, broker_url=f"redis://127.0.0.1:{brokers.free_port()}/0")
    assert result["failed"]
    assert "See that the broker runs" in result["msg"]
