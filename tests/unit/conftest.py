# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A platform of two teams, as the local inventory describes it, and the endpoints of its services."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

WAITING = ("swarm", "services", "queues")
"""Folders whose tests wait more than they compute, for servers that start, fail over and time out; what waits longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that wait come first, so that others run beside them and none is left to be waited for at the end."""
    items.sort(
        key=lambda item: WAITING.index(item.path.parent.name) if item.path.parent.name in WAITING else len(WAITING)
    )


@pytest.fixture(autouse=True)
def transports_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """kombu keeps for the process which transport each scheme has, and the core's package gives some one of its own."""
    transport = sys.modules.get("kombu.transport")
    if transport is None:
        yield
        return
    aliases = dict(transport.TRANSPORT_ALIASES)
    monkeypatch.setattr(transport, "_transport_cache", {})
    yield
    transport.TRANSPORT_ALIASES.clear()
    transport.TRANSPORT_ALIASES.update(aliases)


@pytest.fixture
def variables() -> dict[str, Any]:
    return {
        "airflow_environment": "local",
        "airflow_longest_task": "8h",
        "airflow_dag_sources": [
            {"name": "etl", "path": "/dags/etl", "queues": ["etl", "etl_highmem"]},
            {"name": "ml", "path": "/dags/ml", "queues": ["ml"]},
        ],
        "airflow_worker_pools": [
            {"name": "etl", "queues": ["etl", "etl_highmem"], "concurrency": 4},
            {"name": "ml", "queues": ["ml"]},
        ],
    }


@pytest.fixture
def endpoints(planned: dict[str, Any]) -> dict[str, Any]:
    """What the roles of the services say of them, for the plan that a folder's own fixture `planned` makes."""
    return {
        "database": {
            **{key: planned["database"][key] for key in ("host", "port", "name", "user", "results_user")},
            "secret": "database",
            "results_secret": "database_results",
            "scheme": "postgresql+psycopg2",
        },
        "broker": {**planned["broker"], "scheme": "amqp", "secret": "broker"},
        "dag_storage": planned["dag_storage"],
        "log_store": planned["log_store"],
    }
