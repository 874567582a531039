# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timeout solver: every timeout that must outlast, or must not outlast, the longest task.

They form a chain, each longer than the one before it:
longest task < worker's stop < broker's patience with an unacknowledged message < time that a task may wait in its queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .durations import SECONDS, spell
from .problems import Problem

LOG_UPLOAD = 5 * 60
"""After its last task a worker still writes that task's log to the log store."""

SHORTEST_QUEUED = 10 * 60
"""Airflow's own [scheduler] task_queued_timeout."""

HEARTBEAT = 5 * 60
"""Airflow's own [scheduler] task_instance_heartbeat_timeout: longer than a restart of the API server (16 s measured)."""

MAX_FAILED_HEARTBEATS = 45
"""A task tries one heartbeat in five seconds ([workers] min_heartbeat_interval), so it outlives 225 s without an API server."""

SHORTEST_RETENTION = 4 * SECONDS["d"]
"""SQS's own MessageRetentionPeriod."""


@dataclass(frozen=True)
class Limit:
    """The most that a timeout may be: in seconds, and who says so."""

    seconds: int
    source: str


@dataclass(frozen=True)
class Patience:
    """How a kind of broker waits for the acknowledgement of a message.

    name: what it calls that. spare: seconds beyond the longest task. because: of that spare time.
    limits: the most of its timeouts by name, for those that have one.
    """

    name: str
    spare: int
    because: str
    limits: Mapping[str, Limit]


VISIBILITY = Limit(12 * SECONDS["h"], "Amazon SQS: a message is invisible for 12 h at most after it was received")
RETENTION = Limit(14 * SECONDS["d"], "Amazon SQS: MessageRetentionPeriod is 14 d at most")

PATIENCE: dict[str, Patience] = {
    "amqp": Patience(
        "consumer_timeout",
        30 * 60,
        "RabbitMQ looks for overdue acknowledgements once a minute, and a stopping worker is last",
        {},
    ),
    "redis": Patience(
        "visibility_timeout", 30 * 60, "each worker puts back what is overdue, also what another one runs", {}
    ),
    # The log's upload and a margin: the rest of the twelve hours is the task's.
    "sqs": Patience(
        "visibility_timeout",
        2 * LOG_UPLOAD,
        "SQS delivers again what is overdue, whether or not its worker is alive",
        {"visibility_timeout": VISIBILITY, "message_retention": RETENTION},
    ),
}
"""By the kind of broker."""


@dataclass(frozen=True)
class Timeout:
    """seconds: its value. reason: why it is not shorter, for a person. most: its limit in seconds, or None. source: whose."""

    seconds: int
    reason: str
    most: int | None = None
    source: str | None = None


def solve(longest_task: int, broker: str) -> dict[str, dict[str, Any]]:
    """Every timeout of a platform, by name, from its longest task in seconds and the kind of its broker."""
    return {name: asdict(timeout) for name, timeout in _solve(longest_task, PATIENCE[broker]).items()}


def problems(longest_task: int, broker: str) -> list[Problem]:
    """A longest task that the limits of this kind of broker leave no room for."""
    patience = PATIENCE[broker]
    return [
        Problem(
            "airflow_longest_task",
            spell(longest_task),
            f"{spell(longest_task - (timeout.seconds - timeout.most))} at most with this broker, or another broker"
            f" (airflow_broker_provider: rabbitmq or redis): {name} would be {spell(timeout.seconds)}. {timeout.source}",
        )
        for name, timeout in _solve(longest_task, patience).items()
        if timeout.most is not None and timeout.seconds > timeout.most
    ]


def _solve(longest_task: int, patience: Patience) -> dict[str, Timeout]:
    task = spell(longest_task)
    stop = longest_task + LOG_UPLOAD
    waits = longest_task + patience.spare
    queued = max(SHORTEST_QUEUED, waits + LOG_UPLOAD)
    found = {
        "worker_stop": Timeout(
            stop, f"a worker that stops finishes its tasks ({task}) and uploads their logs ({spell(LOG_UPLOAD)})"
        ),
        "task_queued": Timeout(
            queued, f"a task waits for the only worker of its pool while that one drains ({spell(stop)})"
        ),
        "task_heartbeat": Timeout(
            HEARTBEAT, "a task that gives no sign of life is failed; a restart of the API server must fit in"
        ),
        patience.name: Timeout(
            waits,
            f"a message is acknowledged when its task ends ({task}); too short and the task runs twice. {patience.because}",
        ),
    }
    if "message_retention" in patience.limits:
        found["message_retention"] = Timeout(
            max(SHORTEST_RETENTION, queued), f"a message stays for as long as its task may wait ({spell(queued)})"
        )
    return {name: _limited(timeout, patience.limits.get(name)) for name, timeout in found.items()}


def _limited(timeout: Timeout, limit: Limit | None) -> Timeout:
    return Timeout(timeout.seconds, timeout.reason, limit.seconds, limit.source) if limit else timeout
