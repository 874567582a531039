# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remote control from where it is not allowed: a pool's user of Redis commands no worker, not even with a question."""

from __future__ import annotations

from typing import Any

from celery.app import control

REDIS_CONSUMER = "airflow_backbone.redis_consumer:RedisPoolConsumer"


class Inspect(control.Inspect):
    """Celery's questions to all workers; those of a pool on Redis get no answer, instead of an error of Redis.

    A worker of Airflow asks at its start who has its name already (apache-airflow-providers-celery, celery_command.py).
    """

    def _request(self, command: str, **arguments: Any) -> Any:
        if self.app.conf.worker_consumer == REDIS_CONSUMER:
            return None
        return super()._request(command, **arguments)


def install() -> None:
    """Have every application of this process ask so."""
    control.Inspect = Inspect
