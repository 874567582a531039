# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which worker shall consume what, what has to be said to it, and what that leaves alone; with workers made of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._queues import assignments, moves, moving, overview
from ansible_collections.airstack.backbone.tests.unit.clock import Clock

State = dict[str, frozenset[str]]


def state(**queues: str) -> State:
    """Queues by worker; the name w1 stands for etl@w1."""
    return {f"etl@{name}": frozenset(each.split()) for name, each in queues.items()}


def assigned(*pairs: tuple[str, str]) -> list[assignments.Assignment]:
    return [assignments.Assignment(pattern, frozenset(queues.split())) for pattern, queues in pairs]


@pytest.mark.parametrize(
    ("given_pairs", "expected"),
    [
        ([("etl@*", "a b")], state(w1="a b", w2="a b")),
        ([("etl@w1", "a")], state(w1="a")),
        ([("etl@w[12]", "a"), ("etl@w2", "a")], state(w1="a", w2="a")),
        ([("*@w2", "")], state(w2="")),
        ([], {}),
    ],
)
def test_patterns_cover_workers(given_pairs: list[tuple[str, str]], expected: State) -> None:
    assert assignments.wanted(assigned(*given_pairs), ["etl@w1", "etl@w2"]) == (expected, [])


@pytest.mark.parametrize(
    ("given_pairs", "workers", "words"),
    [
        ([("ml@*", "a")], ["etl@w1"], "no worker that answers is called ml@*; these answer: etl@w1"),
        ([("ml@*", "a")], [], "no worker that answers is called ml@*; none answers at all"),
        (
            [("etl@*", "a"), ("*@w1", "b")],
            ["etl@w1"],
            "etl@w1 matches etl@*, which gives it a, and *@w1, which gives it b",
        ),
        ([("ETL@*", "a")], ["etl@w1"], "is called ETL@*"),
    ],
)
def test_patterns_that_do_not_fit_are_told(given_pairs: list[tuple[str, str]], workers: list[str], words: str) -> None:
    _wanted, problems = assignments.wanted(assigned(*given_pairs), workers)
    assert len(problems) == 1
    assert words in problems[0]


@pytest.mark.parametrize("queue", ["", "a,b", "a b", " "])
def test_what_is_no_queues_name_is_told(queue: str) -> None:
    _read, problems = assignments.read([{"workers": "etl@*", "queues": ["etl", queue]}])
    assert problems == [
        f"assignments[0].queues: the name of a queue is needed, without a comma or a space, found {queue!r}"
    ]


def test_an_assignment_to_nobody_is_told() -> None:
    assert assignments.read([{"workers": " ", "queues": []}])[1] == [
        "assignments[0].workers: a worker's name or a pattern is needed, found nothing"
    ]


def test_many_names_are_cut_short() -> None:
    assert assignments.listed(f"w{at:02}" for at in range(12)).endswith("w09 and 2 more")


workers = st.sampled_from([f"w{at}" for at in range(4)])
queue_sets = st.frozensets(st.sampled_from("abcd"))
states = st.dictionaries(workers, queue_sets)


@given(states, states)
def test_steps_lead_to_what_is_wanted(now: State, wanted: State) -> None:
    reached = {name: set(queues) for name, queues in now.items()}
    for step in moves.additions(now, wanted):
        for name in step.workers:
            assert step.queue not in reached[name]
            reached[name].add(step.queue)
    assert all(reached[name] >= now[name] for name in now)
    for step in moves.removals(now, wanted):
        for name in step.workers:
            reached[name].remove(step.queue)
    assert reached == {name: set(queues) for name, queues in moves.after(now, wanted).items()}
    assert not [name for name in moves.differing(moves.after(now, wanted), wanted) if name in now]


@given(states, states)
def test_a_queue_is_abandoned_when_its_last_worker_loses_it(now: State, wanted: State) -> None:
    before = {queue for queues in now.values() for queue in queues}
    afterwards = {queue for queues in moves.after(now, wanted).values() for queue in queues}
    assert set(moves.abandoned(now, wanted)) == before - afterwards


@given(states)
def test_nothing_is_to_be_done_where_all_is_as_wanted(now: State) -> None:
    assert moves.additions(now, now) == moves.removals(now, now) == moves.abandoned(now, now) == []


@pytest.mark.parametrize(
    ("depth", "holding", "expected"),
    [
        (moves.Depth(3, 1), {}, {"a": 3}),
        (moves.Depth(0, 1), {}, {}),
        (moves.Depth(3, 2), {}, {}),
        (moves.Depth(3, None), {}, {"a": 3}),
        # w2 consumes it no more, and the broker counts it until its task ends.
        (moves.Depth(3, 2), state(w2="a"), {"a": 3}),
        (moves.Depth(3, 3), state(w2="a"), {}),
        (moves.Depth(3, 1), state(w1="a"), {"a": 3}),
    ],
)
def test_messages_that_nobody_takes_are_counted(depth: moves.Depth, holding: State, expected: dict[str, int]) -> None:
    assert moves.unserved(state(w1="a b", w2="b"), ["a"], {"a": depth}, holding) == expected


def test_the_overview_finds_what_does_not_fit() -> None:
    now = state(w1="a old", w2="a")
    sources = {"one": ["a", "nobody"], "two": ["nobody", "elsewhere"]}
    depths = {
        "a": moves.Depth(1, 2),
        "old": moves.Depth(0, 1),
        "nobody": moves.Depth(4, 0),
        "elsewhere": moves.Depth(2, 1),
        "left": moves.Depth(5, 1),
    }
    assert overview.names(now, sources, ["left"]) == sorted(depths)
    found = overview.of(now, sources, depths, state(w1="left"))
    assert found["without_consumer"] == {"left": 5, "nobody": 4}
    assert found["without_worker"] == {"nobody": ["one", "two"]}
    assert found["without_source"] == {"old": ["etl@w1"]}
    assert found["queues"]["a"] == {"messages": 1, "consumers": 2, "exists": True, "workers": ["etl@w1", "etl@w2"]}
    assert overview.of(now, {}, depths, {})["without_source"] == {}
    assert overview.problems({"one": "a", "two": ["b"], "three": [1]}) == [
        "sources.one: a list of queues is needed, found 'a'",
        "sources.three: a list of queues is needed, found [1]",
    ]


CLOCK = Clock()


class Words:
    """Workers that do what they are told a few looks later, or not at all; it notes what they were told."""

    def __init__(self, now: Mapping[str, frozenset[str]], depths: Mapping[str, moves.Depth] | None = None) -> None:
        self.now = {name: set(queues) for name, queues in now.items()}
        self.told: list[tuple[str, str, tuple[str, ...]]] = []
        self.refusing: set[tuple[str, str]] = set()
        self.silent: set[str] = set()
        self.held: State = {}
        self.takes = 0.0
        """Seconds that an answer takes."""
        self.delay = 0
        self._depths = dict(depths or {})
        self._waiting: list[tuple[int, str, str, str]] = []
        self.looks = 0

    def queues(self, names: Sequence[str] | None, seconds: float) -> State:
        self.looks += 1
        due, self._waiting = (
            [each for each in self._waiting if each[0] < self.looks],
            [each for each in self._waiting if each[0] >= self.looks],
        )
        for _look, verb, queue, name in due:
            (self.now[name].add if verb == "add" else self.now[name].discard)(queue)
        asked = self.now if names is None else names
        if names is None or self.silent & set(names) or seconds < self.takes:
            CLOCK.sleep(seconds)
        if seconds < self.takes:
            return {}
        return {name: frozenset(self.now[name]) for name in asked if name not in self.silent and name in self.now}

    def add(self, queue: str, names: Sequence[str], _seconds: float, _arguments: Mapping[str, Any]) -> None:
        self._tell("add", queue, names)

    def cancel(self, queue: str, names: Sequence[str], _seconds: float) -> None:
        self._tell("cancel", queue, names)

    def _tell(self, verb: str, queue: str, names: Sequence[str]) -> None:
        self.told.append((verb, queue, tuple(names)))
        self._waiting += [
            (self.looks + self.delay, verb, queue, name) for name in names if (name, queue) not in self.refusing
        ]

    def depths(self, queues: Iterable[str]) -> dict[str, moves.Depth]:
        return {queue: self._depths.get(queue, moves.Depth(0, None)) for queue in queues}

    def holding(self, names: Sequence[str], seconds: float) -> State:
        return {name: self.held.get(name, frozenset()) for name in names} if seconds >= self.takes else {}


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "time", CLOCK)


def move(words: Words, wanted: State, seconds: float = 5, **options: Any) -> moving.Outcome:
    now = {name: frozenset(queues) for name, queues in words.now.items()}
    return moving.Move(words, now, wanted, CLOCK.now + seconds, **options).run()


@given(states, states, st.integers(0, 3))
def test_workers_come_to_what_is_wanted_and_are_told_nothing_else(now: State, wanted: State, delay: int) -> None:
    wanted = {name: queues for name, queues in wanted.items() if name in now}
    words = Words(now)
    words.delay = delay
    outcome = move(words, wanted)
    assert outcome.is_done
    assert outcome.now == {name: frozenset(queues) for name, queues in words.now.items()} == {**now, **wanted}
    assert outcome.told == bool(words.told) == (now != {**now, **wanted})
    verbs = [verb for verb, _queue, _names in words.told]
    assert verbs == sorted(verbs)
    assert not move(words, wanted).told


def test_nothing_is_taken_away_before_all_is_added() -> None:
    words = Words(state(w1="a", w2="b"))
    words.refusing.add(("etl@w2", "a"))
    outcome = move(words, state(w1="b", w2="a"), seconds=0.05)
    assert words.told == [("add", "a", ("etl@w2",)), ("add", "b", ("etl@w1",))]
    assert list(outcome.behind) == ["etl@w2"]
    assert outcome.behind["etl@w2"].startswith("etl@w2 was told to consume a and does not.")
    assert outcome.now == state(w1="a b", w2="b")


def test_a_worker_that_keeps_a_queue_is_named() -> None:
    words = Words(state(w1="a b"))
    words.refusing.add(("etl@w1", "b"))
    outcome = move(words, state(w1="a"), seconds=0.05)
    assert outcome.behind == {
        "etl@w1": "etl@w1 was told to consume b no more and still does. See its log, and do this again"
    }


def test_a_worker_that_answers_late_is_heard_at_the_end_too() -> None:
    words = Words(state(w1="a b"))
    words.refusing.add(("etl@w1", "b"))
    words.takes = 0.5
    assert "still does" in move(words, state(w1="a")).behind["etl@w1"]


def test_a_worker_that_answers_late_is_no_stranger() -> None:
    """One of the two consumers that the broker counts left the queue, and holds a message of it."""
    words = Words(state(w1="a", w2="b"), {"a": moves.Depth(3, 2)})
    words.held = state(w2="a")
    words.takes = 3.0
    assert move(words, state(w1="b")).unserved == {"a": 3}


@pytest.mark.parametrize("wanted", [state(w1="a b"), state(w1="")])
def test_a_worker_that_falls_silent_is_named(wanted: State) -> None:
    words = Words(state(w1="a", w2="a"))
    words.silent.add("etl@w1")
    outcome = move(words, wanted, seconds=0.05)
    assert list(outcome.behind) == ["etl@w1"]
    assert "answered at first, and not any more" in outcome.behind["etl@w1"]
    assert "etl@w1" not in outcome.now


def test_nothing_is_said_where_messages_would_be_left_alone() -> None:
    words = Words(state(w1="a b"), {"b": moves.Depth(2)})
    outcome = move(words, state(w1="a c"))
    assert (words.told, outcome.unserved, outcome.is_refused) == ([], {"b": 2}, True)
    allowed = move(words, state(w1="a c"), allow_unserved=True)
    assert (allowed.is_done, allowed.unserved, words.now) == (True, {"b": 2}, {"etl@w1": {"a", "c"}})


class Filling(Words):
    """Where messages come into a queue while it is taken away, and workers that `keeps` does not name never take it back."""

    def __init__(self, now: State, keeps: set[str]) -> None:
        super().__init__(now)
        self._keeps = keeps

    def cancel(self, queue: str, names: Sequence[str], seconds: float) -> None:
        self._depths[queue] = moves.Depth(2)
        super().cancel(queue, names, seconds)

    def add(self, queue: str, names: Sequence[str], seconds: float, arguments: Mapping[str, Any]) -> None:
        super().add(queue, [name for name in names if name in self._keeps], seconds, arguments)


@pytest.mark.parametrize("seconds", [5, -1])
def test_a_queue_that_fills_meanwhile_is_given_back_also_when_the_time_is_over(seconds: float) -> None:
    words = Filling(state(w1="a b"), {"etl@w1"})
    outcome = move(words, state(w1="a"), seconds=seconds)
    assert (outcome.is_refused, outcome.unserved, outcome.now) == (True, {"b": 2}, state(w1="a b"))
    assert outcome.behind == {}


def test_a_queue_that_is_not_taken_back_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "LONGEST_ANSWER", 0.05)
    outcome = move(Filling(state(w1="a b"), set()), state(w1="a"))
    assert (outcome.is_refused, outcome.now) == (True, state(w1="a"))
    assert outcome.behind["etl@w1"].startswith(
        "etl@w1 was to have b back, where messages came meanwhile, and does not say"
    )


def test_the_difference_tells_a_worker_that_went_from_one_that_rests() -> None:
    shown = moves.diff(state(w1="a", w2="a"), state(w2=""), ["etl@w1", "etl@w2"])
    assert shown == {"before": "etl@w1: a\netl@w2: a\n", "after": "etl@w1: (does not answer)\netl@w2:\n"}


def test_foretelling_says_nothing_to_workers() -> None:
    words = Words(state(w1="a"))
    now = state(w1="a")
    assert moving.Move(words, now, state(w1="b"), CLOCK.now + 300).foretell().now == state(w1="b")
    assert words.told == []


def test_expected_workers_are_asked_alone_until_they_answer() -> None:
    words = Words(state(w1="a", w2="b"))
    expected = ["etl@w1"]
    found = moving.discover(words, expected, asks_all=False, seconds=1, deadline=CLOCK.now + 300)
    assert found == (state(w1="a"), [])
    found = moving.discover(words, expected, asks_all=True, seconds=1, deadline=CLOCK.now + 300)
    assert found == (state(w1="a", w2="b"), [])
    words.silent.add("etl@w2")
    found = moving.discover(words, ["etl@w2"], asks_all=False, seconds=1, deadline=CLOCK.now + 0.05)
    assert found == ({}, ["etl@w2"])
