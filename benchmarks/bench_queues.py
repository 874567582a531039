# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long it takes until running workers consume other queues, told over remote control or restarted one by one.

`python benchmarks/bench_queues.py` needs rabbitmq-server, and root. The workers are real: Celery's, prefork with one process
each, on one RabbitMQ behind the wall that airflow_broker puts up. While queues move between ten of them, a thousand tasks
run through.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from performance_page import ROOT, table, write

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))
sys.path.insert(0, str(ROOT / "roles/airflow_core/files/airflow_backbone"))

from ansible_collections.airstack.backbone.plugins.module_utils._celery import Address, connected
from ansible_collections.airstack.backbone.plugins.module_utils._queues import moving
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.queues.worker_app import application
from ansible_collections.airstack.backbone.tests.unit.queues.workers import Workers, send

COUNTS = (2, 10, 50)
ROUNDS = 10
TASKS = 1000
TASK_SECONDS = 0.01
WATCHED = 10
GOAL_SECONDS = 2.0
TOGETHER = 5
"""Workers that are started at a time: more would only wait for each other."""

SERVICE = brokers.service(brokers.pool("etl", "etl", "spare"), brokers.pool("ml", "ml"))


def names(count: int) -> list[str]:
    return [f"etl@w{at:02}" for at in range(count)]


def queues(workers: Sequence[str], at: int) -> dict[str, frozenset[str]]:
    """Every second worker has the queue spare, in turns."""
    return {name: frozenset({"etl", "spare"} if (place + at) % 2 else {"etl"}) for place, name in enumerate(workers)}


@contextmanager
def started(count: int, url: str, folder: Path) -> Iterator[Workers]:
    """Workers that consume, every second one spare, too."""
    folder.mkdir()
    with Workers(folder) as workers:
        first = list(queues(names(count), 0).items())
        for at in range(0, count, TOGETHER):
            for name, consumed in first[at : at + TOGETHER]:
                workers.start(url, name, queues=sorted(consumed))
            workers.ready()
        yield workers


def told(url: str, count: int, at: int) -> float:
    """Seconds from the connection to the broker until every worker was seen with its queues."""
    begun = time.monotonic()
    wanted = queues(names(count), at)
    deadline = begun + 60
    with connected(Address(url)) as broker:
        now, missing = moving.discover(broker, list(wanted), asks_all=False, seconds=1, deadline=deadline)
        outcome = moving.Move(broker, now, wanted, deadline).run()
    seconds = time.monotonic() - begun
    if missing or not outcome.is_done or dict(outcome.now) != wanted:
        raise SystemExit(f"Round {at} with {count} workers did not do its job: {missing} {outcome}")
    return seconds


def restarted(workers: Workers, url: str, count: int, at: int) -> float:
    """Seconds until every worker was stopped and started with its queues, one after the other."""
    begun = time.monotonic()
    for name, consumed in queues(names(count), at).items():
        workers.restart(url, name, queues=sorted(consumed))
        workers.ready()
    return time.monotonic() - begun


def watched(workers: Workers, scheduler: Any, url: str, count: int) -> tuple[int, int, int]:
    """How often queues moved while tasks ran through, how many of these were lost, and how many ran twice."""

    def publish() -> None:
        for number in range(TASKS):
            send(scheduler, "spare" if number % 2 else "etl", [number], seconds=TASK_SECONDS)

    publisher = threading.Thread(target=publish)
    publisher.start()
    moves = 0
    while publisher.is_alive() or len(workers.ran()) < TASKS // 2:
        moves += 1
        told(url, count, moves)
    publisher.join()
    workers.finish(range(TASKS))
    time.sleep(2)
    ran = workers.ran()
    return moves, TASKS - len(ran), sum(times > 1 for times in ran.values())


def main() -> None:
    if not needs.HAS_RABBITMQ:
        raise SystemExit("The benchmark needs root and RabbitMQ: apt-get install rabbitmq-server")
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-queues-") as name, brokers.RabbitMQ(Path(name)) as server:
        server.start(SERVICE)
        url, pool_url = server.url("airflow", "broker"), server.url("airflow-etl", "broker_etl")
        for count in COUNTS:
            with started(count, pool_url, Path(name) / f"workers-{count}") as workers:
                seconds = [told(url, count, at) for at in range(1, ROUNDS + 1)]
                print(f"{count} workers: {' '.join(f'{each:.2f}' for each in seconds)}", flush=True)
                if count == WATCHED:
                    flow = watched(workers, application(url, None), url, count)
                restart = restarted(workers, pool_url, count, ROUNDS + 1)
                print(f"{count} workers restarted: {restart:.1f}", flush=True)
            rows.append((count, statistics.median(seconds), max(seconds), restart))
    median = {row[0]: row[1] for row in rows}
    moves, lost, twice = flow
    shown = [(count, f"{middle:.2f}", f"{most:.2f}", f"{restart:.1f}") for count, middle, most, restart in rows]
    how = (
        f"Medians of {ROUNDS} moves, in each of which every worker gets or loses a queue. The load of the machine was"
        f" {os.getloadavg()[2]:.1f} at the end (average of 15 minutes)."
    )
    through = (
        f"While {TASKS:,} tasks ran through {WATCHED} workers, queues moved {moves} times: {lost} tasks were lost,"
        f" {twice} ran twice."
    )
    goals = [
        (
            f"{WATCHED} workers in under {GOAL_SECONDS:g} s",
            f"{median[WATCHED]:.2f} s",
            _met(median[WATCHED] < GOAL_SECONDS),
        ),
        (f"no task lost among {TASKS:,}", f"{lost} lost, {twice} twice", _met(lost == twice == 0)),
    ]
    text = [
        how,
        table(("workers", "told: seconds", "slowest", "restarted one after the other: seconds"), shown),
        through,
        table(("goal", "measured", "met"), goals),
    ]
    write("queues", "python benchmarks/bench_queues.py", "\n\n".join(text))


def _met(is_met: bool) -> str:
    return "yes" if is_met else "no"


if __name__ == "__main__":
    main()
