# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platform's Celery on the servers of redis_servers: its scheduler, and what its workers did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis

from ansible_collections.airstack.backbone.tests.unit.services import redis_app
from ansible_collections.airstack.backbone.tests.unit.services.redis_servers import Servers, client, free_port, wait_for


def application(servers: Servers, pool: str | None, **options: Any) -> Any:
    """Celery as the scheduler has it, or a worker of the pool."""
    told = servers.environment(pool, options)["REDIS_APP"]
    return redis_app.application(json.loads(Path(told).read_text(encoding="utf-8")))


def runs(servers: Servers) -> list[int]:
    """The numbers of the tasks that began."""
    path = servers.folder / "runs"
    return [int(line.split()[0]) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def workers_answer(servers: Servers, scheduler: Any, number: int) -> None:
    def answer() -> bool:
        ended = [name for name, process in servers.running.items() if process.poll() is not None]
        assert not ended, "\n".join(map(servers.log, ended))
        return len(scheduler.control.ping(timeout=1) or ()) >= number

    wait_for(answer, f"{number} workers answer")


def answers(server: Any) -> bool:
    try:
        return bool(server.ping())
    except redis.ConnectionError:
        return False


def ports_of_three() -> tuple[list[int], list[int]]:
    """Ports for three servers and three Sentinels."""
    servers, sentinels = ([free_port() for _index in range(3)] for _kind in range(2))
    return servers, sentinels


def start_three(servers: Servers, ports: list[int], sentinels: list[int]) -> None:
    """Three servers, of which the first is the master, and a Sentinel for each."""
    for port in ports:
        servers.server(port, None if port == ports[0] else ports[0])
    for port in sentinels:
        servers.sentinel(port, ports[0])
    await_all(servers, sentinels)


def await_all(servers: Servers, sentinels: list[int]) -> None:
    """Wait until every Sentinel sees a master that two replicas follow."""

    def sees(port: int) -> bool:
        master = client(servers.planned, "operator", port).sentinel_masters()["airflow"]
        place = client(servers.planned, "operator", int(master["port"]))
        if not answers(place):
            return False
        good = place.info("replication").get("min_slaves_good_slaves", 0)
        return good == 2 and master["num-slaves"] == 2 and master["num-other-sentinels"] == 2

    wait_for(lambda: all(map(sees, sentinels)), "the Sentinels see a master with two replicas")
