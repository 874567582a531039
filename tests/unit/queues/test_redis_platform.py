# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queues that move between real workers of the platform's own Redis: behind its wall, with TLS, and through Sentinels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="needs Celery, which is not installed here")
pytest.importorskip("redis", reason="needs Redis' client, which is not installed here")
pytest.importorskip("cryptography", reason="TLS needs certificates, and what makes them is not installed")

from ansible_collections.airstack.backbone.plugins.module_utils._model import credentials
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority
from ansible_collections.airstack.backbone.tests.unit.services.redis_platform import (
    application,
    runs,
    three,
    workers_answer,
)
from ansible_collections.airstack.backbone.tests.unit.services.redis_servers import (
    SECRETS,
    Servers,
    client,
    one,
    wait_for,
)

pytestmark = needs.redis

KINDS = {"one": (False, False), "one-tls": (False, True), "sentinels": (True, False), "sentinels-tls": (True, True)}
"""Whether there are three, and whether they have TLS."""

WORKERS = ["etl@host1", "etl@host2"]
Module = Callable[..., dict[str, Any]]


@pytest.fixture(
    name="servers",
    scope="module",
    params=KINDS.values(),
    ids=KINDS.keys(),
)
def servers_with_workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    are_three, is_encrypted = request.param
    folder: Path = tmp_path_factory.mktemp("redis")
    authority = Authority(folder, "authority") if is_encrypted else None
    with three(folder, authority) if are_three else one(folder, authority) as servers:
        for number in (1, 2):
            servers.worker("etl", number)
        workers_answer(servers, application(servers, None), 2)
        yield servers


@pytest.fixture(name="asked")
def what_the_role_asks(servers: Servers) -> dict[str, Any]:
    """As airflow_components gives them."""
    planned = servers.planned
    sentinel, tls = planned["sentinel"], planned["tls"]
    return {
        "broker_url": credentials.broker_url(planned, planned["user"], SECRETS["broker"]),
        "expected_workers": WORKERS,
        "transport_options": {"master_name": sentinel["master_name"]} if sentinel else {},
        "tls": tls is not None,
        **({"ca_path": tls["ca"]} if tls else {}),
    }


def test_a_queue_moves_and_its_tasks_run(move: Module, look: Module, servers: Servers) -> None:
    """With the rights of the scheduler's user, of whom nothing is refused."""
    operators = [client(servers.planned, "operator", port) for port in ports(servers)]
    for operator in operators:
        operator.acl_log_reset()
    before = len(runs(servers))
    result = move({"etl@host1": ["etl"]})
    assert not result.get("failed"), result
    assert result["workers"]["etl@host1"] == {"before": ["etl", "etl_highmem"], "after": ["etl"]}
    assert result["uncovered"] == ["etl@host2"]
    application(servers, None).send_task("run", args=[1], queue="etl_highmem")
    wait_for(lambda: len(runs(servers)) == before + 1, "the task runs")
    assert look()["queues"]["etl_highmem"]["workers"] == ["etl@host2"]
    assert move({"etl@*": ["etl", "etl_highmem"]})["workers"]["etl@host1"]["after"] == ["etl", "etl_highmem"]
    time.sleep(1)
    refused = [entry["object"] for operator in operators for entry in operator.acl_log()]
    assert [name for name in refused if name != "client|setinfo"] == []


def ports(servers: Servers) -> list[int]:
    return [int(name.rpartition("-")[2]) for name in servers.running if name.startswith("server-")]


def test_a_queue_with_messages_is_not_left_alone(move: Module, servers: Servers, tmp_path: Path) -> None:
    scheduler = application(servers, None)
    before = len(runs(servers))
    looked_at = tmp_path / "looked at"
    for number in range(20):
        scheduler.send_task("run", args=[number, 0, str(looked_at)], queue="etl_highmem")
    refused = move({"etl@*": ["etl"]})
    looked_at.touch()
    assert refused["failed"]
    assert "etl_highmem holds " in refused["msg"]
    wait_for(lambda: len(runs(servers)) == before + 20, "the tasks run")


def test_a_wrong_password_is_told_without_it(move: Module, asked: dict[str, Any]) -> None:
    result = move({"etl@*": ["etl"]}, broker_url=asked["broker_url"].replace("of%20the%20scheduler", "wr0ng"))
    assert result["failed"]
    assert "See that the user exists there with this password" in result["msg"], result
    assert "wr0ng" not in result["msg"]


@pytest.mark.parametrize("servers", [KINDS["one-tls"], KINDS["sentinels-tls"]], ids=["one", "sentinels"], indirect=True)
def test_another_authoritys_certificate_is_refused(move: Module, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    result = move({"etl@*": ["etl"]}, ca_path=str(stranger.ca))
    assert result["failed"]
    assert "certificate verify failed" in result["msg"], result
    assert "See that ca_path has the authority" in result["msg"]
