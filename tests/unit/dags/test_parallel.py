# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The same done for many items: all of them, whether it is quick or slow, and the first error is what is raised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags import parallel

Do = Callable[[int], object]
MANY = 600


def each(pool: ThreadPoolExecutor, do: Do, items: range) -> None:
    assert parallel.each(pool, lambda item: (do(item), item)[1], items) == list(items)


def stream(pool: ThreadPoolExecutor, do: Do, items: range) -> None:
    parallel.stream(pool, do, iter(items))


WAYS = pytest.mark.parametrize("way", [each, stream])


@WAYS
@pytest.mark.parametrize("seconds", [0.0, 0.001])
@pytest.mark.parametrize("number", [0, 1, 3, 4, 5, 131, 132, 133, MANY])
def test_each_item_has_its_turn_once(way: Callable[..., None], seconds: float, number: int) -> None:
    done: list[int] = []
    with ThreadPoolExecutor(parallel.THREADS) as pool:
        way(pool, lambda item: (time.sleep(seconds), done.append(item)), range(number))
    assert sorted(done) == list(range(number))


@WAYS
def test_what_is_quick_is_done_here_and_what_is_slow_by_many(way: Callable[..., None]) -> None:
    def threads(seconds: float) -> set[int]:
        found: set[int] = set()
        with ThreadPoolExecutor(parallel.THREADS) as pool:
            way(
                pool,
                lambda _item: (time.sleep(seconds) if seconds else None, found.add(threading.get_ident())),
                range(MANY),
            )
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_QUICK", 60)
        assert threads(0.0) == {threading.get_ident()}
    assert len(threads(0.001)) > 2


@WAYS
@pytest.mark.parametrize("seconds", [0.0, 0.001])
@pytest.mark.parametrize("at", [0, 2, 4, 300])
def test_an_error_is_raised_and_ends_it(way: Callable[..., None], seconds: float, at: int) -> None:
    def do(item: int) -> None:
        time.sleep(seconds)
        if item >= at:
            raise ValueError(str(item))

    with ThreadPoolExecutor(parallel.THREADS) as pool, pytest.raises(ValueError, match=f"^{at}$"):
        way(pool, do, range(MANY))


def test_a_stream_holds_few_items_at_a_time() -> None:
    taken, done = 0, 0

    def items() -> Iterator[int]:
        nonlocal taken
        for taken in range(1, MANY + 1):
            assert taken - done <= parallel.THREADS * 6
            yield taken

    def do(_item: Any) -> None:
        nonlocal done
        time.sleep(0.001)
        done += 1

    with ThreadPoolExecutor(parallel.THREADS) as pool:
        parallel.stream(pool, do, items())
    assert taken == MANY
