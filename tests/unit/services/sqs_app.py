# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Celery application on SQS as Airflow configures it from a plan, without Airflow.

``celery --app sqs_app worker``, with SQS_BROKER (see ``environment``) and SQS_RAN, a file to which each run of a task adds the
task's name.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery

BACKBONE = Path(__file__).parents[3] / "roles/airflow_core/files/airflow_backbone"


def transport_options(settings: dict[str, str]) -> dict[str, Any]:
    """As Airflow reads its section celery_broker_transport_options (default_celery._broker_transport_options)."""
    read: dict[str, Any] = {"True": True, "False": False}
    numbers = {key: int(value) for key, value in settings.items() if value.isdigit()}
    return {
        **{key: read.get(value, value) for key, value in settings.items()},
        **numbers,
        "predefined_queues": json.loads(settings["predefined_queues"]),
    }


def with_sqs(config: dict[str, Any]) -> dict[str, Any]:
    """airflow_backbone.celery_config.with_sqs; what its module imports from Airflow is replaced."""
    sys.path.insert(0, str(BACKBONE))
    for name in ("airflow", "airflow.providers", "airflow.providers.celery", "airflow.providers.celery.executors"):
        sys.modules.setdefault(name, ModuleType(name))
    for name in ("airflow.providers.common", "airflow.providers.common.compat"):
        sys.modules.setdefault(name, ModuleType(name))
    defaults = ModuleType("airflow.providers.celery.executors.default_celery")
    defaults.DEFAULT_CELERY_CONFIG = config  # type: ignore[attr-defined]
    sdk = ModuleType("airflow.providers.common.compat.sdk")
    sdk.conf = _NoConfiguration()  # type: ignore[attr-defined]
    sys.modules[defaults.__name__] = defaults
    sys.modules[sdk.__name__] = sdk
    from airflow_backbone import celery_config  # noqa: PLC0415

    return celery_config.of(config, None)


class _NoConfiguration:
    def get(self, _section: str, _key: str, fallback: object = None) -> object:
        return fallback


def application(url: str, settings: dict[str, str]) -> Celery:
    """With Celery's address of the broker, and the transport's options as they stand in airflow.cfg."""
    config = {
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": transport_options(settings),
        "broker_url": url,
        "task_acks_late": True,
        "task_default_exchange": "unassigned",
        "task_default_queue": "unassigned",
        "task_ignore_result": True,
        "worker_enable_remote_control": False,
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
    }
    made = Celery("sqs", set_as_current=False)
    made.conf.update({**with_sqs(config), "imports": []})

    @made.task(name="run")
    def run(name: str, seconds: float, until: str = "") -> None:
        with Path(os.environ["SQS_RAN"]).open("a", encoding="utf-8") as ran:
            ran.write(f"{name}\n")
        time.sleep(seconds)
        while until and not Path(until).exists():
            time.sleep(0.1)

    return made


if "SQS_BROKER" in os.environ:
    app = application(**json.loads(os.environ["SQS_BROKER"]))
