# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The component model: what runs, without a word of the platform that runs it.

``model`` gives one plain dictionary for each component:

- name, kind (api-server, scheduler, dag-processor, triggerer, worker), pool (None but for workers), hosts
- command: the arguments of ``airflow``; ``{host}`` in one of them stands for the name of the machine or container
- settings: Airflow's configuration by section and key, without secrets
- secret_settings: the credential that holds the value, by "section.key"
- credentials: the names of all credentials (see credentials.values)
- environment: variables without secrets; environment_files: variables that hold the path of a file or credential
- files: further configuration files, content by name
- sources: the DAG sources that are mounted, read-only
- queues: what a worker consumes
- port: where it listens for the others, or None; health: how its own machine sees that it works
- stop_timeout: seconds that it may take to stop
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import log_store, settings

STOP_TIMEOUT = 60
"""Seconds; the slowest central component to stop is the triggerer, with 13 s measured."""

SCHEDULER_HEALTH_PORT = 8974
TRIGGERER_LOG_PORT = 8794
WORKER_LOG_PORT = 8793

READERS = ("dag-processor", "worker")
"""The kinds of component that read DAG files."""

CREDENTIALS: dict[str, tuple[str, ...]] = {
    "api-server": ("database.sql_alchemy_conn", "core.fernet_key", "api_auth.jwt_secret", "api.secret_key"),
    "scheduler": (
        "database.sql_alchemy_conn",
        "core.fernet_key",
        "api_auth.jwt_secret",
        "celery.broker_url",
        "celery.result_backend",
    ),
    "dag-processor": ("database.sql_alchemy_conn", "core.fernet_key"),
    "triggerer": ("database.sql_alchemy_conn", "core.fernet_key", "api.secret_key"),
    "worker": ("api.secret_key", "celery.broker_url", "celery.result_backend"),
}
"""The secret settings of each kind, and no others: a worker has neither the metadata database nor its keys."""

LOG_STORE_USERS = ("api-server", "triggerer", "worker")
"""The kinds of component that write or read the logs of tasks."""


def model(plan: Mapping[str, Any], endpoints: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every component of a platform.

    plan: as plan.make gives it. endpoints: database, broker, dag_storage and log_store, as the services' roles give them.
    """
    pools = {pool["name"]: pool for pool in plan["pools"]}
    return [_component(placed, pools.get(placed["pool"]), plan, endpoints) for placed in plan["components"]]


def _component(
    placed: Mapping[str, Any], pool: Mapping[str, Any] | None, plan: Mapping[str, Any], endpoints: Mapping[str, Any]
) -> dict[str, Any]:
    kind = placed["kind"]
    sources = pool["sources"] if pool else [source["name"] for source in plan["sources"]]
    secret_settings = {setting: setting.split(".")[1] for setting in CREDENTIALS[kind]}
    identity = log_store.identity(endpoints["log_store"], placed["pool"]) if kind in LOG_STORE_USERS else None
    component = {
        **placed,
        "command": _command(kind, pool),
        "settings": settings.of(kind, pool, plan, endpoints),
        "secret_settings": secret_settings,
        "credentials": list(secret_settings.values()),
        "environment": {},
        "environment_files": {},
        "files": {},
        "sources": sources if kind in READERS else [],
        "queues": pool["queues"] if pool else [],
        "port": _port(kind, plan),
        "health": _health(kind, plan),
        "stop_timeout": plan["timeouts"]["worker_stop"]["seconds"] if kind == "worker" else STOP_TIMEOUT,
    }
    return log_store.connect(component, endpoints["log_store"], identity) if kind in LOG_STORE_USERS else component


def _command(kind: str, pool: Mapping[str, Any] | None) -> list[str]:
    if pool is None:
        return [kind]
    queues = ",".join(pool["queues"])
    return [
        "celery",
        "worker",
        *("--queues", queues),
        *("--concurrency", str(pool["concurrency"])),
        *("--celery-hostname", f"{pool['name']}@{{host}}"),
        "--without-mingle",
        "--without-gossip",
    ]


def _port(kind: str, plan: Mapping[str, Any]) -> int | None:
    return {"api-server": plan["api"]["port"], "triggerer": TRIGGERER_LOG_PORT, "worker": WORKER_LOG_PORT}.get(kind)


def _health(kind: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """http: this answers 200. heartbeat: the API's monitor shows this component's heartbeat. port: something listens."""
    return {
        "api-server": {"type": "http", "port": plan["api"]["port"], "path": "/api/v2/version"},
        "scheduler": {"type": "http", "port": SCHEDULER_HEALTH_PORT, "path": "/health"},
        "dag-processor": {"type": "heartbeat", "component": "dag_processor"},
        "triggerer": {"type": "heartbeat", "component": "triggerer"},
        "worker": {"type": "port", "port": WORKER_LOG_PORT},
    }[kind]
