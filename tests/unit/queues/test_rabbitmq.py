# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queues that move between real workers on a real RabbitMQ, behind the wall that airflow_broker puts between pools."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")

from ansible_collections.airstack.backbone.plugins.modules import worker_queues
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import Workers, send, unfinished, wait_for_queues

pytestmark = needs.rabbitmq

START = {"etl@w1": ["etl", "spare"], "etl@w2": ["etl"], "ml@w1": ["ml"]}
SERVICE = brokers.service(brokers.pool("etl", "etl", "spare"), brokers.pool("ml", "ml"))
GRANTED = brokers.service(brokers.pool("etl", "etl", "spare"), brokers.pool("ml", "ml", "spare"))
"""The same after airflow_broker gave the pool ml the right to one more queue."""

Module = Callable[..., dict[str, Any]]


@pytest.fixture(name="rabbitmq", scope="module")
def running_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.RabbitMQ]:
    with brokers.RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        server.start(SERVICE)
        yield server


@pytest.fixture(name="scheduler", scope="module")
def application_of_the_scheduler(rabbitmq: brokers.RabbitMQ) -> Any:
    return application(rabbitmq.url("airflow", "broker"), None)


@pytest.fixture(name="workers", scope="module")
def running_workers(rabbitmq: brokers.RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("workers")) as running:
        for name, queues in START.items():
            pool = name.partition("@")[0]
            running.start(rabbitmq.url(f"airflow-{pool}", f"broker_{pool}"), name, queues=queues)
        running.ready()
        yield running


@pytest.fixture(name="more")
def workers_of_one_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("more")) as running:
        yield running


@pytest.fixture(name="url")
def url_of_the_scheduler(rabbitmq: brokers.RabbitMQ) -> str:
    return rabbitmq.url("airflow", "broker")


@pytest.fixture(name="asked")
def what_the_modules_are_asked(url: str, workers: Workers) -> dict[str, Any]:
    return {"broker_url": url, "expected_workers": list(START), "timeout": 20}


@pytest.fixture(autouse=True)
def workers_as_they_began(move: Module, scheduler: Any) -> Iterator[None]:
    yield
    with scheduler.connection_for_write() as connection:
        for queue in SERVICE["queues"]:
            connection.default_channel.queue_purge(queue)
    assert "msg" not in move(START, allow_unserved=True)


def test_workers_come_to_their_queues(move: Module, look: Module) -> None:
    wanted = {"etl@w1": ["etl"], "etl@w2": ["etl", "spare"]}
    first = move(wanted)
    assert first["workers"] == {
        "etl@w1": {"before": ["etl", "spare"], "after": ["etl"]},
        "etl@w2": {"before": ["etl"], "after": ["etl", "spare"]},
    }
    assert (first["changed"], first["uncovered"], first["behind"], first["unserved"]) == (True, ["ml@w1"], {}, {})
    assert first["diff"] == {
        "before": "etl@w1: etl, spare\netl@w2: etl\n",
        "after": "etl@w1: etl\netl@w2: etl, spare\n",
    }
    assert {name: each["queues"] for name, each in look()["workers"].items()} == {**wanted, "ml@w1": ["ml"]}
    second = move(wanted)
    assert not second["changed"]
    assert second["diff"]["before"] == second["diff"]["after"]


def test_check_mode_shows_what_would_move_and_moves_nothing(move: Module, look: Module) -> None:
    told = move({"etl@*": ["etl"]}, check=True)
    assert told["changed"]
    assert told["workers"]["etl@w1"] == {"before": ["etl", "spare"], "after": ["etl"]}
    assert look()["workers"]["etl@w1"]["queues"] == ["etl", "spare"]


def test_all_workers_are_found_where_none_is_expected(move: Module) -> None:
    result = move({"etl@*": ["etl", "spare"]}, expected_workers=[], answer_timeout=8)
    assert result["workers"]["etl@w2"]["after"] == ["etl", "spare"]
    assert result["uncovered"] == ["ml@w1"]


def test_no_task_is_lost_or_run_twice_while_queues_move(
    move: Module, workers: Workers, scheduler: Any, rabbitmq: brokers.RabbitMQ
) -> None:
    count = 400
    half = count // 2

    def publish() -> None:
        for number in range(count):
            send(scheduler, "spare" if number % 2 else "etl", [number], seconds=0.005)

    publisher = threading.Thread(target=publish)
    publisher.start()
    moved = 0
    while publisher.is_alive() or len(workers.ran()) < half or moved < 2:
        one = moved % 2 == 0
        result = move({"etl@w1": ["etl", *([] if one else ["spare"])], "etl@w2": ["etl", *(["spare"] if one else [])]})
        assert result["changed"], result
        moved += 1
    publisher.join()
    workers.finish(range(count))
    time.sleep(1)
    assert workers.ran() == dict.fromkeys(range(count), 1)

    def are_acknowledged() -> bool:
        listed = rabbitmq.control("list_queues", "-p", "airflow-local", "--silent", "--no-table-headers", "messages")
        return set(listed.split()) == {"0"}

    brokers.wait(are_acknowledged, "messages stay in the queues", lambda: "")


def test_a_queue_with_messages_is_not_left_alone(
    move: Module, look: Module, scheduler: Any, workers: Workers, tmp_path: Path
) -> None:
    # More than the one worker takes at a time.
    sent = range(1000, 1006)
    with unfinished(scheduler, "spare", sent, tmp_path):
        refused = move({"etl@*": ["etl"]})
        assert refused["failed"]
        assert "spare holds " in refused["msg"]
        assert "allow_unserved: true" in refused["msg"]
        assert not refused["changed"]
        assert look()["workers"]["etl@w1"]["queues"] == ["etl", "spare"]
        allowed = move({"etl@*": ["etl"]}, allow_unserved=True)
        assert allowed["unserved"]["spare"] >= 1
        seen = look(sources={"etl": ["etl", "spare"], "other": ["ml"]})
        assert seen["without_consumer"] == allowed["unserved"]
        assert seen["without_worker"] == {"spare": ["etl"]}
        assert move({"etl@w2": ["etl", "spare"]})["changed"]
    workers.finish(sent)
    assert {number: times for number, times in workers.ran().items() if number >= 1000} == dict.fromkeys(sent, 1)


def test_a_consumer_that_nobody_asked_counts(
    move: Module, more: Workers, rabbitmq: brokers.RabbitMQ, scheduler: Any, tmp_path: Path
) -> None:
    more.start(rabbitmq.url("airflow-etl", "broker_etl"), "etl@stranger", queues=["spare"])
    more.ready()
    with unfinished(scheduler, "spare", range(2000, 2006), tmp_path):
        assert move({"etl@w1": ["etl"]})["workers"]["etl@w1"]["after"] == ["etl"]


def test_a_pool_that_may_not_read_a_queue_is_named(move: Module, look: Module, rabbitmq: brokers.RabbitMQ) -> None:
    refused = move({"etl@w1": ["etl"], "ml@w1": ["ml", "spare"]}, timeout=8)
    assert refused["failed"]
    assert "ml@w1 was told to consume spare and does not" in refused["msg"]
    assert "broker user" in refused["msg"]
    assert list(refused["behind"]) == ["ml@w1"]
    assert look()["workers"]["etl@w1"]["queues"] == ["etl", "spare"]
    assert look()["workers"]["ml@w1"]["queues"] == ["ml"]
    rabbitmq.define(GRANTED)
    try:
        assert move({"etl@w1": ["etl"], "ml@w1": ["ml", "spare"]})["workers"]["ml@w1"]["after"] == ["ml", "spare"]
    finally:
        assert move({"ml@w1": ["ml"], "etl@w1": ["etl", "spare"]})["changed"]
        rabbitmq.define(SERVICE)


def test_what_is_not_required_is_told(move: Module) -> None:
    result = move({"ml@w1": ["ml", "spare"]}, timeout=8, required=False)
    assert not result.get("failed")
    assert list(result["behind"]) == ["ml@w1"]
    absent = move(
        {"ml@w1": ["ml"], "etl@gone": ["etl"]}, timeout=8, required=False, expected_workers=[*START, "etl@gone"]
    )
    assert list(absent["behind"]) == ["etl@gone"]
    assert list(absent["workers"]) == ["ml@w1"]


@pytest.mark.parametrize("vanish", [Workers.freeze, Workers.kill])
def test_a_worker_that_vanishes_half_way_is_named(
    vanish: Callable[[Workers, str], None],
    move: Module,
    look: Module,
    more: Workers,
    rabbitmq: brokers.RabbitMQ,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more.start(rabbitmq.url("airflow-etl", "broker_etl"), "etl@weak", queues=["etl"])
    more.ready()
    depths = worker_queues._celery.Broker.depths
    vanished: list[str] = []

    def vanish_now(broker: Any, queues: Any) -> Any:
        """After the first look at the workers, before any is told anything."""
        if not vanished:
            vanished.append("etl@weak")
            vanish(more, "etl@weak")
        return depths(broker, queues)

    monkeypatch.setattr(worker_queues._celery.Broker, "depths", vanish_now)
    wanted = {"etl@w1": ["etl"], "etl@weak": ["etl", "spare"]}
    result = move(wanted, timeout=10, expected_workers=[*START, "etl@weak"])
    assert result["failed"]
    assert "etl@weak answered at first, and not any more" in result["msg"]
    assert result["workers"]["etl@weak"] == {"before": ["etl"], "after": None}
    monkeypatch.undo()
    assert look()["workers"]["etl@w1"]["queues"] == ["etl", "spare"]


def test_messages_that_come_while_a_queue_is_taken_away_bring_it_back(
    move: Module, look: Module, scheduler: Any, monkeypatch: pytest.MonkeyPatch, workers: Workers
) -> None:
    cancel = worker_queues._celery.Broker.cancel

    def cancel_and_send(broker: Any, *arguments: Any) -> None:
        cancel(broker, *arguments)
        brokers.wait(lambda: broker.depths(["spare"])["spare"].consumers == 0, "the worker consumes on", lambda: "")
        send(scheduler, "spare", range(3000, 3003))

    monkeypatch.setattr(worker_queues._celery.Broker, "cancel", cancel_and_send)
    result = move({"etl@w1": ["etl"]})
    assert result["failed"]
    assert result["unserved"] == {"spare": 3}
    assert result["workers"]["etl@w1"]["after"] == ["etl", "spare"]
    monkeypatch.undo()
    assert look()["workers"]["etl@w1"]["queues"] == ["etl", "spare"]
    workers.finish(range(3000, 3003))


def test_a_moved_queue_stays_moved_when_the_broker_drops_the_connection(
    move: Module, look: Module, rabbitmq: brokers.RabbitMQ
) -> None:
    # Taken away and given back: this is what Celery's own consumer forgets.
    for queues in (["etl"], ["etl", "spare"]):
        assert move({"etl@w1": queues})["changed"]
    rabbitmq.control("close_all_connections", "--vhost", "airflow-local", "test")
    wait_for_queues(look, "etl@w1", ["etl", "spare"])


def test_info_tells_what_does_not_fit(
    look: Module, scheduler: Any, move: Module, workers: Workers, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def runs() -> bool:
        seen.update(look(sources={"etl": ["etl"], "new": ["later"]}))
        return bool(seen["workers"]["ml@w1"]["active"])

    with unfinished(scheduler, "ml", range(4000, 4004), tmp_path):
        brokers.wait(runs, "no task runs on ml@w1", lambda: "")
    assert seen["workers"]["ml@w1"]["active"][0]["name"] == "note"
    assert seen["workers"]["ml@w1"]["active"][0]["queue"] == "ml"
    assert "args" not in seen["workers"]["ml@w1"]["active"][0]
    assert seen["queues"]["ml"]["workers"] == ["ml@w1"]
    assert seen["queues"]["etl"]["consumers"] == 2
    assert seen["queues"]["later"] == {"messages": 0, "consumers": 0, "exists": False, "workers": []}
    assert seen["without_worker"] == {"later": ["new"]}
    assert seen["without_source"] == {"ml": ["ml@w1"], "spare": ["etl@w1"]}
    workers.finish(range(4000, 4004))


def test_a_wrong_password_is_told_without_it(move: Module, url: str) -> None:
    wrong = url.replace("%20scheduler", "wr0ng")
    result = move({"etl@w1": ["etl"]}, broker_url=wrong)
    assert result["failed"]
    assert "ACCESS_REFUSED" in result["msg"]
    assert "See that the user exists there with this password" in result["msg"]
    assert "wr0ng" not in result["msg"]
    assert "amqp://airflow:**@127.0.0.1" in result["msg"]


def test_an_unreachable_broker_is_told(move: Module, rabbitmq: brokers.RabbitMQ, url: str) -> None:
    began = time.monotonic()
    result = move({"etl@w1": ["etl"]}, broker_url=url.replace(str(rabbitmq.port), str(brokers.free_port())))
    assert result["failed"]
    assert "Connection refused" in result["msg"]
    assert "See that the broker runs" in result["msg"]
    assert time.monotonic() - began < 60


def test_a_virtual_host_that_is_not_there_is_told(move: Module, url: str) -> None:
    result = move({"etl@w1": ["etl"]}, broker_url=url.replace("airflow-local", "nowhere"))
    assert result["failed"]
    assert "vhost nowhere not found" in result["msg"]


def test_a_worker_that_does_not_answer_is_named(move: Module) -> None:
    result = move({"etl@*": ["etl"]}, expected_workers=["etl@w1", "etl@gone"], timeout=2)
    assert result["failed"]
    assert "etl@gone was asked what it consumes and did not answer within 2 s" in result["msg"]
    assert not result["changed"]


def test_a_pattern_for_nobody_is_named(move: Module) -> None:
    result = move({"etl@w1": ["etl"], "sql@*": ["etl"]})
    assert result["failed"]
    assert "no worker that answers is called sql@*; these answer: etl@w1, etl@w2, ml@w1" in result["msg"]


def test_an_url_in_a_file_is_read_and_never_printed(move: Module, url: str, tmp_path: Any, run_module: Any) -> None:
    place = tmp_path / "broker_url"
    place.write_text(f"{url}\n", encoding="utf-8")
    assert not move(START, broker_url=None, broker_url_file=str(place), verbose=True)["changed"]
    assert "p%40ss" not in run_module.printed
