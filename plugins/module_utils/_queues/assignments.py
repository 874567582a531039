# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which queues each worker shall consume, by patterns on the workers' names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Queues = Mapping[str, frozenset[str]]
"""What each worker consumes, by its name."""

SHOWN = 10
"""Names that a message spells out."""


@dataclass(frozen=True)
class Assignment:
    """The queues of all workers whose names match a shell pattern."""

    workers: str
    queues: frozenset[str]


def read(given: Sequence[Mapping[str, Any]]) -> tuple[list[Assignment], list[str]]:
    """The assignments as a module's argument gives them, and what is wrong with them, in words."""
    problems = []
    for at, each in enumerate(given):
        if not each["workers"].strip():
            problems.append(f"assignments[{at}].workers: a worker's name or a pattern is needed, found nothing")
        problems += [
            f"assignments[{at}].queues: the name of a queue is needed, without a comma or a space, found {queue!r}"
            for queue in each["queues"]
            if not queue or any(sign == "," or sign.isspace() for sign in queue)
        ]
    return [Assignment(each["workers"], frozenset(each["queues"])) for each in given], problems


def wanted(assignments: Iterable[Assignment], workers: Iterable[str]) -> tuple[dict[str, frozenset[str]], list[str]]:
    """What each worker that an assignment covers shall consume, and what is wrong, in words.

    workers: the names of those that answer. One that no pattern matches is left out, and stays as it is.
    """
    known = sorted(workers)
    found: dict[str, Assignment] = {}
    problems = []
    for assignment in assignments:
        matching = [name for name in known if fnmatchcase(name, assignment.workers)]
        if not matching:
            problems.append(
                f"no worker that answers is called {assignment.workers}; {_answering(known)}."
                " Start it, or correct the name in the assignment"
            )
        for name in matching:
            first = found.setdefault(name, assignment)
            if first.queues != assignment.queues:
                problems.append(
                    f"{name} matches {first.workers}, which gives it {listed(first.queues)}, and {assignment.workers},"
                    f" which gives it {listed(assignment.queues)}; make the patterns tell it apart"
                )
    return {name: found[name].queues for name in sorted(found)}, problems


def listed(names: Iterable[str]) -> str:
    """Some names for a person."""
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more if ordered else "no queue"


def _answering(names: Sequence[str]) -> str:
    return f"these answer: {listed(names)}" if names else "none answers at all"
