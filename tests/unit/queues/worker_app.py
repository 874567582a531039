# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery application of real workers under test, with the settings that the core gives to a pool's.

A worker is started as ``celery --app worker_app worker``; QUEUES_BROKER is the URL, QUEUES_POOL the pool, and QUEUES_RAN
the file to which each task writes its number. QUEUES_CA is the authority's file of a broker with TLS.
"""

from __future__ import annotations

import os
import ssl
import sys
import time
from pathlib import Path

from celery import Celery

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import wall_app


def application(url: str, pool: str | None, ca: str = "") -> Celery:
    """As the scheduler has it where no pool is named."""
    base = {
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {},
        "broker_url": url,
        **({"broker_use_ssl": {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": ca}} if ca else {}),
        "task_acks_late": True,
        "task_ignore_result": True,
        "task_default_exchange": "unassigned",
        "task_default_queue": "unassigned",
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
    }
    made = Celery("queues", set_as_current=False)
    made.conf.update(wall_app.celery_config().of(base, pool))

    @made.task(name="note")
    def note(number: int, seconds: float = 0, until: str = "") -> None:
        time.sleep(seconds)
        while until and not Path(until).exists():
            time.sleep(0.05)
        # Appended whole, whoever else does at the same time.
        written = os.open(os.environ["QUEUES_RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(written, f"{number}\n".encode())
        os.close(written)

    return made


if "QUEUES_BROKER" in os.environ:
    app = application(os.environ["QUEUES_BROKER"], os.environ["QUEUES_POOL"], os.environ["QUEUES_CA"])
