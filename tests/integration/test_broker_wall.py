# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wall between worker pools, tried with real clients and real Celery workers on a broker that airflow_broker made.

It needs Celery (of the version that the core has), and in the environment:

- AIRFLOW_PLAN: a file that holds ``airflow_plan`` as JSON, with two pools at least
- AIRFLOW_SECRETS: the directory of the platform's secrets

Where nobody consumes the queues, it starts workers of its own under the names of the platform's. Where the platform's
run, it asks those, and skips what would disturb them. It leaves nothing behind and sends no task to anybody else.

    AIRFLOW_PLAN=plan.json AIRFLOW_SECRETS=inventories/local/.secrets pytest tests/integration/test_broker_wall.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("AIRFLOW_PLAN", "AIRFLOW_SECRETS")
MISSING = [name for name in NEEDED if name not in os.environ]

celery = pytest.importorskip("celery", reason="the broker's wall needs Celery, which is not installed")
if MISSING:
    pytest.skip(f"the broker's wall needs {' and '.join(MISSING)} in the environment", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
import wall_app
from amqp.exceptions import AccessRefused, AMQPError, NotFound
from kombu import Connection

PLAN = wall_app.broker()
if PLAN["kind"] != "amqp":
    pytest.skip(f"needs RabbitMQ; the broker is {PLAN['provider']}", allow_module_level=True)
MINE, OTHER = PLAN["pools"][:2]
MY_QUEUE, OTHER_QUEUE = MINE["queues"][0], OTHER["queues"][0]
QUORUM = {"x-queue-type": "quorum"}
TIMEOUT = 10
START_TIMEOUT = 300

pytestmark = pytest.mark.broker

REPLIES = "reply.celery.pidbox"
SHARED = ["celery.pidbox", REPLIES, "celeryev", "celery_delayed_27", "celery_delayed_delivery"]


def box(pool: dict[str, Any]) -> str:
    return f"celery-{pool['name']}.pidbox"


def mailbox(pool: dict[str, Any]) -> str:
    """The queue through which a worker of the pool takes commands."""
    return f"{pool['worker_names'][0]}.{box(pool)}"


OTHERS = [box(OTHER), f"reply.{box(OTHER)}", f"celeryev-{OTHER['name']}"]
OWN = f"wall.{box(MINE)}"
"""A name that the pool may give to a queue or exchange of its own."""


@pytest.fixture(name="channel")
def channel_of_my_pool() -> Iterator[Any]:
    """A channel of the pool's user, with publisher confirms, so that a refused message raises."""
    with Connection(wall_app.url(MINE["name"]), transport_options={"confirm_publish": True}) as connection:
        yield connection.channel()
        with connection.channel() as fresh:
            fresh.queue_delete(OWN)
            fresh.exchange_delete(OWN)


@pytest.fixture(name="scheduler")
def channel_of_the_scheduler() -> Iterator[Any]:
    with Connection(wall_app.url(None), transport_options={"confirm_publish": True}) as connection:
        yield connection.channel()


def message(channel: Any, text: str = "{}", **properties: Any) -> Any:
    return channel.prepare_message(text, content_type="application/json", content_encoding="utf-8", **properties)


def publish(exchange: str, key: str = "") -> Callable[[Any], object]:
    return lambda channel: channel.basic_publish(
        message(channel), exchange=exchange, routing_key=key, timeout=TIMEOUT, confirm_timeout=TIMEOUT
    )


def declare_queue(name: str, **arguments: Any) -> Callable[[Any], object]:
    return lambda channel: channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def declare_exchange(name: str, kind: str = "fanout", **arguments: Any) -> Callable[[Any], object]:
    return lambda channel: channel.exchange_declare(name, kind, durable=False, auto_delete=False, arguments=arguments)


def after(*steps: Callable[[Any], object]) -> Callable[[Any], object]:
    """The last step, after others that are allowed."""

    def run(channel: Any) -> None:
        for allowed in steps[:-1]:
            allowed(channel)
        with pytest.raises(AccessRefused):
            steps[-1](channel)
        raise AccessRefused

    return run


REFUSED: dict[str, Callable[[Any], object]] = {
    # Publishing: to any queue, through whatever leads there
    "publish to the other pool's queue": publish("", OTHER_QUEUE),
    "publish to its own queue": publish("", MY_QUEUE),
    "publish to the other pool's mailbox": publish("", mailbox(OTHER)),
    **{f"publish to {name}": publish(name, OTHER_QUEUE) for name in ["celery.pidbox", "celeryev", *OTHERS]},
    **{f"publish to {name}": publish(name, OTHER_QUEUE) for name in (MY_QUEUE, OTHER_QUEUE)},
    **{
        f"publish to amq.{kind}": publish(f"amq.{kind}", OTHER_QUEUE)
        for kind in ("direct", "topic", "fanout", "headers")
    },
    "publish for later": publish("celery_delayed_27", f"0.0.0.{OTHER_QUEUE}"),
    "send dead letters to every queue": declare_queue(
        OWN, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": OTHER_QUEUE}
    ),
    **{f"send dead letters to {name}": declare_queue(OWN, **{"x-dead-letter-exchange": name}) for name in OTHERS},
    "send what nobody takes to every queue": declare_exchange(OWN, **{"alternate-exchange": ""}),
    "send what nobody takes to amq.default": declare_exchange(OWN, **{"alternate-exchange": "amq.default"}),
    **{f"send what nobody takes to {name}": declare_exchange(OWN, **{"alternate-exchange": name}) for name in OTHERS},
    "answer by direct reply-to": publish("", "amq.rabbitmq.reply-to.x"),
    # Binding: a way of its own to a queue or exchange of others, or from one
    **{
        f"bind the queue {name} to its own exchange": after(
            declare_exchange(OWN), lambda channel, name=name: channel.queue_bind(name, OWN)
        )
        for name in (MY_QUEUE, OTHER_QUEUE, mailbox(OTHER))
    },
    **{
        f"bind the exchange {name} to its own": after(
            declare_exchange(OWN), lambda channel, name=name: channel.exchange_bind(name, OWN)
        )
        for name in ("celery.pidbox", *OTHERS)
    },
    **{
        f"listen to {name}": after(declare_queue(OWN), lambda channel, name=name: channel.queue_bind(OWN, name))
        for name in ("celery.pidbox", REPLIES, "celeryev", "amq.rabbitmq.trace", *OTHERS)
    },
    # Reading
    **{
        f"{verb} {queue}": lambda channel, call=call, queue=queue: call(channel, queue)
        for queue in (OTHER_QUEUE, mailbox(OTHER))
        for verb, call in {
            "consume": lambda channel, queue: channel.basic_consume(queue),
            "get from": lambda channel, queue: channel.basic_get(queue),
            "purge": lambda channel, queue: channel.queue_purge(queue),
        }.items()
    },
    # Making and removing
    **{f"delete the queue {name}": lambda channel, name=name: channel.queue_delete(name) for name in PLAN["queues"]},
    **{f"declare the queue {name}": declare_queue(name, **QUORUM) for name in PLAN["queues"]},
    "delete the other pool's mailbox": lambda channel: channel.queue_delete(mailbox(OTHER)),
    "declare the other pool's mailbox": declare_queue(mailbox(OTHER)),
    "declare a queue of any name": declare_queue("wall"),
    "declare a queue of no name": declare_queue(""),
    **{f"delete {name}": lambda channel, name=name: channel.exchange_delete(name) for name in SHARED + OTHERS},
    **{f"declare {name}": declare_exchange(name) for name in SHARED + OTHERS},
    **{f"declare an exchange like the queue {name}": declare_exchange(name) for name in PLAN["queues"]},
}


@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
def test_a_pool_may_not(attempt: Callable[[Any], object], channel: Any) -> None:
    with pytest.raises(AccessRefused):
        attempt(channel)


def test_a_pool_may_not_enter_another_virtual_host() -> None:
    address = wall_app.url(MINE["name"]).split(";", maxsplit=1)[0].rsplit("/", 1)[0] + "/%2F"
    with pytest.raises(AMQPError, match=r"not found|refused|not_allowed"), Connection(address) as connection:
        connection.connect()


def test_no_guest_is_let_in() -> None:
    place = wall_app.url(None).split(";", maxsplit=1)[0].rsplit("@", 1)[1]
    with pytest.raises(AccessRefused), Connection(f"amqp://guest:guest@{place}") as connection:
        connection.connect()


def test_a_message_to_its_own_exchange_reaches_no_queue(channel: Any, scheduler: Any) -> None:
    waiting = {queue: depth(scheduler, queue) for queue in PLAN["queues"]}
    everywhere = message(channel, headers={"CC": PLAN["queues"], "BCC": PLAN["queues"]})
    for exchange in (box(MINE), REPLIES, f"celeryev-{MINE['name']}"):
        channel.basic_publish(everywhere, exchange=exchange, routing_key=OTHER_QUEUE, confirm_timeout=TIMEOUT)
    assert {queue: depth(scheduler, queue) for queue in PLAN["queues"]} == waiting


def depth(channel: Any, queue: str) -> int:
    return channel.queue_declare(queue, passive=True).message_count


def consumers(channel: Any, queue: str) -> int:
    return channel.queue_declare(queue, passive=True).consumer_count


def test_the_scheduler_cannot_reach_what_is_not_the_platforms(scheduler: Any) -> None:
    with pytest.raises(AccessRefused):
        scheduler.queue_declare("wall")


@pytest.fixture(name="scheduler_application", scope="module")
def application_of_the_scheduler() -> Any:
    return wall_app.application(None)


@pytest.fixture(name="are_mine", scope="module")
def workers_that_are_the_tests_own(
    workers_stopped: None, scheduler_application: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[bool]:
    """Real workers of two pools: the platform's where it has some, else the test's own."""
    with Connection(wall_app.url(None)) as connection:
        taken = any(consumers(connection.channel(), queue) for queue in PLAN["queues"])
    if taken:
        yield False
        return
    folder = tmp_path_factory.mktemp("wall")
    results = folder / "results"
    results.mkdir()
    scheduler_application.conf.result_backend = f"file://{results}"
    running = [start(pool, folder, results) for pool in (MINE, OTHER)]
    try:
        wait_for(running, scheduler_application, folder)
        yield True
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=300)


@pytest.fixture(name="workers")
def application_with_workers(are_mine: bool, scheduler_application: Any) -> Any:
    return scheduler_application


@pytest.fixture(name="own_workers")
def application_with_own_workers(are_mine: bool, scheduler_application: Any) -> Any:
    if not are_mine:
        pytest.skip("needs a platform whose queues nobody consumes: it starts workers of its own, and disturbs them")
    return scheduler_application


def start(pool: dict[str, Any], folder: Path, results: Path) -> subprocess.Popen[bytes]:
    name = pool["worker_names"][0]
    with (folder / f"{pool['name']}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "--app", "wall_app", "worker", "--concurrency", "1", "--loglevel", "INFO"]
            + ["--queues", ",".join(pool["queues"]), "--hostname", name, "-O", "fair"],
            cwd=Path(__file__).parent,
            env={**os.environ, "WALL_POOL": pool["name"], "WALL_RESULTS": str(results)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_for(running: list[subprocess.Popen[bytes]], application: Any, folder: Path) -> None:
    """Wait until every worker answers; fail with their logs where one ends or none comes."""
    deadline = time.monotonic() + START_TIMEOUT
    while len(application.control.ping(timeout=5)) < len(running):
        logs = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.log"))
        assert all(process.poll() is None for process in running), f"a worker ended:\n{logs}"
        assert time.monotonic() < deadline, f"not all workers answer after {START_TIMEOUT} s:\n{logs}"


@pytest.mark.parametrize("pool", [MINE, OTHER], ids=lambda pool: pool["name"])
def test_tasks_run_in_the_pool_of_their_queue(pool: dict[str, Any], own_workers: Any) -> None:
    for queue in pool["queues"]:
        assert own_workers.tasks["pool"].apply_async(queue=queue).get(timeout=30) == pool["name"]


def test_the_scheduler_reaches_every_worker(workers: Any) -> None:
    names = {pool["worker_names"][0] for pool in (MINE, OTHER)}
    assert set(workers.control.inspect(timeout=5).ping()) >= names
    for name in names:
        assert workers.control.ping(destination=[name], timeout=5) == [{name: {"ok": "pong"}}]


def test_the_scheduler_sees_the_events_of_every_pool(workers: Any) -> None:
    awaited = {pool["worker_names"][0] for pool in (MINE, OTHER)}

    def seen(event: dict[str, Any]) -> None:
        awaited.discard(event["hostname"])
        receiver.should_stop = not awaited

    with workers.connection() as connection:
        receiver = workers.events.Receiver(connection, handlers={"*": seen})
        receiver.capture(timeout=TIMEOUT, wakeup=True)
    assert not awaited


def active_queues(application: Any, worker: str, expected: set[str]) -> set[str]:
    """What the worker consumes; it is asked again until that is as expected, since it answers before it changes."""
    found: set[str] = set()
    for _attempt in range(10):
        answer = application.control.inspect(destination=[worker], timeout=5, limit=1).active_queues()
        found = {queue["name"] for queue in (answer or {}).get(worker, [])}
        if found == expected:
            break
        time.sleep(0.5)
    return found


def test_the_scheduler_moves_a_queue_without_a_restart(own_workers: Any) -> None:
    worker = MINE["worker_names"][0]
    own_workers.control.cancel_consumer(MY_QUEUE, destination=[worker], reply=True, timeout=5)
    rest = set(MINE["queues"]) - {MY_QUEUE}
    assert active_queues(own_workers, worker, rest) == rest
    own_workers.control.add_consumer(MY_QUEUE, destination=[worker], reply=True, timeout=5)
    assert active_queues(own_workers, worker, set(MINE["queues"])) == set(MINE["queues"])
    assert own_workers.tasks["pool"].apply_async(queue=MY_QUEUE).get(timeout=30) == MINE["name"]


def test_a_worker_survives_the_command_to_consume_anothers_queue(own_workers: Any) -> None:
    worker = MINE["worker_names"][0]
    own_workers.control.add_consumer(OTHER_QUEUE, destination=[worker], reply=True, timeout=5)
    assert active_queues(own_workers, worker, set(MINE["queues"])) == set(MINE["queues"])
    assert own_workers.tasks["pool"].apply_async(queue=MY_QUEUE).get(timeout=30) == MINE["name"]
    assert own_workers.tasks["pool"].apply_async(queue=OTHER_QUEUE).get(timeout=30) == OTHER["name"]


@pytest.mark.usefixtures("workers")
def test_a_pool_reaches_its_own_workers_alone() -> None:
    answers = wall_app.application(MINE["name"]).control.inspect(timeout=5).ping()
    assert set(answers) <= set(MINE["worker_names"])
    assert answers


@pytest.mark.parametrize("exchange", ["celery", f"celery-{OTHER['name']}"])
def test_a_pool_cannot_command_another(exchange: str, workers: Any) -> None:
    stranger = wall_app.application(MINE["name"], control_exchange=exchange)
    with pytest.raises(AccessRefused):
        stranger.control.broadcast("ping", destination=[OTHER["worker_names"][0]])
    assert workers.control.ping(destination=[OTHER["worker_names"][0]], timeout=5)


def test_a_pool_cannot_send_a_task(workers: Any) -> None:
    stranger = wall_app.application(MINE["name"])
    for queue in PLAN["queues"]:
        with pytest.raises(AccessRefused):
            stranger.send_task("pool", queue=queue)
    assert workers.control.inspect(timeout=5).ping()


@pytest.mark.usefixtures("workers")
def test_a_live_mailbox_is_closed_to_the_other_pool(channel: Any) -> None:
    with pytest.raises(AccessRefused):
        channel.basic_consume(mailbox(OTHER))


def test_an_exchange_that_a_pool_removes_is_its_own_loss(workers: Any, channel: Any) -> None:
    with pytest.raises((AccessRefused, NotFound)):
        channel.exchange_delete(box(OTHER))
    assert workers.control.ping(destination=[OTHER["worker_names"][0]], timeout=5)
