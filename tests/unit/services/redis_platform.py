# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platform on the servers of redis_servers: its Celery, what its workers did, and the module that sets the servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import redis

from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service
from ansible_collections.airstack.backbone.tests.unit.services import redis_app
from ansible_collections.airstack.backbone.tests.unit.services.redis_servers import (
    ADDRESS,
    SECRETS,
    Servers,
    broker,
    client,
    free_port,
    started,
    wait_for,
)

if TYPE_CHECKING:
    from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority


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


@contextmanager
def three(folder: Path, authority: Authority | None = None, down_after: float = 60) -> Iterator[Servers]:
    """Three servers, of which the first is the master, and a Sentinel for each; with TLS where there is an authority.

    down_after: seconds; a busy machine's server may be silent for some without being down.
    """
    (master, *replicas), sentinels = ([free_port() for _index in range(3)] for _kind in range(2))
    with started(folder, broker(master, sentinels, authority and authority.ca), authority) as servers:
        servers.server(master)
        for port in replicas:
            servers.server(port, master)
        for port in sentinels:
            servers.sentinel(port, master, down_after)
        await_all(servers)
        yield servers


def sentinels_of(servers: Servers) -> list[int]:
    """Their ports."""
    return [node["port"] for node in servers.planned["sentinel"]["nodes"]]


def await_all(servers: Servers) -> None:
    """Wait until every Sentinel sees a master that two replicas follow."""

    def sees(port: int) -> bool:
        master = client(servers.planned, "operator", port).sentinel_masters()["airflow"]
        place = client(servers.planned, "operator", int(master["port"]))
        if not answers(place):
            return False
        good = place.info("replication").get("min_slaves_good_slaves", 0)
        return good == 2 and master["num-slaves"] == 2 and master["num-other-sentinels"] == 2

    wait_for(lambda: all(map(sees, sentinels_of(servers))), "the Sentinels see a master with two replicas")


def module(servers: Servers, check: bool = False, **options: Any) -> Any:
    """redis_server on the first server's host, where systemctl restarts it."""
    planned = servers.planned

    def restart(command: list[str], check_rc: bool) -> None:
        assert (command, check_rc) == (["systemctl", "restart", "redis-server.service"], True)
        servers.kill(planned["port"])
        servers.revive(planned["port"])

    return SimpleNamespace(
        check_mode=check,
        run_command=restart,
        params={
            "host": ADDRESS,
            "port": planned["port"],
            "tls": {"ca_path": str(servers.tls / "ca.pem"), "name": None} if planned["tls"] else None,
            "user": service.role(planned, "operator"),
            "password": service.role_password(planned, "operator", SECRETS),
            "settings": service.settings(planned),
            "secret_settings": {"masterauth": service.role_password(planned, "replica", SECRETS)},
            "load_users": False,
            "load_certificate": False,
            "restart": False,
            "unit": "redis-server.service",
            "sentinel": None,
            "timeout": 10,
            **options,
        },
    )
