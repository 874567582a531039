# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Celery's way to SQS, for tasks that run for hours.

SQS counts the visibility timeout from the moment in which a worker takes a message. kombu takes as many as there are
free processes from each queue at the same time, so that a worker of two queues holds messages that wait for a process
while their time passes, and SQS delivers them a second time. Which queue is asked first, where processes are fewer, is
chance, and can be the same one each time. It also leaves its questions open when the worker stops: a message that
answers one of them is seen again by nobody until its timeout has passed. And where SQS refuses one question, kombu
never asks that queue again. Here a message is taken only when a process is free for it, queues have their turns, a
stopping worker waits for its questions and gives back what they bring, and a refused question is asked again.
"""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS
from vine import ensure_promise

logger = get_logger(__name__)

BRIEF_SECONDS = 2
"""How long a question waits where processes are fewer than queues: a queue is asked when another's question is answered."""

AGAIN_SECONDS = 5
"""Until a refused question is asked again."""


class PatientConnection(AsyncSQSConnection):
    """A connection to which a refusal is an answer: the empty list, as kombu takes a server's failure."""

    def _on_list_ready(self, *arguments: Any) -> Any:
        try:
            return super()._on_list_ready(*arguments)
        except Exception as refusal:  # kombu raises no narrower one
            logger.warning("SQS gives no messages, and is asked again in %s s: %s", AGAIN_SECONDS, refusal)
            return []


class Channel(SQS.Channel):
    """A channel that takes no more messages than can run at once.

    asking: the queues with an open question, each of which may bring one message. failing: those whose last one failed,
    until they are asked again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.asking: set[str] = set()
        self.failing: set[str] = set()
        self._turn = 0
        self._asked_in: dict[str, int] = {}
        super().__init__(*arguments, **options)

    def asynsqs(self, queue: str | None = None) -> Any:
        connection = super().asynsqs(queue)
        connection.__class__ = PatientConnection
        return connection

    def _get_bulk_async(self, queue: str, callback: Any = None) -> Any:
        callback = ensure_promise(callback)
        if not self._has_turn(queue):
            callback([])
            return callback
        self._turn += 1
        self._asked_in[queue] = self._turn
        return self._get_async(queue, 1, callback=callback)

    def _has_turn(self, queue: str) -> bool:
        """Whether there is room for it beside those that were asked longer ago: the hub's own order is that of a set."""
        waiting = [
            name
            for name in self._active_queues
            if self.canonical_queue_name(name) not in self.asking and name not in self.failing
        ]
        waiting.sort(key=lambda name: self._asked_in.get(name, 0))
        return queue in waiting[: max(0, self._room())]

    def _room(self) -> int:
        """Free processes that no open question may fill."""
        free = self.qos.can_consume_max_estimate()
        return (len(self._active_queues) if free is None else free) - len(self.asking)

    def _get_from_sqs(
        self, queue_name: str, queue_url: str, connection: Any, count: int = 1, callback: Any = None
    ) -> Any:
        waits = self.wait_time_seconds if self._room() > len(self._active_queues) else BRIEF_SECONDS
        self.asking.add(queue_name)
        return connection.receive_message(
            queue_name,
            queue_url,
            number_messages=count,
            wait_time_seconds=min(waits, self.wait_time_seconds),
            callback=callback,
        )

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> None:
        self.asking.discard(self.canonical_queue_name(qname))
        if not isinstance(messages, dict):
            self.failing.add(qname)
        elif qname in self._active_queues:
            super()._on_messages_ready(queue, qname, messages)
        else:
            self._give_back(queue, qname, messages)

    def _give_back(self, url: str, name: str, messages: dict[str, Any]) -> None:
        """Let others have what came after this worker had stopped to consume."""
        client = self.sqs(queue=self.canonical_queue_name(name))
        for message in messages.get("Messages", ()):
            try:
                client.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )
            except (BotoCoreError, ClientError) as error:
                logger.warning("A message of %s is not given back and waits for its timeout: %s", name, error)

    def _loop1(self, queue: str, _answer: Any = None) -> None:
        if queue in self.failing:
            self.hub.call_later(AGAIN_SECONDS, self._ask_again, queue)
        else:
            self.hub.call_soon(self._schedule_queue, queue)

    def _ask_again(self, queue: str) -> None:
        self.failing.discard(queue)
        self._schedule_queue(queue)


class Transport(SQS.Transport):
    """kombu's transport with such channels."""

    Channel = Channel


class SqsConsumer(Consumer):
    """Celery's consumer, which stops when none of its questions is open."""

    def stop(self) -> None:
        """Stop consuming, then wait for what SQS still answers; tasks that end meanwhile are acknowledged as ever."""
        super().stop()
        channel = getattr(self.task_consumer, "channel", None)
        if self.hub is None or not isinstance(channel, Channel):
            return
        deadline = time.monotonic() + channel.wait_time_seconds + AGAIN_SECONDS
        loop = self.hub.create_loop()
        while channel.asking and time.monotonic() < deadline:
            try:
                next(loop)
            except StopIteration:
                loop = self.hub.create_loop()
