# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often one task runs on RabbitMQ, Redis and SQS, with a patience of the broker that is shorter than it, and with the plan's.

Each broker is a real one on loopback, and moto's server for SQS. The task takes longer than it takes
until somebody looks for what is overdue: RabbitMQ does once a minute, and of Redis's clients each one every 100 s (kombu's
restore_visible). A worker that ends is started again, as systemd does. It takes five minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from performance_page import ROOT, table, write

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from celery import Celery

from ansible_collections.airstack.backbone.plugins.module_utils._model import explain, timeouts
from ansible_collections.airstack.backbone.plugins.module_utils._model.durations import parse, spell
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.services import aws

PAGE = ROOT / "docs" / "brokers.md"
SERVICE = brokers.service(brokers.pool("etl", "etl"))

TASK_SECONDS = 125
SHORT_SECONDS = 30
WATCHED_SECONDS = 235
PROCESSES = 4


class Broker(NamedTuple):
    """queue: of its own, since kombu remembers SQS's queues for the whole process. url, options, config: what Celery is told."""

    queue: str
    url: str
    options: dict[str, Any]
    config: dict[str, Any]


class Trial(NamedTuple):
    """A broker with one patience, in seconds. rounds: how often the task began."""

    name: str
    kind: str
    seconds: int
    ran: int


def application(broker: Broker) -> Celery:
    """Celery as Airflow sets it up: a message is acknowledged when its task ends, and none is fetched beforehand."""
    app = Celery("brokers", broker=broker.url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_transport_options=broker.options,
        task_acks_late=True,
        task_default_queue=broker.queue,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        **broker.config,
    )

    @app.task(name="run")
    def run() -> None:
        with Path(os.environ["BENCH_RAN"]).open("a", encoding="utf-8") as ran:
            ran.write(f"{time.time()}\n")
        time.sleep(TASK_SECONDS)

    return app


@contextlib.contextmanager
def process(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program of this benchmark, which ends with it; what it says is in `log`."""
    with (folder / "log").open("ab") as log:
        found = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield found
    finally:
        brokers.end(found)


@contextlib.contextmanager
def rabbitmq(folder: Path, seconds: int) -> Iterator[Broker]:
    """A node with this consumer_timeout, where the user may do everything, as Celery's own consumer wants."""
    with brokers.RabbitMQ(folder, settings={"consumer_timeout": seconds * 1000}) as server:
        server.start(SERVICE)
        server.control("set_permissions", "-p", SERVICE["vhost"], SERVICE["user"], ".*", ".*", ".*")
        yield Broker("etl", server.url(SERVICE["user"], "broker"), {}, {"task_default_queue_type": "quorum"})


@contextlib.contextmanager
def redis(folder: Path, seconds: int) -> Iterator[Broker]:
    """A server; the patience is its clients'."""
    with brokers.redis(folder) as url:
        yield Broker("etl", url, {"visibility_timeout": seconds}, {})


@contextlib.contextmanager
def sqs(_folder: Path, seconds: int) -> Iterator[Broker]:
    """A queue with this VisibilityTimeout; what Celery is told is the plan's in any case, and changes nothing."""
    queue = f"etl-{seconds}"
    attributes = {"VisibilityTimeout": str(seconds)}
    with aws.running() as server:
        url = server.client("sqs").create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
        options = {
            "region": aws.REGION,
            "visibility_timeout": patience("sqs"),
            "wait_time_seconds": 5,
            "predefined_queues": {queue: {"url": url}},
            "is_secure": False,
        }
        config = {"worker_enable_remote_control": False}
        yield Broker(queue, f"sqs://{aws.ADMINISTRATOR}:{aws.SECRET}@127.0.0.1:{server.port}", options, config)


KINDS = {"RabbitMQ": ("amqp", rabbitmq), "Redis": ("redis", redis), "SQS": ("sqs", sqs)}


def patience(kind: str) -> int:
    """Seconds that the plan gives a broker for this task."""
    seconds: int = timeouts.solve(TASK_SECONDS, kind)[timeouts.PATIENCE[kind].name]["seconds"]
    return seconds


def worker(broker: Broker, folder: Path, until: Callable[[], bool]) -> None:
    """A worker, started again where it ends."""
    environment = {
        **os.environ,
        "BENCH_BROKER": json.dumps(broker),
        "BENCH_RAN": str(folder / "ran"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    command = [sys.executable, "-m", "celery", "--app", "bench_brokers", "worker", "-O", "fair"]
    command += ["--queues", broker.queue, "--concurrency", str(PROCESSES), "--without-gossip", "--without-mingle"]
    while not until():
        with process(command, folder, environment) as running:
            while running.poll() is None and not until():
                time.sleep(0.2)
            if until():
                os.killpg(running.pid, signal.SIGKILL)


def trial(name: str, seconds: int, folder: Path, found: list[Trial]) -> None:
    """Count how often one task begins while it is watched."""
    kind, server = KINDS[name]
    folder.mkdir()
    (folder / "worker").mkdir()
    ran = folder / "worker" / "ran"
    with server(folder, seconds) as broker:
        application(broker).send_task("run")
        ends: list[float] = []
        working = threading.Thread(
            target=worker, args=(broker, folder / "worker", lambda: bool(ends) and time.monotonic() > ends[0])
        )
        working.start()
        try:
            brokers.wait(
                ran.exists, f"{name} brings no first run", lambda: (folder / "worker/log").read_text(encoding="utf-8")
            )
            ends.append(time.monotonic() + WATCHED_SECONDS)
        finally:
            ends.append(0.0)
            working.join()
    found.append(Trial(name, kind, seconds, len(ran.read_text(encoding="utf-8").split())))
    print(found[-1])


def missing() -> list[str]:
    """Programs and packages that are not here."""
    found = {
        "RabbitMQ": needs.HAS_RABBITMQ,
        "Redis": needs.HAS_REDIS,
        **{f"Python's {name}": find_spec(name) is not None for name in ("redis", "pycurl", "moto")},
    }
    return [name for name, is_there in found.items() if not is_there]


def measure(folder: Path) -> list[Trial]:
    """All trials at once: their tasks sleep."""
    found: list[Trial] = []
    with contextlib.ExitStack() as stack:
        for at, (name, (kind, _server)) in enumerate(KINDS.items()):
            for seconds in (SHORT_SECONDS, patience(kind)):
                thread = threading.Thread(target=trial, args=(name, seconds, folder / f"{at}-{seconds}", found))
                thread.start()
                stack.callback(thread.join)
    return sorted(found, key=lambda each: (list(KINDS).index(each.name), each.seconds))


def planned(longest_task: str = "8h") -> str:
    """What the plan gives each kind of broker for a longest task."""
    solved = {name: timeouts.solve(parse(longest_task) or 0, kind) for name, (kind, _server) in KINDS.items()}
    rows = [
        (
            name,
            explain.WORDS[timeout],
            spell(each["seconds"]),
            spell(each["most"]) if each["most"] else "",
            each["reason"],
        )
        for name, found in solved.items()
        for timeout, each in found.items()
        if timeout not in ("worker_stop", "task_heartbeat")
    ]
    header = ("broker", f"for a longest task of {longest_task}", "the plan has", "at most", "because")
    return table(header, rows)


if "BENCH_BROKER" in os.environ:
    app = application(Broker(*json.loads(os.environ["BENCH_BROKER"])))

if __name__ == "__main__":
    if missing():
        raise SystemExit(f"Not measured, the page stays as it is: {' and '.join(missing())} not installed here")
    with tempfile.TemporaryDirectory() as name:
        trials = measure(Path(name))
    if len(trials) != 2 * len(KINDS):
        raise SystemExit("Not every broker could be measured; the page stays as it is")
    rows = [
        (
            each.name,
            "VisibilityTimeout of the queue" if each.kind == "sqs" else timeouts.PATIENCE[each.kind].name,
            "too short" if each.seconds == SHORT_SECONDS else "the plan's",
            spell(each.seconds),
            each.ran,
        )
        for each in trials
    ]
    header = ("broker", "its patience", "set", "to", "runs begun")
    text = f"One task of {spell(TASK_SECONDS)}, watched for {spell(WATCHED_SECONDS)}:\n\n{table(header, rows)}"
    write("broker-timeouts", "python benchmarks/bench_brokers.py", planned(), PAGE)
    write("brokers", "python benchmarks/bench_brokers.py", text, PAGE)
