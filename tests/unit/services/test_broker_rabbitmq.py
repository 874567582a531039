# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RabbitMQ's definitions: what the patterns allow. tests/integration/test_broker_wall.py asks RabbitMQ itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._services import rabbitmq

SECRETS = {"broker": "of the scheduler", "broker_etl": "of etl", "broker_ml": "of ml", "database": "of somebody else"}


def pool(name: str, *queues: str) -> dict[str, Any]:
    return {"name": name, "user": f"airflow-local-{name}", "secret": f"broker_{name}", "queues": list(queues)}


def broker(*pools: dict[str, Any]) -> dict[str, Any]:
    queues = [queue for each in pools for queue in each["queues"]]
    return {"vhost": "airflow-local", "user": "airflow-local", "queues": queues, "pools": list(pools)}


BROKER = broker(pool("etl", "etl", "etl_highmem"), pool("ml", "ml"))


def permission(service: dict[str, Any], user: str) -> dict[str, str]:
    return next(each for each in rabbitmq.topology(service)["permissions"] if each["user"] == user)


def allows(pattern: str, name: str) -> bool:
    """As RabbitMQ asks: the pattern is searched for in the name."""
    return re.search(pattern, name) is not None


def test_hash_is_the_one_of_rabbitmqs_documentation() -> None:
    documented = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert rabbitmq.salted_hash("test12", bytes.fromhex("908dc60a")) == documented


def test_hash_is_the_same_each_time_and_another_for_each_user_and_password() -> None:
    made = [rabbitmq.password_hash(user, word) for user in ("a", "b") for word in ("one", "two", "one")]
    assert made[0] == made[2]
    assert len(set(made)) == 4


def test_each_user_has_its_own_password() -> None:
    made = rabbitmq.users(BROKER, SECRETS)["users"]
    assert {each["name"]: each["password_hash"] for each in made} == {
        "airflow-local": rabbitmq.password_hash("airflow-local", "of the scheduler"),
        "airflow-local-etl": rabbitmq.password_hash("airflow-local-etl", "of etl"),
        "airflow-local-ml": rabbitmq.password_hash("airflow-local-ml", "of ml"),
    }


def test_a_missing_password_is_an_error() -> None:
    with pytest.raises(KeyError):
        rabbitmq.users(BROKER, {"broker": "x"})


def test_definitions_hold_no_password() -> None:
    text = json.dumps([rabbitmq.users(BROKER, SECRETS), rabbitmq.topology(BROKER)])
    assert not [word for word in SECRETS.values() if word in text]


def test_no_user_is_an_administrator() -> None:
    assert {tuple(each["tags"]) for each in rabbitmq.users(BROKER, SECRETS)["users"]} == {(rabbitmq.OWNER,)}


OWN = [
    "celery-etl.pidbox",
    "reply.celery-etl.pidbox",
    "etl@worker-etl1.celery-etl.pidbox",
    "5dc41cf2-0a6f-3f1e-9d3c-0b8e3f2f0a61.reply.celery-etl.pidbox",
    "celeryev-etl",
    "celeryev-etl.5dc41cf2",
]
OTHERS = [name.replace("etl", "ml") for name in OWN]
SHARED = ["celery.pidbox", "celery@control1.celery.pidbox", "x.reply.celery.pidbox", "celeryev", "celeryev.5dc41cf2"]
FOREIGN = ["ml", "", "amq.default", "amq.direct", "amq.topic", "amq.rabbitmq.trace", "etlx", "xetl", "etl.x"]
FOREIGN += ["celery", "celery_delayed_27", "celery_delayed_delivery", "celery-etl.pidbox.x", "xcelery-etl.pidbox"]
FOREIGN += ["celery-etlxpidbox", "celeryev-etlx", "xceleryev-etl", "celery-etl2.pidbox"]


@pytest.mark.parametrize("name", OTHERS + SHARED + FOREIGN)
def test_a_pool_has_no_right_to_what_is_not_its_own(name: str) -> None:
    allowed = permission(BROKER, "airflow-local-etl")
    assert not [right for right in ("configure", "write", "read") if allows(allowed[right], name)]


@pytest.mark.parametrize("name", OWN)
def test_a_pool_has_every_right_to_its_own(name: str) -> None:
    allowed = permission(BROKER, "airflow-local-etl")
    assert all(allows(allowed[right], name) for right in ("configure", "write", "read"))


def test_a_pool_only_reads_its_queues_and_only_writes_answers() -> None:
    allowed = permission(BROKER, "airflow-local-etl")
    queues = ["etl", "etl_highmem"]
    assert [name for name in [*queues, rabbitmq.REPLIES] if allows(allowed["read"], name)] == queues
    assert [name for name in [*queues, rabbitmq.REPLIES] if allows(allowed["write"], name)] == [rabbitmq.REPLIES]
    assert not [name for name in [*queues, rabbitmq.REPLIES] if allows(allowed["configure"], name)]


@pytest.mark.parametrize("name", ["etl", "etl_highmem", "ml", rabbitmq.CONTROL, rabbitmq.REPLIES, *SHARED])
def test_the_scheduler_has_every_right_to_the_platforms_own(name: str) -> None:
    allowed = permission(BROKER, "airflow-local")
    assert all(allows(allowed[right], name) for right in ("configure", "write", "read"))


def test_the_scheduler_alone_reaches_queues_by_name() -> None:
    writers = [
        each["user"] for each in rabbitmq.topology(BROKER)["permissions"] if allows(each["write"], "amq.default")
    ]
    assert writers == ["airflow-local"]


names = st.from_regex(r"\A[a-z][a-z0-9_]{0,31}\Z")
queue_names = st.from_regex(r"\A(?!celery)[A-Za-z0-9][A-Za-z0-9_-]{0,79}\Z")


@given(names, names, queue_names)
def test_no_names_make_a_hole(mine: str, other: str, queue: str) -> None:
    if mine == other or queue == "shared":
        return
    allowed = permission(broker(pool(mine, "shared"), pool(other, queue)), f"airflow-local-{mine}")
    for right in ("configure", "write", "read"):
        assert not allows(allowed[right], queue)
        assert not allows(allowed[right], rabbitmq.control_exchange(other))
        assert not allows(allowed[right], f"{other}@host.{rabbitmq.control_exchange(other)}")
        assert not allows(allowed[right], rabbitmq.event_exchange(other))
        assert not allows(allowed[right], f"{rabbitmq.event_exchange(other)}.x")
        assert not allows(allowed[right], rabbitmq.CONTROL)


def test_queues_are_quorum_queues_with_celerys_own_arguments() -> None:
    queues = rabbitmq.topology(BROKER)["queues"]
    assert [each["name"] for each in queues] == ["etl", "etl_highmem", "ml"]
    assert all(each["arguments"] == {"x-queue-type": "quorum"} and each["durable"] for each in queues)


def test_the_schedulers_commands_reach_each_pool_and_each_pools_events_reach_the_scheduler() -> None:
    bound = {(each["source"], each["destination"]) for each in rabbitmq.topology(BROKER)["bindings"]}
    assert bound == {
        ("celery.pidbox", "celery-etl.pidbox"),
        ("celery.pidbox", "celery-ml.pidbox"),
        ("celeryev-etl", "celeryev"),
        ("celeryev-ml", "celeryev"),
    }


def test_exchanges_are_as_celery_declares_them() -> None:
    """A declaration with another type or durability would be refused, whoever makes it."""
    kinds = {each["name"]: (each["type"], each["durable"]) for each in rabbitmq.topology(BROKER)["exchanges"]}
    assert kinds == {
        "celery.pidbox": ("fanout", False),
        "celery-etl.pidbox": ("fanout", False),
        "celery-ml.pidbox": ("fanout", False),
        "reply.celery.pidbox": ("direct", False),
        "celeryev": ("topic", True),
        "celeryev-etl": ("topic", True),
        "celeryev-ml": ("topic", True),
    }


def test_everything_stands_in_the_environments_virtual_host() -> None:
    made = rabbitmq.topology(BROKER)
    parts = [part for key in ("permissions", "queues", "exchanges", "bindings") for part in made[key]]
    assert {part["vhost"] for part in parts} == {"airflow-local"} == {each["name"] for each in made["vhosts"]}


def queue_on(name: str, *nodes: str, kind: str = "quorum") -> dict[str, Any]:
    return {"name": name, "type": kind, "members": [f"rabbit@{node}" for node in nodes]}


def clustered(*nodes: str) -> dict[str, Any]:
    return {**BROKER, "cluster": {"nodes": {node: f"rabbit@{node}" for node in nodes}, "copies": 3}}


@pytest.mark.parametrize(
    ("queues", "nodes", "missing"),
    [
        ([queue_on("etl", "a")], "abc", ["etl b", "etl c"]),
        ([queue_on("etl", "a", "b", "c")], "abc", []),
        ([queue_on("etl", "a", "b", "c", "d")], "abcde", []),
        ([queue_on("etl", "a", "b"), queue_on("ml", "a", "d")], "abcde", ["etl c", "ml e"]),
        # One copy is on a node that the plan has no more.
        ([queue_on("etl", "a", "b", "gone")], "abc", ["etl c"]),
        ([queue_on("etl", kind="classic"), queue_on("of-somebody-else", "a")], "abc", []),
    ],
)
def test_a_queue_gets_the_copies_that_it_lacks(queues: list[dict[str, Any]], nodes: str, missing: list[str]) -> None:
    found = rabbitmq.missing_copies(queues, clustered(*nodes))
    assert [f"{copy['queue']} {copy['node'].removeprefix('rabbit@')}" for copy in found] == missing


def test_pools_that_share_the_schedulers_user_may_do_all_that_it_may() -> None:
    """As on a broker of somebody else's, who gave one user."""
    shared = {**pool("etl", "etl"), "user": "airflow-local"}
    permissions = rabbitmq.topology(broker(shared, pool("ml", "ml")))["permissions"]
    assert [each["user"] for each in permissions] == ["airflow-local", "airflow-local-ml"]
    assert allows(permissions[0]["write"], "celery-etl.pidbox")
