# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be said to which worker so that it consumes what it shall, and what that leaves alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .assignments import Queues

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Depth:
    """What a broker tells of a queue.

    messages: those that no worker holds. consumers: None where the broker does not know them.
    exists: False where it does not know the queue.
    """

    messages: int
    consumers: int | None = None
    exists: bool = True


@dataclass(frozen=True)
class Step:
    """One queue that some workers begin to consume, or cease to."""

    queue: str
    workers: tuple[str, ...]


def additions(now: Queues, wanted: Queues) -> list[Step]:
    """What is added, one step for each queue. Workers that do not answer now are left out."""
    return _steps({name: queues - now[name] for name, queues in wanted.items() if name in now})


def removals(now: Queues, wanted: Queues) -> list[Step]:
    """What is taken away, one step for each queue."""
    return _steps({name: now[name] - queues for name, queues in wanted.items() if name in now})


def after(now: Queues, wanted: Queues) -> dict[str, frozenset[str]]:
    """What each worker consumes in the end, those that nobody assigned anything included."""
    return {**now, **{name: queues for name, queues in wanted.items() if name in now}}


def abandoned(now: Queues, wanted: Queues) -> list[str]:
    """The queues that a worker loses and that none of the known workers has afterwards."""
    served = {queue for queues in after(now, wanted).values() for queue in queues}
    return [step.queue for step in removals(now, wanted) if step.queue not in served]


def unserved(now: Queues, queues: Iterable[str], depths: Mapping[str, Depth], holding: Queues) -> dict[str, int]:
    """The messages that nobody would take: by queue, for those of `queues` that are not empty.

    queues: those that no known worker is to consume. depths: what the broker tells of these now. holding: of which
    queues each known worker holds tasks. Where the broker tells of more consumers than the known workers are, somebody
    else takes the messages.
    """
    return {
        queue: depths[queue].messages
        for queue in queues
        if depths[queue].messages and not strangers(queue, now, depths[queue], holding)
    }


def strangers(queue: str, now: Queues, depth: Depth, holding: Queues) -> int:
    """How many consume a queue besides the known workers, as far as the broker tells.

    A quorum queue counts a consumer that left until the last message that it holds is settled (rabbit_fifo: cancelled).
    """
    known = {name for state in (now, holding) for name, queues in state.items() if queue in queues}
    return max(0, (depth.consumers or 0) - len(known))


def differing(now: Queues, wanted: Queues) -> dict[str, frozenset[str]]:
    """What is wanted of those workers that are not there yet; one that does not answer is not."""
    return {name: queues for name, queues in wanted.items() if now.get(name) != queues}


def report(before: Queues, after_all: Queues, covered: Iterable[str]) -> dict[str, dict[str, list[str] | None]]:
    """The workers as a module returns them. What is not known of one that went is None."""
    return {
        name: {"before": _plain(before.get(name)), "after": _plain(after_all.get(name))} for name in sorted(covered)
    }


def diff(before: Queues, after_all: Queues, covered: Iterable[str]) -> dict[str, Any]:
    """A difference as Ansible shows it: a line for each worker."""
    names = sorted(covered)
    return {"before": _lines(before, names), "after": _lines(after_all, names)}


def _steps(by_worker: Mapping[str, frozenset[str]]) -> list[Step]:
    queues = sorted({queue for queues in by_worker.values() for queue in queues})
    return [Step(queue, tuple(sorted(name for name in by_worker if queue in by_worker[name]))) for queue in queues]


def _plain(queues: frozenset[str] | None) -> list[str] | None:
    return None if queues is None else sorted(queues)


def _lines(state: Queues, names: Iterable[str]) -> str:
    return "".join(f"{name}: {_shown(state.get(name))}".rstrip() + "\n" for name in names)


def _shown(queues: frozenset[str] | None) -> str:
    return "(does not answer)" if queues is None else ", ".join(sorted(queues))
