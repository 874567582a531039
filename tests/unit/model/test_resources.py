# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What components are promised and may take, from the description to the model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, plan, resources
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory


@pytest.fixture(name="planned")
def planned_platform(variables: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    made, _problems = plan.make(variables, inventory)
    assert made is not None
    return made


def wrong(variables: dict[str, Any], inventory: Inventory, table: Any) -> list[str]:
    _made, problems = plan.make({**variables, "airflow_resources": table}, inventory)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "number"), [("2", Decimal(2)), ("0.5", Decimal("0.5")), ("500m", Decimal("0.5")), ("1m", Decimal("0.001"))]
)
def test_cpus_are_counted_as_in_kubernetes(text: str, number: Decimal) -> None:
    assert resources.cpus(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("1024", 1024), ("1k", 1000), ("64Ki", 65536), ("2M", 2_000_000), ("1Gi", 2**30), ("1Ti", 2**40)],
)
def test_memory_is_counted_as_in_kubernetes(text: str, number: int) -> None:
    assert resources.octets(text) == number


def test_a_component_has_what_is_said_of_it_or_else_of_its_kind(
    variables: dict[str, Any], inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    table = {
        "worker": {"requests": {"cpu": 1}, "limits": {"memory": "4Gi"}},
        "worker-ml": {"limits": {"memory": "16Gi", "cpu": "4"}},
        "setup": {"limits": {"memory": "1Gi"}},
    }
    made, problems = plan.make({**variables, "airflow_resources": table}, inventory)
    assert problems == []
    assert made is not None
    told = {each["name"]: each["resources"] for each in components.model(made, endpoints)}
    assert told["worker-etl"] == {"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}}
    assert told["worker-ml"] == {"limits": {"memory": "16Gi", "cpu": "4"}}
    assert told["setup"] == {"limits": {"memory": "1Gi"}}
    assert told["scheduler"] == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"wroker": {}}, "airflow_resources.wroker"),
        ({"worker": {"limits": {"memory": "4 GB"}}}, "bytes, such as 512Mi or 4Gi"),
        ({"worker": {"limits": {"cpu": "many"}}}, "CPUs, such as 2, 0.5 or 500m (thousandths)"),
        ({"worker": {"most": {}}}, "airflow_resources.worker"),
        ({"worker": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}, "at most its limit, which is 1Gi"),
        ("much", "airflow_resources"),
    ],
)
def test_what_cannot_be_is_refused(variables: dict[str, Any], inventory: Inventory, table: Any, said: str) -> None:
    (problem,) = wrong(variables, inventory, table)
    assert said in problem


@pytest.mark.parametrize(
    ("parts", "completed"),
    [
        ({}, {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}),
        ({"requests": {"memory": "8Gi"}}, {"requests": {"cpu": "500m", "memory": "8Gi"}}),
        (
            {"limits": {"memory": "512Mi", "cpu": "0.1"}},
            {"requests": {"cpu": "0.1", "memory": "512Mi"}, "limits": {"memory": "512Mi", "cpu": "0.1"}},
        ),
    ],
)
def test_what_nobody_said_gives_way(parts: Any, completed: Any) -> None:
    assert resources.completed(parts, {"cpu": "500m", "memory": "1Gi"}, {"memory": "4Gi"}) == completed


@pytest.mark.parametrize(("provider", "wrong_names"), [("persistent_volume", []), ("directory", ["publisher"])])
def test_in_a_cluster_more_than_components_runs(
    variables: dict[str, Any], provider: str, wrong_names: list[str]
) -> None:
    table = {"gate": {"limits": {"memory": "8Gi"}}, "publisher": {}}
    described = {
        **variables,
        "airflow_platform": "kubernetes",
        "airflow_api_url": "https://airflow.example.com",
        "airflow_dag_storage_provider": provider,
        "airflow_database_provider": "kubernetes",
        "airflow_broker_provider": "external",
        "airflow_broker_url": "amqp://mq.example.com:5672/airflow",
        "airflow_broker_users": {"core": "airflow", "etl": "etl", "ml": "ml"},
        "airflow_resources": table,
    }
    _made, problems = plan.make(described, Inventory({"airflow_publisher": ["publisher1"]}))
    assert [problem.variable for problem in problems] == [f"airflow_resources.{name}" for name in wrong_names]


def test_a_slip_of_the_pen_is_told_with_what_was_meant(variables: dict[str, Any], inventory: Inventory) -> None:
    (problem,) = wrong(variables, inventory, {"wroker": {}})
    assert "did you mean worker?" in problem
