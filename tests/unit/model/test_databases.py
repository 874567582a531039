# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What each provider of the metadata database means for the plan, the components and their secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    components,
    credentials,
    databases,
    demands,
    explain,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.model.plans import made, refused
from ansible_collections.airstack.backbone.tests.unit.model.test_brokers import CLUSTER, IN_CLUSTER

Variables = dict[str, Any]
EXTERNAL: Variables = {
    "airflow_database_provider": "external",
    "airflow_database_url": "postgresql://airflow@db.example.com:5433/metadata",
}


def without_database(inventory: Inventory) -> Inventory:
    groups = {name: hosts for name, hosts in inventory.groups.items() if name != "airflow_database"}
    return Inventory(groups, inventory.addresses)


def test_each_provider_gives_what_all_give(variables: Variables, inventory: Inventory) -> None:
    variants: dict[str, tuple[Variables, Inventory]] = {
        "postgresql": ({}, inventory),
        "kubernetes": (IN_CLUSTER, CLUSTER),
        "external": (EXTERNAL, without_database(inventory)),
    }
    assert set(variants) == set(databases.PROVIDERS)
    for name, (extra, place) in variants.items():
        database = made({**variables, **extra}, place)["database"]
        assert database["provider"] == name
        assert {"host", "port", "service", "name", "user", "results_user", "clients"} <= set(database)
        assert json.loads(json.dumps(database)) == database


def test_a_database_of_somebody_elses_is_used_as_it_is(variables: Variables, inventory: Inventory) -> None:
    planned = made({**variables, **EXTERNAL}, without_database(inventory))
    endpoint = {**planned["database"], "scheme": "postgresql+psycopg2", "secret": "database"}
    endpoints = {
        "database": {**endpoint, "results_secret": "database_results"},
        **{name: planned[name] for name in ("broker", "dag_storage", "log_store")},
    }
    secrets = {secret["name"]: "p/w" for secret in planned["secrets"]}
    model = {each["name"]: each for each in components.model(planned, endpoints)}
    scheduler = credentials.values(model["scheduler"], endpoints, secrets)
    assert scheduler["sql_alchemy_conn"] == "postgresql+psycopg2://airflow:p%2Fw@db.example.com:5433/metadata"
    assert scheduler["result_backend"] == "db+postgresql+psycopg2://airflow_results:p%2Fw@db.example.com:5433/metadata"
    assert "airflow_results" in model["setup"]["command"]
    kinds = {secret["name"]: secret["kind"] for secret in planned["secrets"]}
    assert (kinds["database"], kinds["database_results"]) == ("given", "given")
    assert "db.example.com:5433/metadata" in explain.text(planned)


def test_no_host_of_the_inventory_is_asked_for_its_port(variables: Variables, inventory: Inventory) -> None:
    """Whoever provides it, also where an address of the inventory is written the same."""
    place = without_database(Inventory(inventory.groups, {**inventory.addresses, "control1": "db.example.com"}))
    ports = [port["port"] for port in demands.of("control1", made({**variables, **EXTERNAL}, place))["ports"]]
    assert 5433 not in ports


def test_the_results_have_the_role_that_is_said(variables: Variables, inventory: Inventory) -> None:
    said = {**EXTERNAL, "airflow_database_results_user": "celery"}
    assert made({**variables, **said}, without_database(inventory))["database"]["results_user"] == "celery"


@pytest.mark.parametrize(
    ("given", "variable", "right"),
    [
        ({**EXTERNAL, "airflow_database_url": None}, "airflow_database_url", "the address of the database"),
        (
            {**EXTERNAL, "airflow_database_url": "postgresql://a:secret@b/c"},
            "airflow_database_url",
            "without a password",
        ),
        ({**EXTERNAL, "airflow_database_url": "mysql://a@b/c"}, "airflow_database_url", "postgresql://airflow@"),
        ({**EXTERNAL, "airflow_database_results_user": "airflow"}, "airflow_database_results_user", "another role"),
    ],
)
def test_what_an_external_database_needs(
    variables: Variables, inventory: Inventory, given: Variables, variable: str, right: str
) -> None:
    wrong = refused({**variables, **given}, without_database(inventory))
    assert list(wrong) == [variable]
    assert right in wrong[variable]


def test_an_external_database_has_no_host_and_another_one_no_address(
    variables: Variables, inventory: Inventory
) -> None:
    assert "provided elsewhere" in refused({**variables, **EXTERNAL}, inventory)["groups['airflow_database']"]
    url = {"airflow_database_url": EXTERNAL["airflow_database_url"], "airflow_database_results_user": "x"}
    assert set(refused({**variables, **url}, inventory)) == set(url)
