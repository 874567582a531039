# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real brokers on loopback: RabbitMQ with the definitions that airflow_broker gives it, and Redis."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import rabbitmq
from ansible_collections.airstack.backbone.tests.unit import needs

START_SECONDS = 600
PASSWORDS = {"broker": "p@ss/word of the scheduler", "broker_etl": "of etl", "broker_ml": "of ml"}
REDIS_PASSWORD = "redis-s3cret"


def pool(name: str, *queues: str) -> dict[str, Any]:
    return {"name": name, "user": f"airflow-{name}", "secret": f"broker_{name}", "queues": list(queues)}


def service(*pools: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's broker, as far as its definitions need it."""
    queues = sorted({queue for each in pools for queue in each["queues"]})
    return {"vhost": "airflow-local", "user": "airflow", "queues": queues, "pools": list(pools)}


class RabbitMQ(AbstractContextManager["RabbitMQ"]):
    """A node of its own, whose definitions can be replaced while it runs. It ends with the block that it is entered for.

    tls: a folder with a certificate of 127.0.0.1, as airflow_broker gives it; without one the node has no TLS.
    plugins: of RabbitMQ, such as rabbitmq_management, which then listens on management_port. settings: of rabbitmq.conf.
    passwords: of its users, by their secrets.
    """

    def __init__(
        self,
        folder: Path,
        tls: Path | None = None,
        plugins: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._passwords = passwords or PASSWORDS
        self.port, self._mapper, self._distribution = free_port(), free_port(), free_port()
        self.management_port = free_port()
        self._tls, self._plugins, self._settings = tls, plugins, settings or {}
        self._definitions = folder / "definitions.json"
        self._server: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": rabbitmq.ONE_NODE,
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none +S 2:2",
        }

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def url(self, user: str, secret: str) -> str:
        password = self._passwords[secret].replace("@", "%40").replace("/", "%2F").replace(" ", "%20")
        return f"amqp{'s' if self._tls else ''}://{user}:{password}@127.0.0.1:{self.port}/airflow-local"

    def start(self, broker: Mapping[str, Any]) -> None:
        self._write(broker)
        (self.folder / "plugins").write_text(f"[{','.join(self._plugins)}].\n", encoding="utf-8")
        settings = {
            f"listeners.{'ssl' if self._tls else 'tcp'}.1": f"127.0.0.1:{self.port}",
            "load_definitions": self._definitions,
            "vm_memory_high_watermark.absolute": "1GB",
            "disk_free_limit.absolute": "50MB",
            **(_tls(self._tls) if self._tls else {}),
            **self._settings,
        }
        if "rabbitmq_management" in self._plugins:
            settings |= {"management.tcp.ip": "127.0.0.1", "management.tcp.port": self.management_port}
        lines = [f"{key} = {value}\n" for key, value in settings.items()]
        (self.folder / "rabbitmq.conf").write_text("".join(lines), encoding="utf-8")
        with (self.folder / "printed.log").open("wb") as log:
            self._server = subprocess.Popen(
                [needs.RABBITMQ / "rabbitmq-server"],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait(self._is_up, "RabbitMQ does not start", self._printed)

    def _is_up(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            raise AssertionError(f"RabbitMQ ended:\n{self._printed()}")
        return "completed with" in self._printed() or "Starting broker... completed" in self._printed()

    def define(self, broker: Mapping[str, Any]) -> None:
        """What airflow_broker does with a running one whose definitions change, removals left out."""
        self._write(broker)
        self.control("eval", "ok = rabbit_definitions:maybe_load_definitions().")

    def control(self, *arguments: str) -> str:
        done = subprocess.run(
            [needs.RABBITMQ / "rabbitmqctl", *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It stays there and says nothing."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._server.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._server is not None:
            end(self._server)
        subprocess.run(["epmd", "-port", str(self._mapper), "-kill"], check=False, capture_output=True)

    def _write(self, broker: Mapping[str, Any]) -> None:
        definitions = {**rabbitmq.users(broker, self._passwords), **rabbitmq.topology(broker)}
        self._definitions.write_text(json.dumps(definitions), encoding="utf-8")

    def _printed(self) -> str:
        return (self.folder / "printed.log").read_text(encoding="utf-8", errors="replace")


def _tls(folder: Path) -> dict[str, Any]:
    return {
        "listeners.tcp": "none",
        "ssl_options.certfile": folder / "certificate.pem",
        "ssl_options.keyfile": folder / "key.pem",
        "ssl_options.cacertfile": folder / "ca.pem",
        "ssl_options.verify": "verify_none",
        "ssl_options.fail_if_no_peer_cert": "false",
    }


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a server that asks for a password and keeps nothing."""
    port = free_port()
    (folder / "redis.conf").write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {REDIS_PASSWORD}\nsave ''\nappendonly no\ndir {folder}\n",
        encoding="utf-8",
    )
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen(["redis-server", folder / "redis.conf"], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait(lambda: is_open(port), "Redis does not start", lambda: (folder / "redis.log").read_text(encoding="utf-8"))
        yield f"redis://:{REDIS_PASSWORD}@127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait(is_there: Callable[[], bool], otherwise: str, log: Callable[[], str]) -> None:
    """Wait until it is there; fail with the log where it does not come."""
    deadline = time.monotonic() + START_SECONDS
    while not is_there():
        assert time.monotonic() < deadline, f"{otherwise} within {START_SECONDS} s:\n{log()}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that has a session of its own, with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
