# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real node of RabbitMQ with the role's TLS: its clients talk to who has the certificate of its address, and nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _amqp
from ansible_collections.airstack.backbone.plugins.module_utils._model import plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.services import rabbitmq_nodes
from ansible_collections.airstack.backbone.tests.unit.services.rabbitmq_nodes import Network, Node

pytest.importorskip("kombu", reason="TLS is tried with Celery's client, which is not installed")
pytest.importorskip("cryptography", reason="TLS needs certificates, and what makes them is not installed")
if LACK := rabbitmq_nodes.missing():
    pytest.skip(f"a node of RabbitMQ needs {LACK}", allow_module_level=True)

from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

ADDRESS = "10.89.59.11"
NOBODY = "10.89.59.99"
BACKBONE = Path(__file__).parents[3] / "roles/airflow_core/files/airflow_backbone"

CLIENT = """
import json, ssl, sys
from kombu import Connection
from airflow_backbone import celery_transport
celery_transport.install()
asked = json.load(sys.stdin)
known = {"ca_certs": asked["ca"]} if asked["ca"] else {}
tls = {"cert_reqs": ssl.CERT_REQUIRED, **known} if asked["url"].startswith("amqps") else False
options = {"confirm_publish": True, "connect_retries_timeout": 20, "interval_start": 0}
try:
    with Connection(asked["url"], ssl=tls, transport_options=options, connect_timeout=30) as connection:
        connection.ensure_connection(max_retries=asked["retries"])
        sock = connection.connection.transport.sock
        print(json.dumps(sock.version() if tls else "plain"))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""
"""Celery's own settings of TLS, those that Airflow makes of [celery] ssl_active and ssl_cacert, with our transport."""


@dataclass
class Broker:
    """A running node, and what its clients need."""

    node: Node
    network: Network
    authority: Authority
    stranger: Authority
    broker: dict[str, Any]
    password: str

    def url(self, address: str = ADDRESS, scheme: str = "amqps", port: int = 5671) -> str:
        return f"{scheme}://{self.broker['user']}:{self.password}@{address}:{port}/{self.broker['vhost']}"

    def connect(self, url: str, ca: Path | None, retries: int = 0, machine: Path | None = None) -> str:
        """The TLS version of a connection, or why there is none. machine: the authority that the machine knows."""
        asked = {"url": url, "ca": ca and str(ca), "retries": retries}
        answer: str = self._client(["-c", CLIENT], asked, machine)
        return answer

    def ask(self, ca: Path | None, machine: Path | None = None) -> Any:
        asked = {
            "places": [{"host": ADDRESS, "port": 5671}],
            "vhost": self.broker["vhost"],
            "user": self.broker["user"],
            "password": self.password,
            "is_tls": True,
            "ca": ca and ca.read_text(encoding="utf-8"),
            "seconds": 30,
            "queues": ["etl"],
        }
        return self._client([str(Path(_amqp.__file__))], asked, machine)

    def _client(self, program: list[str], asked: dict[str, Any], machine: Path | None) -> Any:
        environment = [f"PYTHONPATH={BACKBONE}", *([f"SSL_CERT_FILE={machine}"] if machine else [])]
        done = subprocess.run(
            [*self.network.enter("client"), "env", *environment, sys.executable, *program],
            input=json.dumps(asked),
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)


@pytest.fixture(name="broker", scope="module")
def broker_with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "authority")
    certificate, key = authority.certify(ADDRESS)
    variables = {
        "airflow_environment": "local",
        "airflow_dag_sources": [{"name": "etl", "path": "/dags", "queues": ["etl"]}],
        "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
        "airflow_broker_tls": True,
        "airflow_broker_tls_certificate": str(certificate),
        "airflow_broker_tls_ca": str(authority.ca),
    }
    groups = {
        "airflow_database": ["db1"],
        "airflow_broker": ["mq1"],
        "airflow_control": ["control1"],
        "airflow_workers_etl": ["w1"],
    }
    planned, problems = plan.make(variables, Inventory(groups, {"mq1": ADDRESS}))
    assert planned is not None, problems
    secrets = {secret["name"]: f"of-{secret['name']}" for secret in planned["secrets"]} | {"broker_tls_key": key}
    with rabbitmq_nodes.cluster(planned, secrets, folder) as (nodes, network):
        yield Broker(nodes[0], network, authority, Authority(folder, "stranger"), planned["broker"], secrets["broker"])


def test_a_client_with_the_authoritys_certificate_gets_the_newest_tls(broker: Broker) -> None:
    assert broker.connect(broker.url(), broker.authority.ca) == "TLSv1.3"
    assert broker.ask(broker.authority.ca)["queues"]["etl"] == {"consumers": 0, "messages": 0}


def test_another_authoritys_certificate_is_refused(broker: Broker) -> None:
    assert "certificate verify failed" in broker.connect(broker.url(), broker.stranger.ca)
    assert "certificate verify failed" in broker.ask(broker.stranger.ca)["error"]


def test_nobody_is_let_in_without_tls(broker: Broker) -> None:
    assert "refused" in broker.connect(broker.url(scheme="amqp", port=5672), None)


def test_who_goes_on_to_another_node_asks_for_that_ones_name(broker: Broker) -> None:
    urls = ";".join((broker.url(NOBODY), broker.url()))
    assert broker.connect(urls, broker.authority.ca, retries=3) == "TLSv1.3"


def test_a_broker_whose_authority_the_machine_knows_is_trusted(broker: Broker) -> None:
    assert broker.connect(broker.url(), None, machine=broker.authority.ca) == "TLSv1.3"
    assert broker.ask(None, machine=broker.authority.ca)["queues"]["etl"] == {"consumers": 0, "messages": 0}
    assert "certificate verify failed" in broker.connect(broker.url(), None)
    assert "certificate verify failed" in broker.ask(None)["error"]


def test_a_certificate_is_read_anew_and_of_another_address_refused(broker: Broker) -> None:
    """The pem cache is cleared here; without that Erlang does it every two minutes."""
    certificate, key = broker.authority.certify(NOBODY)
    broker.node.certify(certificate, broker.authority.ca, key)
    cleared = broker.node.control("rabbitmqctl", "eval", "ssl:clear_pem_cache().")
    assert cleared.returncode == 0, cleared.stderr
    assert "not valid for" in broker.connect(broker.url(), broker.authority.ca)
    assert "not valid for" in broker.ask(broker.authority.ca)["error"]
    assert "not valid for" in broker.connect(broker.url(), None, machine=broker.authority.ca)
    assert "not valid for" in broker.ask(None, machine=broker.authority.ca)["error"]
