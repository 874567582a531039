from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    components,
    credentials,
    log_store,
    plan,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory

CENTRAL_SECRETS = {"database", "fernet_key", "jwt", "admin", "object_store_admin", "broker"}


@pytest.fixture
def planned(variables: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    made, _problems = plan.make(variables, inventory)
    assert made is not None
    return made


@pytest.fixture
def secrets(planned: dict[str, Any]) -> dict[str, str]:
    return {secret["name"]: f"<{secret['name']}@>" for secret in planned["secrets"]}


@pytest.fixture
def model(planned: dict[str, Any], endpoints: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in components.model(planned, endpoints)}


def held(component: dict[str, Any], endpoints: dict[str, Any], secrets: dict[str, str]) -> set[str]:
    """The secrets that stand anywhere in a component's credentials."""
    content = "\n".join(credentials.values(component, endpoints, secrets).values()).replace("%3C", "<")
    return {name for name in secrets if f"<{name}%40" in content or f"<{name}@" in content}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api-server", {"database", "fernet_key", "jwt", "api", "log_store"}),
        ("scheduler", {"database", "fernet_key", "jwt", "broker", "database_results"}),
        ("dag-processor", {"database", "fernet_key"}),
        ("triggerer", {"database", "fernet_key", "api", "log_store"}),
        ("worker-etl", {"api", "broker_etl", "database_results", "log_store_etl"}),
        ("worker-ml", {"api", "broker_ml", "database_results", "log_store_ml"}),
    ],
)
def test_a_component_holds_just_the_secrets_of_its_kind(
    model: dict[str, Any], endpoints: dict[str, Any], secrets: dict[str, str], name: str, expected: set[str]
) -> None:
    assert held(model[name], endpoints, secrets) == expected


def test_no_secret_stands_in_the_model(model: dict[str, Any], secrets: dict[str, str]) -> None:
    text = json.dumps(model)
    assert [value for value in secrets.values() if value in text] == []


def test_a_worker_knows_no_other_teams_sources(model: dict[str, Any]) -> None:
    bundles = json.loads(model["worker-ml"]["settings"]["dag_processor"]["dag_bundle_config_list"])
    assert [bundle["name"] for bundle in bundles] == ["ml"] == model["worker-ml"]["sources"]


def test_where_commits_are_seen_is_told_to_the_dag_processor_alone(
    variables: dict[str, Any], inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    variables["airflow_dag_sources"][1] = {
        "name": "ml",
        "repository": "https://github.com/acme/ml",
        "queues": ["ml"],
    }
    made, _problems = plan.make(variables, inventory)
    assert made is not None
    links = {
        each["name"]
        for each in components.model(made, endpoints)
        if "view_url_template" in each["settings"]["dag_processor"]["dag_bundle_config_list"]
    }
    assert links == {"dag-processor"}


def test_only_readers_mount_dags(model: dict[str, Any]) -> None:
    assert {name for name, component in model.items() if component["sources"]} == {
        "dag-processor",
        "worker-etl",
        "worker-ml",
    }


def test_the_users_settings_reach_every_component(
    variables: dict[str, Any], inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    variables["airflow_settings"] = {"core": {"parallelism": 64}}
    made, _problems = plan.make(variables, inventory)
    assert made is not None
    assert {each["settings"]["core"]["parallelism"] for each in components.model(made, endpoints)} == {"64"}


def test_without_keys_the_role_of_the_machine_is_used(planned: dict[str, Any], endpoints: Any) -> None:
    bare = {**endpoints, "log_store": {**endpoints["log_store"], "identities": [], "endpoint_url": None}}
    worker = next(each for each in components.model(planned, bare) if each["name"] == "worker-ml")
    assert "aws_credentials" not in worker["credentials"]
    assert worker["environment_files"] == {}
    connection = json.loads(worker["environment"]["AIRFLOW_CONN_AIRFLOW_LOGS"])
    assert connection == {"conn_type": "aws", "extra": {"region_name": "us-east-1"}}


def test_a_worker_outlasts_the_longest_task_when_it_stops(model: dict[str, Any], planned: dict[str, Any]) -> None:
    assert model["worker-ml"]["stop_timeout"] > planned["longest_task"]


def test_a_pool_may_have_the_logs_of_its_queues_alone(planned: dict[str, Any]) -> None:
    policies = log_store.policies(planned)
    assert set(policies) == {"core", "etl", "ml"}
    objects, listing = policies["etl"]["Statement"]
    folders = [f"logs/queue={queue}/*" for queue in ("etl", "etl_highmem")]
    assert objects["Resource"] == [f"arn:aws:s3:::{planned['log_store']['bucket']}/{folder}" for folder in folders]
    assert listing["Condition"]["StringLike"]["s3:prefix"] == folders
    assert policies["core"]["Statement"][0]["Resource"] == [f"arn:aws:s3:::{planned['log_store']['bucket']}/logs/*"]
