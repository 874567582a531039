# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kombu's Redis transports, without the moments in which they lose a task when the connection breaks.

Kombu takes a message out of its queue first and notes it as unacknowledged then. When the note fails, as in a failover,
the message is nowhere. When an acknowledgement fails, the message comes back hours later, after the visibility timeout.
Here the process remembers both, and makes up for them as soon as it has a connection again.

What Redis refuses for a while only (no replica follows, the memory is full) counts as a broken connection, which Celery
tries again, and not as an error of the caller. A queue that the user may not read any more, because another pool gets it, is
left out: Celery would end the worker, and with it the tasks of its other queues.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import Empty
from typing import Any, ClassVar

from celery.utils.log import get_logger
from kombu.transport import redis as kombu_redis
from kombu.transport.virtual import QoS as VirtualQoS
from redis import Connection, SSLConnection
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.sentinel import SentinelManagedConnection

NOT_NOW = (
    "NOREPLICAS",
    "UNBLOCKED",
    "MISCONF",
    "MASTERDOWN",
    "READONLY",
    "OOM",
    "command not allowed when used memory",
)
"""How the answers begin that another attempt may mend; redis-py leaves out the codes that it knows."""

BROKEN = (RedisError, OSError, AttributeError)
"""How a channel fails whose connection is gone; the last one, when Celery has taken its connection apart."""

PAUSE = 0.2
"""Seconds after such an answer: who asks again does so at once."""

DENIED_FOR = 10
"""Seconds until a queue that may not be read is asked again."""

logger = get_logger(__name__)

Owed = tuple[str, Mapping[str, Any] | None]
"""A delivery tag, and the message that goes back into its queue; None where it is acknowledged."""

_owed: deque[Owed] = deque()
_settling = threading.Lock()


def give_back(message: Any) -> None:
    """Let a message that was received go back into its queue with the next connection."""
    _owed.append((message.delivery_tag, message._raw))


class QoS(kombu_redis.QoS):
    """Which messages are held, where a failure is made up for.

    working_on: the delivery tags of the tasks that the process runs; None where it has ended to work, and gives all back.
    """

    working_on: ClassVar[Callable[[], set[str] | None]] = staticmethod(lambda: None)

    def append(self, message: Any, delivery_tag: str) -> None:
        try:
            super().append(message, delivery_tag)
        except BROKEN:
            give_back(message)
            raise

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Give back what the process has received and does not work on, when a connection ends.

        Kombu gives back what a task is working on, too, and it runs a second time meanwhile.
        """
        held = type(self).working_on()
        if held is None:
            super().restore_unacked_once(stderr)
            return
        self._flush()
        for tag, message in list(self._delivered.items()):
            if tag not in held:
                give_back(message)
                del self._delivered[tag]

    def restore_by_tag(self, tag: str, *arguments: Any, **options: Any) -> None:
        """Put an overdue message back; one whose queue the user has lost does not keep the others from it."""
        try:
            super().restore_by_tag(tag, *arguments, **options)
        except NoPermissionError as refusal:
            logger.warning("Not put back, as the others that are overdue are: message %s (%s)", tag, refusal)

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except BROKEN:
            _owed.append((delivery_tag, None))
            VirtualQoS.ack(self, delivery_tag)


class _Settling:
    """A channel that makes up for what failed, before it waits for the next message."""

    def _brpop_start(self, timeout: float | None = None) -> None:
        self.settle()
        super()._brpop_start(timeout)  # type: ignore[misc]

    def settle(self) -> None:
        """Do what is owed, the oldest first. What fails stays owed, unless this worker's user may not do it any more."""
        with _settling:
            while _owed:
                try:
                    self._settle(*_owed[0])
                except NoPermissionError as refusal:
                    logger.warning(
                        "Not given back, and among what is overdue later: message %s (%s)", _owed[0][0], refusal
                    )
                _owed.popleft()

    def _settle(self, tag: str, message: Mapping[str, Any] | None) -> None:
        channel: Any = self
        with channel.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.zrem(channel.unacked_index_key, tag).hdel(channel.unacked_key, tag)
            if message:
                place = message["properties"]["delivery_info"]
                channel._do_restore_message(message, place["exchange"], place["routing_key"], pipe)
            pipe.execute()


class _Sparing:
    """A channel that leaves out the queues which its user may not read, instead of failing for all of them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._denied: dict[str, float] = {}
        """Until when, of time.monotonic()."""
        super().__init__(*arguments, **options)

    def basic_consume(self, queue: str, *arguments: Any, **options: Any) -> Any:
        self._denied.pop(queue, None)
        return super().basic_consume(queue, *arguments, **options)  # type: ignore[misc]

    def _update_queue_cycle(self) -> None:
        channel: Any = self
        channel._queue_cycle.update([queue for queue in channel.active_queues if queue not in self._denied])

    def _brpop_start(self, timeout: float | None = None) -> None:
        over = [queue for queue, until in self._denied.items() if until <= time.monotonic()]
        for queue in over:
            del self._denied[queue]
        if over:
            self._update_queue_cycle()
        super()._brpop_start(timeout)  # type: ignore[misc]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except NoPermissionError as refusal:
            if not self._leave_out():
                logger.warning("Redis gives no task: %s", refusal)
                time.sleep(PAUSE)
            raise Empty from None

    def _leave_out(self) -> bool:
        """Whether there is a queue to leave out: it may be readable again by now, or something else be refused."""
        channel: Any = self
        denied = [queue for queue in channel.active_queues - set(self._denied) if not self._is_readable(queue)]
        for queue in denied:
            logger.warning("Not consuming from %s, which this worker's user may not read", queue)
            self._denied[queue] = time.monotonic() + DENIED_FOR
        self._update_queue_cycle()
        return bool(denied)

    def _is_readable(self, queue: str) -> bool:
        channel: Any = self
        try:
            with channel.conn_or_acquire() as client:
                client.llen(queue)
        except NoPermissionError:
            return False
        return True


class _Ending:
    """A channel that has ended says so as a lost connection does, which is tried again.

    Kombu's producer declares the queue first, which takes a new connection where the one of before is lost, and sends on
    the old one's channel then. Its AttributeError would be the task's end: the executor takes it as failed.
    """

    def _connparams(self, *arguments: Any, **options: Any) -> Any:
        channel: Any = self
        if channel.connection is None:
            raise LostConnection("This channel has ended with its connection")
        return super()._connparams(*arguments, **options)  # type: ignore[misc]


class _Trying:
    """A connection that breaks where Redis says that something does not go now."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except ResponseError as refusal:
            if str(refusal).startswith(NOT_NOW):
                time.sleep(PAUSE)
                raise LostConnection(str(refusal)) from refusal
            raise


class TryingConnection(_Trying, Connection):
    """Without encryption."""


class TryingSSLConnection(_Trying, SSLConnection):
    """With TLS."""


class TryingSentinelConnection(_Trying, SentinelManagedConnection):
    """To the master that the Sentinels name."""


class TryingSentinelSSLConnection(_Trying, SentinelManagedConnection, SSLConnection):
    """The same with TLS."""


class Channel(_Settling, _Sparing, _Ending, kombu_redis.Channel):
    """A channel of one Redis."""

    QoS = QoS
    connection_class = TryingConnection
    connection_class_ssl = TryingSSLConnection


class SentinelChannel(_Settling, _Sparing, _Ending, kombu_redis.SentinelChannel):
    """A channel of the Redis that the Sentinels name."""

    QoS = QoS
    connection_class = TryingSentinelConnection
    connection_class_ssl = TryingSentinelSSLConnection


class _Polling:
    """A transport that goes on to poll when one of its connections ends.

    Kombu 5.6.2 stops to poll all of them, and when the ended one comes back by itself the worker lives on, answers, and
    takes no task any more (mended in kombu's pull request 2492).
    """

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        super().register_with_event_loop(connection, loop)  # type: ignore[misc]

        def forget(ended: Any) -> None:
            if ended._sock:
                loop.remove(ended._sock)

        self.cycle._on_connection_disconnect = forget  # type: ignore[attr-defined]


class Transport(_Polling, kombu_redis.Transport):
    """One Redis."""

    Channel = Channel
    # Without these kombu gives up sending when a second attempt fails on a connection that stands.
    recoverable_connection_errors = kombu_redis.Transport.connection_errors
    recoverable_channel_errors = ()


class SentinelTransport(_Polling, kombu_redis.SentinelTransport):
    """The Redis that the Sentinels name."""

    Channel = SentinelChannel
    recoverable_connection_errors = kombu_redis.SentinelTransport.connection_errors
    recoverable_channel_errors = ()
