# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery worker's consumer for a pool whose broker is Redis."""

from __future__ import annotations

from typing import Any

from celery.worker import state
from kombu import Queue

from airflow_backbone import redis_transport
from airflow_backbone.celery_consumer import PoolConsumer


class RedisPoolConsumer(PoolConsumer):
    """Where queues are lists that come and go."""

    def __init__(self, *args: Any, **options: Any) -> None:
        redis_transport.QoS.working_on = staticmethod(_held)
        super().__init__(*args, **options)

    def _standing(self, name: str) -> Queue:
        return Queue(name, routing_key=name, no_declare=True)

    def _look(self, queue: Queue) -> None:
        """Count its messages."""
        with self.task_consumer.channel.conn_or_acquire() as client:
            client.llen(queue.name)


def _held() -> set[str] | None:
    """The delivery tags of the tasks that run; None once the worker has to stop."""
    if any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate)):
        return None
    return {request.message.delivery_tag for request in state.active_requests}
