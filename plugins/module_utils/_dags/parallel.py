# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The same done for many files, at the same time where that is worth it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 32
"""A network filesystem answers one call in milliseconds, and many at the same time."""

_AT_A_TIME = 128
"""Items that a thread takes together: on a local disk, handing one over takes longer than a call."""

_AT_FIRST = 4
_QUICK = 100e-6
"""Seconds for one call, above which it is worth to have many at the same time. A local disk's take a tenth of it."""

_AHEAD = THREADS * 4
"""Items of a stream that wait for a thread: what they hold is in memory."""


def each(pool: ThreadPoolExecutor, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what `do` gives for each item, in their order; raises what it raises for the first that it fails for.

    This thread does them all for as long as they are quick, since Python's threads would only wait for one another.
    """
    done: list[Result] = []
    size = _AT_FIRST
    while len(done) < len(items):
        some = items[len(done) : len(done) + size]
        began = time.perf_counter()
        done += [do(item) for item in some]
        if time.perf_counter() - began > len(some) * _QUICK:
            return done + _each_at_once(pool, do, items[len(done) :])
        size = _AT_A_TIME
    return done


def stream(pool: ThreadPoolExecutor, do: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do something with each item of which there may be too many to hold; raises what it raises for the first.

    This thread does them all for as long as they are quick, as in `each`.
    """
    ahead = iter(items)
    done, size, seconds = 0, _AT_FIRST, 0.0
    for item in ahead:
        began = time.perf_counter()
        do(item)
        seconds += time.perf_counter() - began
        done += 1
        if done == size:
            if seconds > done * _QUICK:
                _stream_at_once(pool, do, ahead)
                return
            done, size, seconds = 0, _AT_A_TIME, 0.0


def _each_at_once(pool: ThreadPoolExecutor, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    size = max(1, min(_AT_A_TIME, len(items) // THREADS))

    def do_some(begin: int) -> list[Result]:
        return [do(item) for item in items[begin : begin + size]]

    return [result for some in pool.map(do_some, range(0, len(items), size)) for result in some]


def _stream_at_once(pool: ThreadPoolExecutor, do: Callable[[Item], object], items: Iterable[Item]) -> None:
    underway: deque[Future[object]] = deque()
    for item in items:
        underway.append(pool.submit(do, item))
        if len(underway) > _AHEAD:
            underway.popleft().result()
    for future in underway:
        future.result()
