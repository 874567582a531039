# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery worker's consumer for a pool that has a control exchange of its own."""

from __future__ import annotations

from typing import ClassVar

from celery import bootsteps
from celery.app.defaults import NAMESPACES
from celery.worker.consumer import Consumer
from celery.worker.consumer.control import Control
from kombu import Exchange
from kombu.pidbox import Mailbox

CORE_CONTROL_EXCHANGE = Mailbox.exchange_fmt % NAMESPACES["control"]["exchange"].default
"""Where the scheduler, which keeps Celery's default, publishes remote control commands."""


class CoreControl(bootsteps.StartStopStep):
    """Binds the pool's control exchange to the scheduler's, so that a command from there reaches this pool too.

    Both exchanges are transient: they and their binding are gone after a restart of the broker, hence at each connect.
    """

    requires = (Control,)

    def include_if(self, c: Consumer) -> bool:
        return bool(c.app.conf.worker_enable_remote_control)

    def start(self, c: Consumer) -> None:
        core = Exchange(CORE_CONTROL_EXCHANGE, type="fanout", durable=False, delivery_mode="transient")
        with c.connection.channel() as channel:
            core(channel).declare()
            own = c.app.control.mailbox.exchange(channel)
            own.declare()
            own.bind_to(core)


class PoolConsumer(Consumer):
    """Celery's consumer with :class:`CoreControl` and without delayed delivery.

    Delayed delivery declares 28 queues and exchanges that all workers share, for ``eta`` and ``countdown``, which
    Airflow never uses; each pool's broker user would need rights to them all.
    """

    class Blueprint(Consumer.Blueprint):
        default_steps: ClassVar[list[object]] = [
            *(step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")),
            CoreControl,
        ]
