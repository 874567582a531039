# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queues, their workers and their sources: what does not fit together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .assignments import Queues
from .moves import Depth, strangers

Sources = Mapping[str, Iterable[str]]


def problems(sources: Mapping[str, Any]) -> list[str]:
    """What is wrong with the sources as a module's argument gives them, in words."""
    return [
        f"sources.{name}: a list of queues is needed, found {queues!r}"
        for name, queues in sources.items()
        if not (isinstance(queues, list) and all(isinstance(queue, str) and queue for queue in queues))
    ]


def names(now: Queues, sources: Sources, more: Iterable[str]) -> list[str]:
    """Every queue that is told about."""
    return sorted({*_turned(now), *_turned(sources), *more})


def of(now: Queues, sources: Sources, depths: Mapping[str, Depth], holding: Queues) -> dict[str, Any]:
    """{queues, without_consumer, without_worker, without_source} as the module worker_queues_info returns them.

    now: what each worker consumes. holding: of which queues it holds tasks.
    """
    workers, users = _turned(now), _turned(sources)
    served = {queue for queue, depth in depths.items() if workers.get(queue) or strangers(queue, now, depth, holding)}
    return {
        "queues": {
            queue: {
                "messages": depth.messages,
                "consumers": depth.consumers,
                "exists": depth.exists,
                "workers": workers.get(queue, []),
            }
            for queue, depth in sorted(depths.items())
        },
        "without_consumer": {
            queue: depth.messages for queue, depth in sorted(depths.items()) if depth.messages and queue not in served
        },
        "without_worker": {queue: users[queue] for queue in sorted(users) if queue not in served},
        "without_source": {queue: workers[queue] for queue in sorted(workers) if users and queue not in users},
    }


def _turned(by_name: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The names by queue instead of the queues by name."""
    found: dict[str, list[str]] = {}
    for name in sorted(by_name):
        for queue in by_name[name]:
            found.setdefault(queue, []).append(name)
    return found
