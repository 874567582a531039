# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real nodes of RabbitMQ, each in a network namespace of its own, configured with what the role's templates render.

A namespace has its own address and its own Erlang port mapper, so that the nodes differ in nothing from those on hosts:
names, ports and interfaces are the role's. A switch in a further namespace connects them and the clients; a node's cable
can be pulled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import rabbitmq
from ansible_collections.airstack.backbone.tests.unit.services.test_object_store import Role

PROGRAMS = next(iter(sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))), None)
START_TIMEOUT = 300


def missing() -> str | None:
    """What this machine lacks, or None."""
    if PROGRAMS is None or shutil.which("ip") is None:
        return "rabbitmq-server and ip"
    if os.geteuid() != 0:
        return "root, for network namespaces"
    probe = f"backbone-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "the right to make network namespaces"
    _run("ip", "netns", "delete", probe)
    return None


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Network:
    """Namespaces on one switch: NAME-switch and one for each host."""

    def __init__(self, name: str, addresses: Mapping[str, str]) -> None:
        self.name = name
        self.hosts = dict(addresses)

    def make(self) -> None:
        switch = f"{self.name}-switch"
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "switch", "up")
        for host, address in self.hosts.items():
            space = self.space(host)
            _run("ip", "netns", "add", space)
            _run("ip", "-n", switch, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "-n", switch, "link", "set", host, "master", "switch", "up")
            _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run("ip", "-n", space, "link", "set", device, "up")

    def remove(self) -> None:
        """Ends whatever runs in the namespaces."""
        for space in [*map(self.space, self.hosts), f"{self.name}-switch"]:
            for pid in _run("ip", "netns", "pids", space).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "delete", space)

    def space(self, host: str) -> str:
        return f"{self.name}-{host}"

    def cable(self, host: str, *, is_plugged: bool) -> None:
        _run("ip", "-n", f"{self.name}-switch", "link", "set", host, "up" if is_plugged else "down")

    def enter(self, host: str) -> list[str]:
        """What begins a command that runs in a host's namespace."""
        return ["ip", "netns", "exec", self.space(host)]


class Node:
    """One node: its files are below a folder, its processes in its host's namespace."""

    def __init__(
        self, host: str, network: Network, folder: Path, plan: dict[str, Any], secrets: dict[str, str]
    ) -> None:
        self.host = host
        self._network = network
        self._folder = folder / host
        self._configure(plan, secrets)

    def _configure(self, plan: dict[str, Any], secrets: dict[str, str]) -> None:
        role = Role("airflow_broker", plan, secrets, "rabbitmq", inventory_hostname=self.host)
        self.name = role["__airflow_broker_node"]
        places = {
            "__airflow_broker_definitions": str(self._folder / "definitions.d"),
            "__airflow_broker_tls_directory": str(self._folder / "tls"),
        }
        files = {
            "rabbitmq-env.conf": role.file("rabbitmq-env.conf.j2"),
            "enabled_plugins": "[].",
            "conf.d/10-airflow.conf": role.file("airflow.conf.j2", **places),
            "conf.d/20-airflow-timeouts.conf": role.file("timeouts.conf.j2"),
            "definitions.d/10-users.json": json.dumps(rabbitmq.users(plan["broker"], secrets)),
            "definitions.d/20-topology.json": json.dumps(rabbitmq.topology(plan["broker"])),
            "home/.erlang.cookie": secrets.get("broker_cookie", "of one node"),
        }
        for name, text in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if tls := plan["broker"]["tls"]:
            self.certify(Path(tls["certificate"]), Path(tls["ca"]), secrets[tls["secret"]])
        (self._folder / "home/.erlang.cookie").chmod(0o400)
        self._environment = {
            **os.environ,
            "HOME": str(self._folder / "home"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILES": str(self._folder / "conf.d"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
        }

    def certify(self, certificate: Path, ca: Path, key: str) -> None:
        """Give it a certificate, as the role does: under names that the configuration has already."""
        folder = self._folder / "tls"
        folder.mkdir(exist_ok=True)
        texts = {"certificate.pem": certificate.read_text(encoding="utf-8"), "ca.pem": ca.read_text(encoding="utf-8")}
        for name, text in {**texts, "key.pem": key}.items():
            (folder / name).write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it is one of the cluster."""
        assert PROGRAMS is not None
        with (self._folder / "output").open("ab") as output:
            subprocess.Popen(
                [*self._network.enter(self.host), str(PROGRAMS / "rabbitmq-server")],
                env=self._environment,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self.name not in self.running():
            assert time.monotonic() < deadline, (self._folder / "output").read_text(encoding="utf-8")
            time.sleep(1)

    def kill(self) -> None:
        os.kill(int((self._folder / "pid").read_text(encoding="utf-8")), signal.SIGKILL)

    def control(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        assert PROGRAMS is not None
        return subprocess.run(
            [*self._network.enter(self.host), str(PROGRAMS / program), "--silent", *arguments],
            env={**self._environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:
        """What rabbitmqctl answers in JSON, or None where it has no answer."""
        answer = self.control("rabbitmqctl", *arguments, "--formatter", "json")
        return json.loads(answer.stdout) if answer.returncode == 0 else None

    def running(self) -> list[str]:
        """The nodes that this one sees run, itself included."""
        answer = self.ask("cluster_status")
        return answer["running_nodes"] if answer else []

    def log(self) -> str:
        return "\n".join(path.read_text(encoding="utf-8") for path in sorted((self._folder / "log").glob("*.log")))


@contextlib.contextmanager
def cluster(plan: dict[str, Any], secrets: dict[str, str], folder: Path) -> Iterator[tuple[list[Node], Network]]:
    """The nodes of a plan, which run, and a network with a further host, ``client``."""
    addresses = {node["name"]: node["address"] for node in plan["broker"]["nodes"]}
    first, *_others = addresses.values()
    client = first.rsplit(".", 1)[0] + ".250"
    network = Network(f"bb{os.getpid()}", {**addresses, "client": client})
    try:
        network.make()
        nodes = [Node(host, network, folder, plan, secrets) for host in addresses]
        for node in nodes:
            node.start()
        yield nodes, network
    finally:
        network.remove()
