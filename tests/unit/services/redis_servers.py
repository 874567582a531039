# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real Redis servers, Sentinels and Celery workers on loopback, with the users and settings of the role airflow_broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import credentials
from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service
from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port, is_open

if TYPE_CHECKING:
    from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

ADDRESS = "127.0.0.1"
POOLS = {"etl": ["etl", "etl_highmem"], "ml": ["ml"]}
SECRETS = {
    "broker": "of the scheduler/+",
    "redis_operator": "of the operator",
    **{f"broker_{pool}": f"of {pool}/+" for pool in POOLS},
}
HERE = Path(__file__).parent
START_SECONDS = 300


def broker(port: int, sentinels: list[int] | None = None, ca: Path | None = None) -> dict[str, Any]:
    """As the plan has it; with the file of an authority, with TLS."""
    nodes = [{"name": str(each), "address": ADDRESS, "port": each} for each in sentinels or ()]
    direct = "rediss" if ca else "redis"
    return {
        "provider": "redis",
        "kind": "redis",
        "scheme": "sentinel" if sentinels else direct,
        "tls": {"ca": str(ca)} if ca else None,
        "host": ADDRESS,
        "port": port,
        "vhost": "0",
        "user": "airflow-local",
        "secret": "broker",
        "operator_secret": "redis_operator",
        "sentinel": {"master_name": "airflow", "nodes": nodes} if sentinels else None,
        "queues": [queue for queues in POOLS.values() for queue in queues],
        "pools": [
            {"name": pool, "user": f"airflow-local-{pool}", "secret": f"broker_{pool}", "queues": queues}
            for pool, queues in POOLS.items()
        ],
    }


def wait_for(happened: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


def client(planned: dict[str, Any], user: str, port: int | None = None) -> Any:
    """A client of one of the users: a pool's name, "core", or one of service.ROLES."""
    redis = pytest.importorskip("redis", reason="the Python client of Redis is not installed here")
    if user in service.ROLES:
        name, password = service.role(planned, user), service.role_password(planned, user, SECRETS)
    else:
        account = next((pool for pool in planned["pools"] if pool["name"] == user), planned)
        name, password = account["user"], SECRETS[account["secret"]]
    tls = {"ssl": True, "ssl_ca_certs": planned["tls"]["ca"]} if planned["tls"] else {}
    return redis.Redis(ADDRESS, port or planned["port"], username=name, password=password, decode_responses=True, **tls)


@dataclass
class Servers:
    """The processes that one test has started, in a folder of its own."""

    folder: Path
    planned: dict[str, Any]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def tls(self) -> Path:
        """The folder of the certificate, which all share."""
        return self.folder / "tls"

    def server(self, port: int, master: int | None = None, **settings: str) -> None:
        place = self.folder / str(port)
        place.mkdir(exist_ok=True)
        (place / "users.acl").write_text(service.acl(self.planned, SECRETS), encoding="utf-8")
        wanted = {
            **self._place(port, place),
            "save": '""',
            **service.settings(self.planned),
            "masteruser": service.role(self.planned, "replica"),
            "masterauth": service.role_password(self.planned, "replica", SECRETS),
            **({"replicaof": f"127.0.0.1 {master}"} if master else {}),
            **settings,
        }
        self.start(f"server-{port}", port, place / "redis.conf", wanted)

    def sentinel(self, port: int, master: int, down_after: float) -> None:
        """down_after: seconds without an answer after which a server is down."""
        place = self.folder / str(port)
        place.mkdir(exist_ok=True)
        (place / "users.acl").write_text(service.sentinel_acl(self.planned, SECRETS), encoding="utf-8")
        user = service.role(self.planned, "sentinel")
        password = service.role_password(self.planned, "sentinel", SECRETS)
        wanted = {
            **self._place(port, place),
            "sentinel monitor": f"airflow 127.0.0.1 {master} 2",
            "sentinel auth-user": f"airflow {user}",
            "sentinel auth-pass": f"airflow {password}",
            "sentinel sentinel-user": user,
            "sentinel sentinel-pass": password,
            "sentinel down-after-milliseconds": f"airflow {down_after * 1000:.0f}",
            "sentinel failover-timeout": "airflow 5000",
        }
        self.start(f"sentinel-{port}", port, place / "sentinel.conf", wanted, "--sentinel")

    def _place(self, port: int, place: Path) -> dict[str, str]:
        connections = service.connections(self.planned, port, str(self.tls))
        return {**connections, "bind": "127.0.0.1", "dir": str(place), "aclfile": str(place / "users.acl")}

    def start(self, name: str, port: int, config: Path, wanted: dict[str, str], *more: str) -> None:
        config.write_text("".join(f"{key} {value}\n" for key, value in wanted.items()), encoding="utf-8")
        self.again(name, port, config, *more)

    def again(self, name: str, port: int, config: Path, *more: str) -> None:
        self.run(name, ["redis-server", str(config), *more])
        wait_for(lambda: is_open(port) or self.running[name].poll() is not None, f"{name} listens")
        assert self.running[name].poll() is None, self.log(name)

    def run(self, name: str, command: list[str], **environment: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=HERE, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def kill(self, port: int) -> None:
        """A server is gone at once, as with its host."""
        process = self.running.pop(f"server-{port}")
        process.kill()
        process.wait(timeout=30)

    def revive(self, port: int) -> None:
        """Start a killed server again, with what it has on its disk."""
        self.again(f"server-{port}", port, self.folder / str(port) / "redis.conf")

    def quit(self, *names: str) -> None:
        """End workers at once, whatever they run."""
        for name in names:
            self.running[name].send_signal(signal.SIGQUIT)

    def worker(self, pool: str, number: int = 1, **options: Any) -> str:
        """A worker of the pool, started as the platform starts it; options: of the transport, over the platform's."""
        name = f"{pool}@host{number}"
        command = [sys.executable, "-m", "celery", "--app", "redis_app", "worker", "--queues", ",".join(POOLS[pool])]
        command += ["--concurrency", "2", "--hostname", name, "--without-mingle", "--without-gossip", "-l", "INFO"]
        self.run(name, command, **self.environment(pool, options))
        return name

    def environment(self, pool: str | None, options: dict[str, Any]) -> dict[str, str]:
        account = next((each for each in self.planned["pools"] if each["name"] == pool), self.planned)
        told = self.folder / f"{pool or 'core'}.json"
        told.write_text(
            json.dumps(
                {
                    "url": credentials.broker_url(self.planned, account["user"], SECRETS[account["secret"]]),
                    "pool": pool,
                    "ca": self.planned["tls"] and self.planned["tls"]["ca"],
                    "runs": str(self.folder / "runs"),
                    "options": {"master_name": "airflow", "visibility_timeout": 30600, **options},
                }
            ),
            encoding="utf-8",
        )
        return {"REDIS_APP": str(told)}

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=20)


@contextmanager
def started(folder: Path, planned: dict[str, Any], authority: Authority | None = None) -> Iterator[Servers]:
    """Servers that end with the block; with the certificate of an authority, none of which runs yet."""
    servers = Servers(folder, planned)
    if authority:
        authority.equip(servers.tls, ADDRESS)
    try:
        yield servers
    finally:
        servers.stop()


@contextmanager
def one(folder: Path, authority: Authority | None = None, **settings: str) -> Iterator[Servers]:
    """A server that runs; with TLS where there is an authority."""
    port = free_port()
    with started(folder, broker(port, ca=authority and authority.ca), authority) as servers:
        servers.server(port, **settings)
        yield servers
