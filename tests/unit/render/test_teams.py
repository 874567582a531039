# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What becomes of a platform with Airflow's own teams under systemd. The golden files show it whole."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._render import systemd
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.components import (
    component_files,
    component_units,
)
from ansible_collections.airstack.backbone.tests.unit.render import golden_files
from ansible_collections.airstack.backbone.tests.unit.render.conftest import ADDRESSES, GROUPS

CORE = "/opt/airflow/core/3.3.2-0123456789ab"
HOSTS = ("control1", "worker-ml1")
PASSWORDS = "simple_auth_manager_passwords"

BROKERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "redis": (
        {
            "airflow_broker_provider": "redis",
            "airflow_broker_tls": True,
            "airflow_broker_tls_certificate": "/pki/broker.pem",
            "airflow_broker_tls_ca": "/pki/ca.pem",
        },
        ["redis1", "redis2", "redis3"],
    ),
    "sqs": ({"airflow_broker_provider": "sqs", "airflow_broker_account": "123456789012"}, []),
}
CLIENTS = {"control1": "scheduler", "worker-ml1": "worker-ml"}
"""A client of the broker, by its host."""


@pytest.fixture(name="variables")
def description_with_teams(variables: dict[str, Any]) -> dict[str, Any]:
    etl, ml = variables["airflow_worker_pools"]
    return {
        **variables,
        "airflow_multi_team": True,
        "airflow_worker_pools": [etl, {**ml, "team": "machines"}],
        "airflow_team_users": [{"name": "alice", "role": "op", "teams": ["etl"]}],
    }


@pytest.fixture(name="file_sets")
def file_sets_of_hosts(planned: Any, endpoints: Any, secrets: Any) -> dict[str, dict[str, Any]]:
    return {host: component_files(planned, endpoints, host, CORE, secrets, 30) for host in HOSTS}


def contents(file_set: dict[str, Any]) -> dict[str, str]:
    """Content of the files that are no secret, by path."""
    return {file["path"]: file["content"] for file in file_set["files"] if "content" in file}


def unit(file_set: dict[str, Any], name: str) -> str:
    return contents(file_set)[f"/etc/systemd/system/airflow-{name}.service"]


@pytest.mark.parametrize("host", HOSTS)
def test_files_are_the_golden_ones(file_sets: dict[str, dict[str, Any]], host: str) -> None:
    made = contents(file_sets[host])
    assert made == golden_files.of(f"teams/{host}", made)


@pytest.mark.parametrize("host", CLIENTS)
@pytest.mark.parametrize("broker", BROKERS)
def test_clients_of_other_brokers_are_the_golden_ones(
    variables: dict[str, Any], endpoints: dict[str, Any], broker: str, host: str
) -> None:
    given, nodes = BROKERS[broker]
    planned, problems = plan.make({**variables, **given}, Inventory({**GROUPS, "airflow_broker": nodes}, ADDRESSES))
    assert planned is not None, problems
    secrets = {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]}
    authority = {"ca": "the authority's certificate\n"} if planned["broker"].get("tls") else {}
    endpoints = {**endpoints, "broker": {**planned["broker"], **authority}}
    made = contents(component_files(planned, endpoints, host, CORE, secrets, 30))
    client = {path: text for path, text in made.items() if CLIENTS[host] in path}
    assert client == golden_files.of(f"teams-{broker}/{host}", client)


@pytest.mark.parametrize("host", HOSTS)
def test_secrets_stand_in_credential_files_alone(file_sets: dict[str, dict[str, Any]], host: str) -> None:
    text = json.dumps({key: value for key, value in file_sets[host].items() if key != "secrets"})
    assert "value-of-" not in text


@pytest.mark.parametrize("host", HOSTS)
def test_a_unit_loads_every_credential_that_it_names(file_sets: dict[str, dict[str, Any]], host: str) -> None:
    for path, text in contents(file_sets[host]).items():
        if path.endswith(".service"):
            loaded = set(re.findall(r"^LoadCredential=([a-z_]+):", text, re.MULTILINE))
            assert set(re.findall(r"/run/credentials/[^/]+/([a-z_]+)", text)) <= loaded


def test_passwords_are_opened_as_a_copy_that_the_api_server_alone_has(file_sets: dict[str, dict[str, Any]]) -> None:
    api = unit(file_sets["control1"], "api-server")
    copy = f"/run/airflow/api-server/{PASSWORDS}"
    install = f"/usr/bin/install --mode=0600 /run/credentials/airflow-api-server.service/{PASSWORDS} {copy}"
    assert f"\nExecStartPre={install}\n" in api
    assert "\nRuntimeDirectoryMode=0700\n" in api
    configured = contents(file_sets["control1"])["/etc/airflow/api-server/airflow.cfg"]
    assert f"\nsimple_auth_manager_passwords_file = {copy}\n" in configured
    others = [text for path, text in contents(file_sets["control1"]).items() if "api-server" not in path]
    assert [text for text in others if PASSWORDS in text] == []


def test_a_teams_triggerer_writes_logs_where_its_hosts_common_one_serves_them(
    file_sets: dict[str, dict[str, Any]],
) -> None:
    files = contents(file_sets["control1"])
    for name in ("triggerer", "triggerer-etl", "triggerer-machines"):
        assert "\nbase_log_folder = /var/log/airflow/triggerer\n" in files[f"/etc/airflow/{name}/airflow.cfg"]
        assert "\nLogsDirectory=airflow/triggerer\n" in unit(file_sets["control1"], name)
        assert f"\nStateDirectory=airflow/{name}\n" in unit(file_sets["control1"], name)


def test_a_triggerer_is_watched_longer_where_another_one_may_give_the_heartbeat(planned: Any, endpoints: Any) -> None:
    health = {each["component"]: each["health"] for each in component_units(planned, endpoints, "control1")}
    # Three of them on each of two hosts.
    assert health["triggerer-etl"]["hosts"] == health["triggerer"]["hosts"] == 6
    assert health["dag-processor"]["hosts"] == 2


def test_a_teams_triggerer_goes_when_its_team_does(planned: Any, endpoints: Any) -> None:
    written = [systemd.unit_name(component) for component in components.model(planned, endpoints)]
    patterns = [re.compile(pattern.replace(".", r"\.").replace("*", ".*")) for pattern in systemd.UNIT_PATTERNS]
    assert [name for name in written if not any(pattern.fullmatch(name) for pattern in patterns)] == []
