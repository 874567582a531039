"""No description, however broken, may end in a traceback."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model import description, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import report

WORDS = ["etl", "ml", "gpu", "", " ", "core", "celery", "default", "/", "/srv/dags", "../x", "8h", "0s", "9" * 30]
WORDS += [
    "é",
    "\u202e",
    "\0",
    "a\nb",
    "{{ x }}",
    "true",
    "etl" * 100,
    "🙂",
    "٣h",
    "git@h:x",
    "https://a:b@h/x",
    "https://[",
    "s3://abc/x",
]
NUMBERS = [0, 1, -1, 8080, 10**30, 3.3, float("nan"), float("inf"), True, False, None]
NESTS = [
    [],
    {},
    [[]],
    [{}],
    {"name": {}},
    {7: []},
    [None],
    ["etl", "etl"],
    ("etl",),
    {"etl": {"etl": []}},
    b"etl",
    object(),
]
BROKEN = st.one_of(st.sampled_from([*WORDS, *NUMBERS, *NESTS]), st.text(max_size=10))
KEYS = ["name", "path", "queues", "concurrency", "subdirectory", "exclude", "queue", "repository", "archive", "s3", 7]
KEYS += ["team", "teams", "role", "version", "credential", "username", "view_url", "sha256", "remote_src", "access_key"]
RECORD = st.dictionaries(st.sampled_from(KEYS), st.one_of(BROKEN, st.lists(BROKEN, max_size=2)), max_size=5)
VALUES = st.one_of(BROKEN, BROKEN, RECORD, st.lists(RECORD, max_size=2))
GROUPS = st.dictionaries(
    st.sampled_from(
        ["airflow_database", "airflow_broker", "airflow_control", "airflow_workers_etl", "airflow_workers_ml"]
    ),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=2),
)


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from([*description.VARIABLES, "airflow_versio", "other"]), VALUES, max_size=5), GROUPS
)
def test_whatever_is_described_is_planned_or_refused_in_words(variables: dict[str, Any], groups: Any) -> None:
    made, problems = plan.make(variables, Inventory(groups))
    assert (made is None) == bool(problems)
    assert report(problems)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, Any]:
    """A place in a good description, and something else for it."""
    places = [
        ("airflow_dag_sources", 0, "name"),
        ("airflow_dag_sources", 0, "path"),
        ("airflow_dag_sources", 0, "repository"),
        ("airflow_dag_sources", 0, "view_url"),
        ("airflow_dag_sources", 1, "credential"),
        ("airflow_dag_sources", 1, "queues"),
        ("airflow_worker_pools", 0, "queues"),
        ("airflow_worker_pools", 1, "concurrency"),
        ("airflow_worker_pools", 1, "name"),
    ]
    return draw(st.sampled_from(places)), draw(BROKEN)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(broken(), min_size=1, max_size=4))
def test_a_good_description_with_broken_places(
    variables: dict[str, Any], inventory: Inventory, breaks: list[tuple[Any, Any]]
) -> None:
    changed = copy.deepcopy(variables)
    for (variable, index, key), value in breaks:
        changed[variable][index][key] = value
    made, problems = plan.make(changed, inventory)
    assert (made is None) == bool(problems)
    assert all(problem.variable and problem.right for problem in problems)
