# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery applications of test_broker_wall: as Airflow configures the scheduler's and each pool's, without Airflow.

A worker is started as ``WALL_POOL=etl celery --app wall_app worker``; AIRFLOW_PLAN and AIRFLOW_SECRETS name the plan and
the secrets.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from celery import Celery

BACKBONE = Path(__file__).parents[2] / "roles/airflow_core/files/airflow_backbone"


def celery_config() -> ModuleType:
    """airflow_backbone.celery_config; what it imports from Airflow is replaced where there is no Airflow."""
    sys.path.insert(0, str(BACKBONE))
    try:
        importlib.import_module("airflow.providers.celery")
    except ImportError:
        path = ""
        for part in ["airflow", "providers", "common", "compat", "sdk"]:
            path = f"{path}.{part}".strip(".")
            sys.modules[path] = ModuleType(path)
        path = "airflow.providers"
        for part in ["celery", "executors", "default_celery"]:
            path = f"{path}.{part}"
            sys.modules[path] = ModuleType(path)
        sys.modules[path].DEFAULT_CELERY_CONFIG = {"broker_url": "", "broker_transport_options": {}}  # type: ignore[attr-defined]
        sys.modules["airflow.providers.common.compat.sdk"].conf = _NoConfiguration()  # type: ignore[attr-defined]
    return importlib.import_module("airflow_backbone.celery_config")


class _NoConfiguration:
    def get(self, _section: str, _key: str, fallback: object = None) -> object:
        return fallback


def broker() -> dict[str, Any]:
    """The plan's broker."""
    plan: dict[str, Any] = json.loads(Path(os.environ["AIRFLOW_PLAN"]).read_text(encoding="utf-8"))
    return plan["broker"]


def url(pool: str | None) -> str:
    """The broker's address for a pool's user, or for the scheduler's."""
    service = broker()
    account = next((each for each in service["pools"] if each["name"] == pool), service)
    password = (
        (Path(os.environ["AIRFLOW_SECRETS"]) / account.get("secret", "broker")).read_text(encoding="utf-8").strip()
    )
    user = f"{account['user']}:{quote(password, safe='')}"
    nodes = [f"{node['address']}:{node['port']}" for node in service["nodes"]]
    return ";".join(f"amqp://{user}@{node}/{quote(service['vhost'], safe='')}" for node in nodes)


def application(pool: str | None, **settings: Any) -> Celery:
    """A Celery application with the settings that Airflow gives it on a worker of the pool, or on the scheduler."""
    module = celery_config()
    base = {
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {},
        "broker_url": url(pool),
        "result_backend": f"file://{os.environ.get('WALL_RESULTS', '')}",
        "task_acks_late": True,
        "task_default_exchange": "unassigned",
        "task_default_queue": "unassigned",
        "task_track_started": True,
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
    }
    made = Celery("wall", set_as_current=False)
    made.conf.update({**module.with_pool(module.with_failover(module.with_quorum_queues(base)), pool), **settings})

    @made.task(name="pool")
    def name_of_pool() -> str | None:
        return pool

    return made


if "WALL_POOL" in os.environ:
    app = application(os.environ["WALL_POOL"])
