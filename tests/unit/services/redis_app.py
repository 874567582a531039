# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery application of the tests with a real Redis: as Airflow configures it, without Airflow.

REDIS_APP names a JSON file: url, pool (null for the scheduler), ca (the authority's file, or null without TLS), options of
the transport, and runs, to which each task appends a line when it begins.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import wall_app


def application(told: dict[str, Any], **settings: Any) -> Celery:
    base = {
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": told["options"],
        "broker_url": told["url"],
        **({"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": told["ca"]}} if told["ca"] else {}),
        "task_acks_late": True,
        "task_default_exchange": "unassigned",
        "task_default_queue": "unassigned",
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
    }
    made = Celery("redis", set_as_current=False)
    made.conf.update({**wall_app.celery_config().of(base, told["pool"]), **settings})

    @made.task(name="run")
    def run(number: int, seconds: float = 0, until: str = "") -> None:
        with Path(told["runs"]).open("a", encoding="utf-8") as runs:
            runs.write(f"{number} {told['pool']}\n")
        time.sleep(seconds)
        while until and not Path(until).exists():
            time.sleep(0.05)

    return made


if "REDIS_APP" in os.environ:
    app = application(json.loads(Path(os.environ["REDIS_APP"]).read_text(encoding="utf-8")))
