# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery worker's consumer for the wall between pools.

A pool's broker user may make nothing that other pools share. The broker holds the queues, the exchange for answers to
the scheduler, and the binding through which the scheduler's commands reach the pool's control exchange. Celery would
declare them all once more, for which its user would need the right to remove them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from celery import Celery
from celery.app.control import Control
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from kombu import Queue
from kombu.pidbox import Mailbox

logger = get_logger(__name__)


class AnsweringMailbox(Mailbox):
    """A mailbox that answers into an exchange that stands already."""

    def _publish_reply(
        self,
        reply: Any,
        exchange: str,
        routing_key: str,
        ticket: str,
        channel: Any = None,
        producer: Any = None,
        **options: Any,
    ) -> None:
        with self.producer_or_acquire(producer, channel or self.connection.default_channel) as publisher:
            publisher.publish(
                reply,
                exchange=exchange,
                routing_key=routing_key,
                headers={"ticket": ticket, "clock": self.clock.forward()},
                delivery_mode="transient",
                retry=True,
                **options,
            )


class PoolControl(Control):
    """Remote control with such a mailbox."""

    Mailbox = AnsweringMailbox


class PoolConsumer(Consumer):
    """Celery's consumer, except that it declares no queue, has no delayed delivery, and keeps the queues that it was told.

    Celery forgets that a queue was taken away and given back when it has to connect to the broker again. Delayed delivery
    declares 28 queues and exchanges that all workers share, for ``eta`` and ``countdown``, which Airflow never uses.
    """

    class Blueprint(Consumer.Blueprint):
        default_steps: ClassVar[list[object]] = [
            step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")
        ]

    def __init__(self, *args: Any, app: Celery, **options: Any) -> None:
        app.control = PoolControl(app)
        for queue in app.amqp.queues.values():
            queue.no_declare = True
        super().__init__(*args, app=app, **options)

    def add_task_queue(self, queue: str, *args: Any, **options: Any) -> None:
        """Consume from one more queue, as the remote control command add_consumer asks, if the broker allows it.

        Celery has answered the command by now, and a refusal on the worker's own channel would end the worker.
        """
        wanted = self._standing(queue)
        try:
            self._look(wanted)
        except self.connection.channel_errors as refusal:
            logger.warning("Not consuming from %s: %s", queue, refusal)
            return
        self.app.amqp.queues.select_add(wanted)
        super().add_task_queue(queue, *args, **options)

    def _standing(self, name: str) -> Queue:
        """A queue that stands already."""
        return Queue(name, routing_key=name, queue_arguments={"x-queue-type": "quorum"}, no_declare=True)

    def _look(self, queue: Queue) -> None:
        """Do what the broker refuses to those who may not consume from the queue."""
        with self.connection.channel() as channel:
            queue(channel).get()
