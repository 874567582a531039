# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timeout solver: every timeout that must outlast, or must not outlast, the longest task.

They form a chain, each longer than the one before it:
longest task < worker's stop < broker's patience with an unacknowledged message < time that a task may wait in its queue.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .durations import spell

LOG_UPLOAD = 5 * 60
"""After its last task a worker still writes that task's log to the log store."""

BROKER_SWEEP = 30 * 60
"""RabbitMQ looks for overdue acknowledgements once a minute; a stopping worker acknowledges last."""

SHORTEST_QUEUED = 10 * 60
"""Airflow's own [scheduler] task_queued_timeout."""

HEARTBEAT = 5 * 60
"""Airflow's own [scheduler] task_instance_heartbeat_timeout: longer than a restart of the API server (16 s measured)."""

MAX_FAILED_HEARTBEATS = 45
"""A task tries one heartbeat in five seconds ([workers] min_heartbeat_interval), so it outlives 225 s without an API server."""


@dataclass(frozen=True)
class Timeout:
    """seconds: its value. reason: why it is not shorter, for a person."""

    seconds: int
    reason: str


def solve(longest_task: int, broker: str) -> dict[str, dict[str, int | str]]:
    """Every timeout of a platform, by name, from its longest task in seconds and the broker's provider."""
    task = spell(longest_task)
    stop = longest_task + LOG_UPLOAD
    patience = longest_task + BROKER_SWEEP
    queued = max(SHORTEST_QUEUED, patience + LOG_UPLOAD)
    timeouts = {
        "worker_stop": Timeout(
            stop, f"a worker that stops finishes its tasks ({task}) and uploads their logs ({spell(LOG_UPLOAD)})"
        ),
        "task_queued": Timeout(
            queued, f"a task waits for the only worker of its pool while that one drains ({spell(stop)})"
        ),
        "task_heartbeat": Timeout(
            HEARTBEAT, "a task that gives no sign of life is failed; a restart of the API server must fit in"
        ),
        BROKER_PATIENCE[broker]: Timeout(
            patience, f"a message is acknowledged when its task ends ({task}); too short and the task runs twice"
        ),
    }
    return {name: asdict(timeout) for name, timeout in timeouts.items()}


BROKER_PATIENCE = {"rabbitmq": "consumer_timeout"}
"""What each broker calls its patience with a message that is not acknowledged."""
