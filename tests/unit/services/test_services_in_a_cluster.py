# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles of database and broker would apply to a cluster that has both, without the cluster."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._services import postgresql, rabbitmq
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer

CLUSTER = "airflow_components_kubernetes"
DESCRIPTION = {
    "airflow_environment": "local",
    "airflow_platform": "kubernetes",
    "airflow_api_url": "https://airflow.example.com",
    "airflow_longest_task": "8h",
    "airflow_database_provider": "kubernetes",
    "airflow_broker_provider": "kubernetes",
    "airflow_dag_storage_provider": "persistent_volume",
    "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
    CLUSTER: {"namespace": "airflow-local"},
    f"{CLUSTER}_kubeconfig": "/nowhere/kubeconfig",
}


class Rendered:
    """What a role applies, by its manifests' kinds."""

    def __init__(self, steps: list[dict[str, Any]], said: str) -> None:
        self.manifests = {each["kind"]: each for step in steps for each in step["manifests"]}
        self.said = said

    @property
    def files(self) -> dict[str, str]:
        return dict(self.manifests["ConfigMap"]["data"])

    @property
    def secrets(self) -> dict[str, str]:
        return {name: base64.b64decode(value).decode() for name, value in self.manifests["Secret"]["data"].items()}

    @property
    def environment(self) -> dict[str, str]:
        (container,) = self.manifests["StatefulSet"]["spec"]["template"]["spec"]["containers"]
        return {each["name"]: each["value"] for each in container["env"]}


def rendered(folder: Path, service: str) -> Rendered:
    """The role's steps, which it has at hand when it does not find the cluster."""
    place = folder / "steps.json"
    facts = {
        "airflow_plan": "{{ planned.airflow_plan }}",
        "airflow_secrets": "{{ dict(names | zip(names | map('regex_replace', '^', 'given-'))) }}",
    }
    copy = {"content": f"{{{{ __airflow_{service}_steps | to_json }}}}", "dest": str(place), "mode": "0600"}
    tasks = [
        {"airstack.backbone.plan": {}, "register": "planned"},
        {
            "ansible.builtin.set_fact": facts,
            "vars": {"names": "{{ planned.airflow_plan.secrets | map(attribute='name') }}"},
            "no_log": True,
        },
        {
            "block": [{"ansible.builtin.include_role": {"name": f"airstack.backbone.airflow_{service}"}}],
            "rescue": [{"ansible.builtin.copy": copy, "no_log": True}],
        },
    ]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    run = Deployer(folder, [play], {"airflow_publisher": ["publisher1"]}, DESCRIPTION, {})("-vvv")
    assert run.failed == 0, run.said
    assert "/nowhere/kubeconfig" in run.said
    return Rendered(json.loads(place.read_text(encoding="utf-8")), run.said)


@pytest.fixture(name="database", scope="module")
def rendered_database(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return rendered(tmp_path_factory.mktemp("database"), "database")


@pytest.fixture(name="broker", scope="module")
def rendered_broker(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return rendered(tmp_path_factory.mktemp("broker"), "broker")


def test_no_run_shows_a_password_nor_does_the_cluster_get_one(database: Rendered, broker: Rendered) -> None:
    for each in (database, broker):
        assert "given-" not in each.said
        assert "given-" not in json.dumps(each.manifests)
        assert not any("given-" in text for text in each.secrets.values())


def test_the_database_has_the_two_roles_and_lets_them_alone_in(database: Rendered) -> None:
    verifiers = {
        role: postgresql.scram_sha_256(f"given-{secret}", role)
        for role, secret in {"airflow_local": "database", "airflow_local_results": "database_results"}.items()
    }
    sql = " ".join(database.secrets["roles.sql"].split())
    flags = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    for role, verifier in verifiers.items():
        assert f"ALTER ROLE \"{role}\" {flags} PASSWORD '{verifier}';" in sql
    assert 'REVOKE CONNECT, TEMPORARY ON DATABASE "airflow_local" FROM PUBLIC;' in sql
    assert 'GRANT CONNECT ON DATABASE "airflow_local" TO "airflow_local_results";' in sql
    lines = [line for line in database.files["pg_hba.conf"].splitlines() if not line.startswith("#")]
    assert lines == [
        "local all postgres peer map=administrators",
        "host airflow_local airflow_local all scram-sha-256",
        "host airflow_local airflow_local_results all scram-sha-256",
    ]


def test_the_database_has_its_settings(database: Rendered) -> None:
    assert "listen_addresses = '*'" in database.files["postgresql.conf"]
    assert "password_encryption = 'scram-sha-256'" in database.files["postgresql.conf"]
    assert database.environment["PGPORT"] == "5432"
    assert "--locale=C.UTF-8" in database.environment["INITDB_OPTIONS"]
    assert database.files["start.sh"].startswith("#!/bin/sh\n")


def test_the_broker_has_the_definitions_of_one_on_a_host(broker: Rendered) -> None:
    definitions = json.loads(broker.secrets["definitions.json"])
    users = {user["name"]: user["password_hash"] for user in definitions["users"]}
    assert users == {
        name: rabbitmq.password_hash(name, f"given-{secret}")
        for name, secret in {"airflow-local": "broker", "airflow-local-etl": "broker_etl"}.items()
    }
    assert [queue["name"] for queue in definitions["queues"]] == ["etl"]
    assert {each["user"] for each in definitions["permissions"]} == set(users)


def test_the_broker_reads_its_configuration_and_no_script(broker: Rendered) -> None:
    """RabbitMQ takes every file that the pattern matches for its configuration."""
    folder, _slash, pattern = broker.environment["RABBITMQ_CONFIG_FILES"].rpartition("/")
    assert (folder, pattern) == ("/etc/airstack", "*.conf")
    read = [name for name in broker.files if name.endswith(".conf")]
    assert sorted(read) == ["10-airflow.conf", "20-airflow-timeouts.conf"]
    text = "".join(broker.files[name] for name in read)
    assert "load_definitions = /run/secrets/airstack/definitions.json\n" in text
    assert "listeners.tcp.default = 5672\n" in text
    assert "consumer_timeout = 30600000\n" in text
    for variable in ("RABBITMQ_CONF_ENV_FILE", "RABBITMQ_ENABLED_PLUGINS_FILE"):
        assert broker.environment[variable].removeprefix("/etc/airstack/") in broker.files


def test_nobody_is_let_to_the_broker_before_it_has_its_definitions(broker: Rendered) -> None:
    (container,) = broker.manifests["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    command = container["lifecycle"]["postStart"]["exec"]["command"]
    assert command == ["/bin/sh", "/etc/airstack/eval.sh", "apply.erl"]
    assert {"eval.sh", "apply.erl", "leftovers.erl"} <= set(broker.files)
    assert '<<"airflow-local-etl">>' in broker.files["apply.erl"]
