# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""In which order the hosts of a platform start and restart what they run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._render import rollout
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.components import component_steps

COMPONENTS = [
    {"name": "api-server", "kind": "api-server", "hosts": ["c1", "c2"]},
    {"name": "scheduler", "kind": "scheduler", "hosts": ["c1", "c2"]},
    {"name": "dag-processor", "kind": "dag-processor", "hosts": ["c1"]},
    {"name": "triggerer", "kind": "triggerer", "hosts": ["c1"]},
    {"name": "worker-etl", "kind": "worker", "hosts": ["w1", "w2"]},
    {"name": "worker-ml", "kind": "worker", "hosts": ["w3"]},
]
HOSTS = ("c1", "c2", "w1", "w2", "w3")
CENTRAL_1 = ("api-server", "scheduler", "dag-processor", "triggerer")


def conditions(condition: str, *hosts: str) -> dict[str, dict[str, str]]:
    """Everything current, but for the given hosts."""
    return {
        host: {each["name"]: condition if host in hosts else "current" for each in COMPONENTS if host in each["hosts"]}
        for host in HOSTS
    }


def taken(steps: list[dict[str, Any]]) -> list[tuple[str, dict[str, list[str]]]]:
    return [(step["state"], step["components"]) for step in steps]


def test_nothing_to_do_takes_no_step() -> None:
    assert rollout.steps(COMPONENTS, conditions("current")) == []


def test_a_fresh_platform_starts_all_at_once() -> None:
    (step,) = rollout.steps(COMPONENTS, conditions("down", *HOSTS))
    assert step["state"] == "started"
    assert step["components"] == {
        "c1": list(CENTRAL_1),
        "c2": ["api-server", "scheduler"],
        "w1": ["worker-etl"],
        "w2": ["worker-etl"],
        "w3": ["worker-ml"],
    }


def test_a_new_core_restarts_one_host_of_a_component_after_the_other() -> None:
    steps = rollout.steps(COMPONENTS, conditions("stale", *HOSTS))
    assert taken(steps) == [
        ("restarted", {"c1": ["api-server"]}),
        ("restarted", {"c2": ["api-server"]}),
        ("restarted", {"c1": ["scheduler", "dag-processor", "triggerer"]}),
        ("restarted", {"c2": ["scheduler"]}),
        ("restarted", {"w1": ["worker-etl"], "w3": ["worker-ml"]}),
        ("restarted", {"w2": ["worker-etl"]}),
    ]


def test_the_second_worker_of_a_pool_waits_for_the_first_alone() -> None:
    last = rollout.steps(COMPONENTS, conditions("stale", *HOSTS))[-1]
    assert last["after"] == {"w2": ["w1"]}


def test_what_is_down_starts_before_anything_restarts() -> None:
    mixed = {**conditions("stale", "c1"), "c2": {"api-server": "down", "scheduler": "current"}}
    assert [step["components"] for step in rollout.steps(COMPONENTS, mixed)] == [
        {"c2": ["api-server"]},
        {"c1": ["api-server"]},
        {"c1": ["scheduler", "dag-processor", "triggerer"]},
    ]


def test_hosts_outside_the_run_take_no_step() -> None:
    limited = {host: each for host, each in conditions("stale", *HOSTS).items() if host == "w2"}
    assert taken(rollout.steps(COMPONENTS, limited)) == [("restarted", {"w2": ["worker-etl"]})]


def test_titles_stay_short() -> None:
    pools = [{"name": f"worker-p{at}", "kind": "worker", "hosts": [f"w{at}"]} for at in range(200)]
    seen = {f"w{at}": {f"worker-p{at}": "down"} for at in range(200)}
    assert [step["title"] for step in rollout.steps(pools, seen)] == ["Start 200 components on 200 hosts"]


@given(st.fixed_dictionaries({host: st.sampled_from(["down", "stale", "current"]) for host in HOSTS}))
def test_every_unit_is_taken_once_and_no_component_twice_at_a_time(chosen: dict[str, str]) -> None:
    states = {host: {each["name"]: chosen[host] for each in COMPONENTS if host in each["hosts"]} for host in HOSTS}
    steps = rollout.steps(COMPONENTS, states)
    done = [(host, name) for step in steps for host, names in step["components"].items() for name in names]
    assert sorted(done) == sorted(
        (host, name) for host, own in states.items() for name, state in own.items() if state != "current"
    )
    for step in (each for each in steps if each["state"] == "restarted"):
        names = [name for own in step["components"].values() for name in own]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("seen", "changed", "expected"),
    [
        ("current", [], []),
        ("current", ["airflow-scheduler.service", "daemon-reload"], ["restarted"]),
        ("stale", [], ["restarted"]),
        ("down", ["airflow-scheduler.service"], ["started"]),
    ],
)
def test_what_was_seen_and_what_changes_now_decide(
    planned: dict[str, Any], seen: str, changed: list[str], expected: list[str]
) -> None:
    units = {"airflow-scheduler.service": {"condition": seen}, "airflow.target": {"condition": "down"}}
    steps = component_steps(planned, {"control1": units}, {"control1": changed})
    assert [step["state"] for step in steps] == expected
