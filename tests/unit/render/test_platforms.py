# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a component is told it has, on every platform. docs/platforms.md says how each of them gives it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.tests.unit.render.lost import lost
from ansible_collections.airstack.backbone.tests.unit.render.mutations import ELSEWHERE, MUTATIONS, NAMED
from ansible_collections.airstack.backbone.tests.unit.render.renderings import READERS, rendered, seen

SERVICES = {"airflow_database": ["backbone1"], "airflow_broker": ["backbone1"], "airflow_object_store": ["objects1"]}
OUTSIDE = {"airflow_database": ["backbone1"]}
CLUSTER = {**SERVICES, "airflow_broker": ["broker1", "broker2", "broker3"]}

TLS = {
    "airflow_broker_tls": True,
    "airflow_broker_tls_certificate": "/pki/broker.pem",
    "airflow_broker_tls_ca": "/pki/ca.pem",
}
TEAMS = {
    "airflow_multi_team": True,
    "airflow_team_users": [
        {"name": "alice", "role": "op", "teams": ["etl"]},
        {"name": "bob", "teams": ["etl", "machines"]},
    ],
    "airflow_worker_pools": [
        {"name": "etl", "queues": ["etl", "etl_highmem"]},
        {"name": "ml", "queues": ["ml"], "team": "machines"},
    ],
}
MANY = {
    "airflow_dag_sources": [
        {"name": "sales", "path": "/dags/sales", "queues": ["short", "long"]},
        {
            "name": "crm_data",
            "repository": "https://git.example.com/crm.git",
            "version": "main",
            "view_url": "https://git.example.com/crm/{commit}",
            "queues": ["short"],
        },
        {"name": "models", "path": "/dags/models", "queues": ["gpu"]},
        {"name": "others", "path": "/dags/others"},
    ],
    "airflow_worker_pools": [
        {"name": "short", "queues": ["short"], "concurrency": 32},
        {"name": "long_tasks", "queues": ["long"], "concurrency": 2},
        {"name": "gpu", "queues": ["gpu"]},
        {"name": "others_", "queues": ["rest", "rest2"]},
    ],
    "airflow_default_pool": "others_",
    "airflow_longest_task": "90m",
}
SQS = {"airflow_broker_provider": "sqs", "airflow_broker_account": "123456789012"}
SETTINGS = {
    "airflow_settings": {
        "core": {"parallelism": "64", "hostname_callable": "airflow.utils.net.getfqdn"},
        "logging": {"log_timestamp_format": '%Y-%m-%d "%H:%M" $HOME $(x) \\ ${y}'},
        "smtp": {"smtp_host": "mail.example.com"},
    }
}

RESOURCES = {
    "airflow_resources": {
        "worker": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4G"}},
        "worker-etl": {"requests": {"memory": "3Gi"}, "limits": {"cpu": "1.5", "memory": "6Gi"}},
        "scheduler": {"limits": {"cpu": 2}},
        "setup": {"requests": {"cpu": "0.1"}},
    }
}

DESCRIPTIONS: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "two pools": ({}, SERVICES),
    "resources": (RESOURCES, SERVICES),
    "settings of the user's": (SETTINGS, SERVICES),
    "sources that share queues": (MANY, SERVICES),
    "teams with users": (TEAMS, SERVICES),
    "a cluster of RabbitMQ with TLS": ({**TLS, **MANY}, CLUSTER),
    "Redis": ({"airflow_broker_provider": "redis"}, SERVICES),
    "Redis with Sentinels, TLS and teams": ({"airflow_broker_provider": "redis", **TLS, **TEAMS}, CLUSTER),
    "SQS with roles of machines": ({**SQS, "airflow_longest_task": "4h"}, OUTSIDE),
    "SQS with keys and teams": (
        {
            **SQS,
            **TEAMS,
            "airflow_broker_users": {"core": "AKIACORE", "etl": "AKIAETL"},
            "airflow_log_store_access_keys": {"core": "AKIALOGS", "ml": "AKIALOGSML"},
        },
        OUTSIDE,
    ),
    "a broker of somebody else's": (
        {
            "airflow_broker_provider": "external",
            "airflow_broker_url": "amqps://airflow@broker.example.com/airflow",
            "airflow_broker_users": {"ml": "airflow-ml"},
        },
        {**SERVICES, "airflow_broker": []},
    ),
}


@pytest.mark.parametrize("platform", READERS)
@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_nothing_of_the_model_is_lost(platform: str, description: str, variables: dict[str, Any]) -> None:
    told, groups = DESCRIPTIONS[description]
    made = rendered(platform, {**variables, **told}, groups)
    assert lost(platform, made, seen(platform, made)) == []


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True).filter(lambda name: name != "core")
BROKERS: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
    ({}, SERVICES),
    (TLS, CLUSTER),
    ({"airflow_broker_provider": "redis"}, CLUSTER),
    (SQS, {**SERVICES, "airflow_broker": []}),
]


@st.composite
def descriptions(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Pools and sources that go together somehow, one of the brokers, teams or not."""
    broker, groups = draw(st.sampled_from(BROKERS))
    has_teams = draw(st.booleans())
    pools = [
        {
            "name": name,
            "queues": [f"q{at}_{queue}" for queue in range(draw(st.integers(1, 3)))],
            **({"team": f"team_{at}"} if has_teams else {}),
        }
        for at, name in enumerate(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    ]
    sources = []
    for at, name in enumerate(draw(st.lists(NAMES, min_size=len(pools), max_size=6, unique=True))):
        others = [] if has_teams else draw(st.lists(st.sampled_from(pools), max_size=2))
        queues = [draw(st.sampled_from(pool["queues"])) for pool in (pools[at % len(pools)], *others)]
        sources.append({"name": name, "path": f"/dags/{name}", "queues": list(dict.fromkeys(queues))})
    told = {
        **broker,
        "airflow_longest_task": draw(st.sampled_from(["20m", "8h"])),
        "airflow_dag_sources": sources,
        "airflow_worker_pools": pools,
        "airflow_multi_team": has_teams,
    }
    return told, groups


@pytest.mark.parametrize("platform", READERS)
@given(described=descriptions())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_of_any_model_is_lost(
    platform: str, described: tuple[dict[str, Any], dict[str, list[str]]], variables: dict[str, Any]
) -> None:
    told, groups = described
    made = rendered(platform, {**variables, **told}, groups)
    assert lost(platform, made, seen(platform, made)) == []


CHANGES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}),
    "a setting": ({"airflow_settings": {"core": {"parallelism": "64"}}}, {}),
    "the longest task": ({"airflow_longest_task": "4h"}, {}),
    "the log store": ({"airflow_log_store_bucket": "another"}, {}),
    "the Fernet key": ({}, {"fernet_key": "another"}),
    "a pool's password of the broker": ({}, {"broker_etl": "another"}),
    "the password of the results": ({}, {"database_results": "another"}),
}


@pytest.mark.parametrize("platform", READERS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_starts_anew_who_reads_it_and_nobody_else(
    platform: str, change: str, variables: dict[str, Any]
) -> None:
    told, secrets = CHANGES[change]
    before = rendered(platform, variables, SERVICES)
    after = rendered(platform, {**variables, **told}, SERVICES, secrets)
    old, new = seen(platform, before), seen(platform, after)
    wanted = [
        each["name"]
        for each, was in zip(after.model, before.model)
        if (each, after.values[each["name"]]) != (was, before.values[each["name"]])
    ]
    anew = [name for name, running in new.items() if [at.version for at in running] != [at.version for at in old[name]]]
    assert sorted(anew) == sorted(wanted)


LOSSES = [(platform, loss) for platform, mutations in MUTATIONS.items() for loss in mutations]


@pytest.mark.parametrize(("platform", "loss"), LOSSES)
def test_what_a_rendering_loses_is_named(platform: str, loss: str, variables: dict[str, Any]) -> None:
    whole = rendered(platform, {**variables, **RESOURCES}, SERVICES)
    made = deepcopy(whole.made)
    MUTATIONS[platform][loss](made)
    found = lost(platform, whole, seen(platform, replace(whole, made=made)))
    assert [problem for problem in found if problem.startswith(NAMED[loss])], found


def test_every_loss_is_tried_on_every_platform() -> None:
    for platform, mutations in MUTATIONS.items():
        assert {*mutations, *ELSEWHERE.get(platform, ())} == set(NAMED)
