# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings running workers to the queues that they shall have: adds, looks, and only then takes away.

No task is lost or run twice by it: a worker that ceases to consume a queue finishes what it holds of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import moves
from .assignments import Queues, listed

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5

FIRST_ANSWER = 1.0
"""Seconds to wait for an answer at first, then twice as long each time: a busy machine's worker answers late."""

LONGEST_ANSWER = 8.0


class Control(Protocol):
    """What is needed of _celery.Broker."""

    def queues(self, workers: Sequence[str] | None, seconds: float) -> dict[str, frozenset[str]]: ...

    def add(self, queue: str, workers: Sequence[str], seconds: float, arguments: Mapping[str, Any]) -> None: ...

    def cancel(self, queue: str, workers: Sequence[str], seconds: float) -> None: ...

    def depths(self, queues: Iterable[str]) -> dict[str, moves.Depth]: ...

    def holding(self, workers: Sequence[str], seconds: float) -> dict[str, frozenset[str]]: ...


@dataclass
class Outcome:
    """How a move ended.

    now: what each worker consumes; one that went is left out. behind: the workers that are not where they shall be,
    each with the reason. unserved: messages that nobody takes, by queue, of queues that were taken away. is_refused:
    whether something was not taken away for these.
    """

    now: dict[str, frozenset[str]]
    behind: dict[str, str] = field(default_factory=dict)
    unserved: dict[str, int] = field(default_factory=dict)
    is_refused: bool = False
    told: bool = False

    @property
    def is_done(self) -> bool:
        return not self.behind and not self.is_refused


def discover(
    control: Control, expected: Sequence[str], *, asks_all: bool, seconds: float, deadline: float
) -> tuple[dict[str, frozenset[str]], list[str]]:
    """What each worker consumes that answers, and the expected ones that do not.

    asks_all: whether others than the expected ones are looked for, which always takes `seconds`. deadline: until when
    the expected ones may answer, of time.monotonic().
    """
    found = control.queues(None, seconds) if asks_all or not expected else {}
    wait = FIRST_ANSWER
    while True:
        missing = [name for name in expected if name not in found]
        left = deadline - time.monotonic()
        if not missing or left <= 0:
            return found, missing
        found.update(control.queues(missing, min(wait, left)))
        wait = min(2 * wait, LONGEST_ANSWER)


class Move:
    """One move of some workers.

    now: what all workers that are known consume. wanted: what some of them shall. deadline: of time.monotonic().
    arguments: of queues that a worker may have to make.
    """

    def __init__(
        self,
        control: Control,
        now: Queues,
        wanted: Queues,
        deadline: float,
        *,
        allow_unserved: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self._control = control
        self._before = dict(now)
        self._wanted = wanted
        self._deadline = deadline
        self._allow_unserved = allow_unserved
        self._arguments = arguments or {}
        self.outcome = Outcome(dict(now))

    def run(self) -> Outcome:
        """Do it. What the broker itself refuses comes as an exception of the control's; `outcome` holds what was done."""
        if self._is_refused():
            return self.outcome
        if not self._add() or self._is_refused():
            return self.outcome
        self._cancel()
        return self.outcome

    def foretell(self) -> Outcome:
        """What `run` would come to, if every worker did what it is told."""
        if not self._is_refused():
            self.outcome.now = moves.after(self._before, self._wanted)
        return self.outcome

    def _is_refused(self) -> bool:
        """Whether messages would be left alone that nobody said may be."""
        self.outcome.unserved = self._unserved(moves.abandoned(self.outcome.now, self._wanted))
        self.outcome.is_refused = bool(self.outcome.unserved) and not self._allow_unserved
        return self.outcome.is_refused

    def _unserved(self, queues: Sequence[str]) -> dict[str, int]:
        now = self.outcome.now
        depths = self._control.depths(queues)
        full = [queue for queue in queues if depths[queue].messages]
        if not any(moves.strangers(queue, now, depths[queue], {}) for queue in full):
            return moves.unserved(now, full, depths, {})
        return moves.unserved(now, full, depths, self._control.holding(list(now), LONGEST_ANSWER))

    def _add(self) -> bool:
        steps = moves.additions(self.outcome.now, self._wanted)
        if not steps:
            return True
        self.outcome.told = True
        for step in steps:
            self._control.add(step.queue, step.workers, self._good_for(), self._arguments)
        adding = {name: self._wanted[name] for step in steps for name in step.workers}
        silent, lacking = self._follow({name: queues | self._before[name] for name, queues in adding.items()})
        for name in silent:
            self.outcome.behind[name] = (
                f"{name} answered at first, and not any more after it was to consume {listed(adding[name])}."
                " Nothing was taken away from any worker. See whether it runs, and do this again"
            )
        for name, queues in lacking.items():
            missing = listed(queues - self.outcome.now.get(name, moves.NOTHING))
            self.outcome.behind[name] = (
                f"{name} was told to consume {missing} and does not. Nothing was taken away from any worker."
                " Its log says why: the queue is not there, or the worker's broker user may not read it (in a platform of"
                " this collection airflow_broker gives a pool's user that right; playbooks/queues.yml runs it first)"
            )
        return not self.outcome.behind

    def _cancel(self) -> None:
        steps = moves.removals(self.outcome.now, self._wanted)
        if not steps:
            return
        self.outcome.told = True
        held = dict(self.outcome.now)
        abandoned = moves.abandoned(held, self._wanted)
        for step in steps:
            self._control.cancel(step.queue, step.workers, self._good_for())
        cancelling = {name: self._wanted[name] for step in steps for name in step.workers}
        silent, lacking = self._follow(cancelling)
        for name in silent:
            self.outcome.behind[name] = (
                f"{name} answered at first, and not any more after it was to consume {listed(cancelling[name])} alone."
                " See whether it runs, and do this again"
            )
        for name, queues in lacking.items():
            more = listed(self.outcome.now.get(name, moves.NOTHING) - queues)
            self.outcome.behind[name] = (
                f"{name} was told to consume {more} no more and still does. See its log, and do this again"
            )
        self._look_back(held, abandoned)

    def _look_back(self, held: Queues, abandoned: Sequence[str]) -> None:
        """Gives a queue back that got messages while it was taken away: nobody would take them."""
        self.outcome.unserved = self._unserved(abandoned)
        if not self.outcome.unserved or self._allow_unserved:
            return
        self.outcome.is_refused = True
        back = {
            name: self.outcome.now[name] | (queues & set(self.outcome.unserved))
            for name, queues in held.items()
            if name in self.outcome.now and queues & set(self.outcome.unserved)
        }
        # Also where the time is over.
        self._deadline = max(self._deadline, time.monotonic() + LONGEST_ANSWER)
        for step in moves.additions(self.outcome.now, back):
            self._control.add(step.queue, step.workers, self._good_for(), self._arguments)
        silent, lacking = self._follow(back)
        for name in (*silent, *lacking):
            self.outcome.behind[name] = (
                f"{name} was to have {listed(held[name] & set(self.outcome.unserved))} back, where messages came meanwhile,"
                " and does not say that it has. See whether it runs, and give the queue to a worker"
            )

    def _follow(self, goal: Queues) -> tuple[list[str], dict[str, frozenset[str]]]:
        """Ask until the workers are where they shall be, or until the time is over, and note what they say.

        Returns those that do not answer, and what those do not consume as they shall that do.
        """
        pending = dict(goal)
        pause, wait = FIRST_PAUSE, FIRST_ANSWER
        while True:
            seen = self._control.queues(list(pending), max(min(wait, self._left()), FIRST_ANSWER))
            self.outcome.now.update(seen)
            pending = moves.differing(seen, pending)
            if not pending or self._left() <= 0:
                break
            if len(seen) < len(pending):
                wait = min(2 * wait, LONGEST_ANSWER)
            time.sleep(min(pause, max(self._left(), 0)))
            pause = min(2 * pause, LONGEST_PAUSE)
        silent = [name for name in pending if name not in seen]
        for name in silent:
            self.outcome.now.pop(name, None)
        return silent, {name: queues for name, queues in pending.items() if name in seen}

    def _good_for(self) -> float:
        """Seconds after which a worker leaves a command alone that it had no time for; its clock may differ from ours."""
        return max(self._left(), LONGEST_ANSWER)

    def _left(self) -> float:
        return self._deadline - time.monotonic()
