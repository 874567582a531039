# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Starting, restarting and stopping units together, against a systemctl that is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _systemd, _unit_health
from ansible_collections.airstack.backbone.plugins.module_utils._systemd import (
    Systemd,
    Unit,
    UnitsError,
    Wanted,
    apply,
    condition,
    parse,
)

UP = {"ActiveState": "active", "SubState": "running"}
DOWN = {"ActiveState": "inactive", "SubState": "dead"}
STOPPING = {"ActiveState": "deactivating", "SubState": "stop-sigterm"}
STARTING = {"ActiveState": "activating", "SubState": "start"}
RETRYING = {"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}

A, B, TARGET = "a.service", "b.service", "all.target"

Life = list[dict[str, str]]


class Host:
    """A host whose units live through what their scripts say: one entry for each second after they were asked to."""

    def __init__(self, **states: dict[str, str]) -> None:
        self.now = 1000.0
        self.units = {
            f"{name}.service": {"LoadState": "loaded", "InvocationID": "old", "NRestarts": "0", **state}
            for name, state in states.items()
        }
        self.units[TARGET] = {"LoadState": "loaded", "UnitFileState": "enabled", **UP}
        self.lives: dict[str, Life] = {}
        self.running: dict[str, Iterator[dict[str, str]]] = {}
        self.asked: list[str] = []
        self.journal = "it broke\n"

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        program, verb, *rest = command
        if program == "journalctl":
            return 0, self.journal, ""
        names = [word for word in rest if not word.startswith("--")]
        if verb == "show":
            return 0, "\n\n".join(self._shown(name) for name in names), ""
        self.asked.append(" ".join([verb, *names]))
        for name in names:
            self.running[name] = iter(self.lives.get(name, []))
        return (1 if any(self.units[name].get("fails") for name in names) else 0), "", "no"

    def _shown(self, name: str) -> str:
        unit = self.units.setdefault(name, {"LoadState": "not-found", "InvocationID": "", **DOWN})
        return "\n".join(f"{key}={value}" for key, value in {"Id": name, **unit}.items())

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for name, life in self.running.items():
            self.units[name].update(next(life, {}))

    def clock(self) -> Any:
        return SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now + 1e9, sleep=self.sleep)


@pytest.fixture(name="host")
def played_host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    def make(**states: dict[str, str]) -> Host:
        host = Host(**states)
        monkeypatch.setattr(_systemd, "time", host.clock())
        return host

    return make


def new(state: dict[str, str]) -> dict[str, str]:
    return {**state, "InvocationID": "new"}


def test_units_start_together_and_are_waited_for(host: Callable[..., Host]) -> None:
    played = host(a=DOWN, b=FAILED)
    played.lives = {A: [new(STARTING), new(UP)], B: [new(UP)]}
    outcome = apply(Systemd(played.run), [Wanted(A), Wanted(B)], None, 90)
    assert played.asked == [f"start {A} {B}"]
    assert outcome.changes == {A: "started", B: "started"}
    assert played.units[A]["ActiveState"] == "active"


def test_what_runs_already_is_left_alone(host: Callable[..., Host]) -> None:
    played = host(a=UP)
    assert apply(Systemd(played.run), [Wanted(A)], TARGET, 90).changes == {}
    assert played.asked == []


def test_a_restart_is_over_when_the_new_process_is_healthy(host: Callable[..., Host]) -> None:
    played = host(a=UP)
    played.lives = {A: [STOPPING, STOPPING, new(STARTING), new(UP)]}
    answers = iter(["does not answer", "does not answer", None])
    outcome = apply(Systemd(played.run), [Wanted(A, "restarted", health=lambda _started: next(answers))], None, 90)
    assert outcome.changes == {A: "restarted"}
    assert next(answers, "asked until it was well") == "asked until it was well"


def test_a_unit_that_never_becomes_healthy_fails_with_its_journal(host: Callable[..., Host]) -> None:
    played = host(a=DOWN)
    played.lives = {A: [new(UP)]}
    with pytest.raises(UnitsError, match=r"(?s)a\.service does not listen\. .*journalctl -u a\.service.*it broke"):
        apply(Systemd(played.run), [Wanted(A, timeout=20, health=lambda _started: "does not listen")], None, 90)
    assert played.now == pytest.approx(1022, abs=2)


def test_a_unit_that_ends_over_and_over_is_given_up_early(host: Callable[..., Host]) -> None:
    played = host(a=DOWN)
    played.lives = {A: [new({**RETRYING, "NRestarts": str(at)}) for at in range(9)]}
    with pytest.raises(UnitsError, match=r"auto-restart, result exit-code"):
        apply(Systemd(played.run), [Wanted(A)], None, 90)
    assert played.now < 1010


def test_another_hosts_heartbeat_does_not_hide_a_unit_that_ends_over_and_over(
    host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = host(a=DOWN)
    monkeypatch.setattr(_unit_health, "time", played.clock())
    monkeypatch.setattr(_unit_health, "_heartbeat", lambda _urls, _component, _started: None)
    played.lives = {A: list(failing(played.now, tries=5, lasts=9))}
    health = _unit_health.probe({"type": "heartbeat", "component": "triggerer", "urls": ["a", "b"]})
    with pytest.raises(UnitsError, match=r"a\.service has run for \d+ s; .*journalctl"):
        apply(Systemd(played.run), [Wanted(A, health=health)], None, 90)


def failing(now: float, tries: int, lasts: int) -> Iterator[dict[str, str]]:
    """What systemd tells each second of a unit that fails so many seconds after each of its starts."""
    for at in range(tries):
        started = {
            "ExecMainStartTimestampMonotonic": str(int((now + at * (lasts + 10)) * 1e6)),
            "InvocationID": f"{at}",
        }
        yield from [{**UP, **started, "NRestarts": str(at)}] * lasts
        yield from [{**RETRYING, "NRestarts": str(at)}] * 10


def test_a_unit_that_ended_for_good_is_given_up_at_once(host: Callable[..., Host]) -> None:
    played = host(a=DOWN)
    played.lives = {A: [new(FAILED)]}
    with pytest.raises(UnitsError, match=r"is failed"):
        apply(Systemd(played.run), [Wanted(A)], None, 90)
    assert played.now < 1005


def test_all_that_fail_are_named(host: Callable[..., Host]) -> None:
    played = host(a=DOWN, b=DOWN)
    played.lives = {A: [new(FAILED)], B: [new(FAILED)]}
    with pytest.raises(UnitsError, match=r"(?s)a\.service.*b\.service"):
        apply(Systemd(played.run), [Wanted(A), Wanted(B)], None, 90)


@pytest.mark.parametrize(("state", "verb"), [("restarted", "restart"), ("stopped", "stop")])
def test_nobody_waits_longer_than_the_patience_for_a_unit_that_stops(
    host: Callable[..., Host], state: str, verb: str
) -> None:
    played = host(a=UP, b=DOWN)
    played.lives = {A: [STOPPING] * 900, B: [new(UP)]}
    outcome = apply(Systemd(played.run), [Wanted(A, state), Wanted(B)], None, 60)
    assert played.asked == [f"{verb} {A}", f"start {B}"]
    assert outcome.draining == [A]
    assert played.now == pytest.approx(1060, abs=2)


def test_the_time_to_start_begins_when_the_former_process_has_ended(host: Callable[..., Host]) -> None:
    played = host(a=UP)
    played.lives = {A: [STOPPING] * 50 + [new(STARTING)] * 15 + [new(UP)]}
    assert apply(Systemd(played.run), [Wanted(A, "restarted", timeout=20)], None, 90).draining == []


def test_a_unit_that_still_stops_from_an_earlier_run_is_waited_for(host: Callable[..., Host]) -> None:
    played = host(a=STOPPING)
    played.lives = {A: [STOPPING, STOPPING, new(UP)]}
    assert apply(Systemd(played.run), [Wanted(A, timeout=1)], None, 90).changes == {A: "started"}


def test_a_unit_that_is_starting_already_is_waited_for(host: Callable[..., Host]) -> None:
    played = host(a=STARTING)
    played.lives = {A: [STARTING, STARTING, UP]}
    assert apply(Systemd(played.run), [Wanted(A, timeout=20)], None, 90).changes == {A: "started"}
    assert played.now == pytest.approx(1003, abs=1)


def test_a_unit_that_was_starting_and_failed_is_given_up_at_once(host: Callable[..., Host]) -> None:
    played = host(a=STARTING)
    played.lives = {A: [FAILED]}
    with pytest.raises(UnitsError, match=r"is failed"):
        apply(Systemd(played.run), [Wanted(A)], None, 90)
    assert played.now < 1005


@pytest.mark.parametrize("stage", ["auto-restart", "auto-restart-queued"])
def test_a_unit_that_waits_for_its_next_try_is_started_anew(host: Callable[..., Host], stage: str) -> None:
    played = host(a={**RETRYING, "SubState": stage})
    played.lives = {A: [{}, new(UP)]}
    assert apply(Systemd(played.run), [Wanted(A, "restarted")], None, 90).changes == {A: "started"}


def test_changed_unit_files_are_read_first(host: Callable[..., Host]) -> None:
    played = host(a={**DOWN, "NeedDaemonReload": "yes"})
    played.lives = {A: [new(UP)]}
    apply(Systemd(played.run), [Wanted(A)], None, 90)
    assert played.asked == ["daemon-reload", f"start {A}"]


def test_a_unit_that_cannot_be_loaded_is_named(host: Callable[..., Host]) -> None:
    with pytest.raises(UnitsError, match=r"cannot load b\.service \(not-found\)"):
        apply(Systemd(host(a=UP).run), [Wanted(A), Wanted(B)], None, 90)


def test_a_unit_to_stop_need_not_exist(host: Callable[..., Host]) -> None:
    assert apply(Systemd(host().run), [Wanted(B, "stopped")], None, 90).changes == {}


def test_the_target_is_enabled_and_starts_nothing_by_itself(host: Callable[..., Host]) -> None:
    played = host()
    played.units[TARGET].update(DOWN, UnitFileState="disabled")
    outcome = apply(Systemd(played.run), [], TARGET, 90)
    assert outcome.changes == {TARGET: "enabled"}
    assert played.asked == [f"enable {TARGET}", f"start {TARGET}"]


def test_a_completed_unit_runs_before_the_others_and_tells_what_it_wrote(host: Callable[..., Host]) -> None:
    played = host(a=DOWN, b=DOWN)
    played.journal = "one\ntwo\n"
    played.lives = {B: [new(UP)]}
    outcome = apply(Systemd(played.run), [Wanted(B), Wanted(A, "completed")], None, 90)
    assert played.asked == [f"start {A}", f"start {B}"]
    assert outcome.output == {A: ["one", "two"]}


def test_a_completed_unit_that_fails_shows_why(host: Callable[..., Host]) -> None:
    with pytest.raises(UnitsError, match=r"(?s)a\.service failed.*it broke"):
        apply(Systemd(host(a={**DOWN, "fails": "1"}).run), [Wanted(A, "completed")], None, 90)


def test_a_systemctl_that_fails_is_quoted() -> None:
    with pytest.raises(UnitsError, match=r"systemctl daemon-reload failed: not booted"):
        Systemd(lambda _command: (1, "", "not booted\n")).reload()


def test_units_are_read_from_what_systemctl_shows() -> None:
    first, second = parse("Id=a.service\nActiveState=active\nNRestarts=2\n\nId=b.target\nNRestarts=\n")
    assert first.is_up
    assert (first["Id"], second["Id"]) == ("a.service", "b.target")
    assert (first.restarts, second.restarts) == (2, 0)


def test_an_alias_is_refused_with_both_names(host: Callable[..., Host]) -> None:
    played = host(a=UP, b={**UP, "Id": A})
    with pytest.raises(UnitsError, match=r"b\.service is a\.service; name them as systemd does"):
        apply(Systemd(played.run), [Wanted(A), Wanted(B)], None, 90)
    assert played.asked == []


def test_aliases_are_not_found_beside_their_units() -> None:
    printed = {
        "list-units": "a.service loaded active running A\n",
        "list-unit-files": "a.service enabled\nb.service alias -\n",
    }
    systemd = Systemd(lambda command: (0, printed[command[1]], ""))
    assert systemd.find(["*.service"]) == [A]


@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [
        (UP, 10, "current"),
        (UP, -10, "stale"),
        (DOWN, 10, "down"),
        (FAILED, 10, "down"),
        (RETRYING, 10, "down"),
        (STOPPING, 10, "stale"),
        (STARTING, 10, "down"),
        (STARTING, -10, "stale"),
    ],
)
def test_condition_compares_the_process_with_its_files(
    tmp_path: Path, state: dict[str, str], age: int, expected: str
) -> None:
    file = tmp_path / "airflow.cfg"
    file.write_text("x", encoding="utf-8")
    started = int((_systemd.time.monotonic() + age) * 1e6)
    unit = Unit({**state, "FragmentPath": str(tmp_path / "gone"), "ExecMainStartTimestampMonotonic": str(started)})
    assert condition(unit, [str(file)]) == expected
    assert unit.stale([str(file)]) == ([str(file)] if age < 0 else [])


def test_drop_ins_count_as_files_of_a_unit(tmp_path: Path) -> None:
    drop_in = tmp_path / "override.conf"
    drop_in.write_text("x", encoding="utf-8")
    started = str(int((_systemd.time.monotonic() - 5) * 1e6))
    assert Unit({**UP, "DropInPaths": str(drop_in), "ExecMainStartTimestampMonotonic": started}).stale([])
