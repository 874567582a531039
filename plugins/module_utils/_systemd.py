# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Units of a running systemd: what they are like, how they are started together, and whether they come to work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Run = Callable[[Sequence[str]], tuple[int, str, str]]
"""Runs a command: exit code, standard output, standard error."""

PROPERTIES = (
    "Id",
    "Type",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "NeedDaemonReload",
    "NRestarts",
    "InvocationID",
    "FragmentPath",
    "DropInPaths",
    "ExecMainStartTimestampMonotonic",
)

MOST_RESTARTS = 3
"""A unit that ended this often by itself will not come to work by waiting."""

JOURNAL_LINES = 15
POLL = 1.0


class UnitsError(Exception):
    """The units cannot be brought to the wanted state; the message is for a person."""


@dataclass(frozen=True)
class Unit:
    """A unit as systemd sees it."""

    properties: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.properties.get(name, "")

    @property
    def is_loaded(self) -> bool:
        return self["LoadState"] == "loaded"

    @property
    def is_up(self) -> bool:
        """Whether it runs, rather than starting, stopping, waiting for its next try, or lying there."""
        return self["ActiveState"] in ("active", "reloading")

    @property
    def is_down(self) -> bool:
        """Whether nothing of it runs, and nothing will by itself."""
        return self["ActiveState"] in ("inactive", "failed")

    @property
    def is_retrying(self) -> bool:
        """Whether it ended by itself and waits for its next try; systemd 254 tells two stages of that apart."""
        return self["SubState"] in ("auto-restart", "auto-restart-queued")

    @property
    def restarts(self) -> int:
        """How often it was restarted by itself."""
        return int(self["NRestarts"] or 0)

    def started(self) -> float:
        """Seconds since the epoch at which its main process started; 0 where there was none."""
        microseconds = int(self["ExecMainStartTimestampMonotonic"] or 0)
        return time.time() - time.monotonic() + microseconds / 1e6 if microseconds else 0.0

    def stale(self, files: Iterable[str]) -> list[str]:
        """The files that are newer than its main process: its own unit files, drop-ins, and the given ones."""
        own = [self["FragmentPath"], *self["DropInPaths"].split()]
        return [path for path in (*own, *files) if path and _modified(path) > self.started()]


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def parse(text: str) -> list[Unit]:
    """The units in what ``systemctl show`` printed of several, in the order in which they were asked for."""
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n"))
    return [Unit(block) for block in blocks if "Id" in block]


def condition(unit: Unit, files: Iterable[str]) -> str:
    """down where it does not run, or not yet; stale where it has read older files, or is stopping; else current."""
    if unit.is_down or unit.is_retrying:
        return "down"
    if unit["ActiveState"] == "deactivating" or unit.stale(files):
        return "stale"
    return "current" if unit.is_up else "down"


class Systemd:
    """systemctl and journalctl of this host."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def show(self, names: Sequence[str]) -> dict[str, Unit]:
        """The named units; one that does not exist is not loaded.

        Raises UnitsError for a name that systemd knows as another one's alias.
        """
        if not names:
            return {}
        units = parse(self._systemctl("show", f"--property={','.join(PROPERTIES)}", "--", *names))
        others = [f"{name} is {unit['Id']}" for name, unit in zip(names, units) if name != unit["Id"]]
        if others:
            raise UnitsError(f"systemd knows units by other names: {', '.join(others)}; name them as systemd does")
        return {unit["Id"]: unit for unit in units}

    def find(self, patterns: Sequence[str]) -> list[str]:
        """The names of units that match a shell pattern and are loaded, or have a unit file; no aliases."""
        if not patterns:
            return []
        plain = ("--plain", "--no-legend", "--full", "--")
        listed = self._systemctl("list-units", "--all", *plain, *patterns)
        # Finding no unit file is a failure to some versions of systemctl.
        _code, files, _error = self._run(["systemctl", "list-unit-files", *plain, *patterns])
        words = [line.split() for line in (listed + files).splitlines() if line.strip()]
        return sorted({name for name, *state in words if state[:1] != ["alias"]})

    def reload(self) -> None:
        self._systemctl("daemon-reload")

    def enable(self, name: str) -> None:
        self._systemctl("enable", "--", name)

    def queue(self, verb: str, names: Sequence[str], *options: str) -> None:
        """Ask for a change, and do not wait for it."""
        if names:
            self._systemctl(verb, "--no-block", *options, "--", *names)

    def complete(self, name: str) -> bool:
        """Start a unit that ends by itself, wait for its end, and say whether it was a good one."""
        return self._run(["systemctl", "start", "--", name])[0] == 0

    def journal(self, name: str, invocation: str | None = None) -> list[str]:
        """The last lines that a unit wrote and that systemd complained about it, or all that one invocation wrote."""
        self._run(["journalctl", "--sync"])
        complaints = [word for priority in ("3", "4") for word in ("+", f"UNIT={name}", f"PRIORITY={priority}")]
        recent = [f"--lines={JOURNAL_LINES}", f"_SYSTEMD_UNIT={name}", *complaints]
        which = [f"_SYSTEMD_INVOCATION_ID={invocation}"] if invocation else recent
        _code, output, _error = self._run(["journalctl", "--no-pager", "--quiet", "--output=cat", *which])
        return output.rstrip().splitlines()

    def _systemctl(self, *arguments: str) -> str:
        code, output, error = self._run(["systemctl", *arguments])
        if code != 0:
            raise UnitsError(f"systemctl {' '.join(arguments)} failed: {(error or output).strip()}")
        return output


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a unit.

    state: started, restarted, stopped, or completed (for one that ends by itself). timeout: seconds that it may take
    to start and be healthy. health: what is wrong with it, given when it started; None where nothing is.
    """

    name: str
    state: str = "started"
    timeout: int = 300
    health: Callable[[float], str | None] = lambda started: None


@dataclass
class Outcome:
    """changes: what was done, by unit. draining: units that still stop, for which nobody waited longer.

    output: the lines that each completed unit wrote.
    """

    changes: dict[str, str] = field(default_factory=dict)
    draining: list[str] = field(default_factory=list)
    output: dict[str, list[str]] = field(default_factory=dict)


DONE = {"start": "started", "restart": "restarted", "stop": "stopped", "complete": "completed", "enable": "enabled"}


def plan(units: Mapping[str, Unit], wanted: Sequence[Wanted], target: str | None) -> dict[str, str]:
    """What is to be done, by unit: a key of DONE. Units for which nothing is to be done are left out."""
    verbs = {each.name: _verb(each, units[each.name]) for each in wanted}
    if target and not (units[target].is_up and units[target]["UnitFileState"] == "enabled"):
        verbs[target] = "enable"
    return {name: verb for name, verb in verbs.items() if verb}


def _verb(wanted: Wanted, unit: Unit) -> str | None:
    if wanted.state == "completed":
        return "complete"
    if wanted.state == "stopped":
        return None if unit.is_down else "stop"
    if unit.is_down or unit.is_retrying:
        return "start"
    if wanted.state == "restarted":
        return "restart"
    return None if unit.is_up else "start"


def names(wanted: Sequence[Wanted], target: str | None) -> list[str]:
    """The units that ``plan`` and ``apply`` have to see."""
    return [*(each.name for each in wanted), *([target] if target else [])]


def apply(systemd: Systemd, wanted: Sequence[Wanted], target: str | None, patience: int) -> Outcome:
    """Bring the units to the wanted state, all together, and wait until each works.

    target: the target that starts them at boot; it is enabled, and made active without starting anything.
    patience: seconds to wait for units that stop. Raises UnitsError when a unit does not come to work.
    """
    units = systemd.show(names(wanted, target))
    if any(not unit.is_loaded or unit["NeedDaemonReload"] == "yes" for unit in units.values()):
        systemd.reload()
        units = systemd.show(names(wanted, target))
    needed = [*(each.name for each in wanted if each.state != "stopped"), *([target] if target else [])]
    unusable = [f"{name} ({units[name]['LoadState']})" for name in needed if not units[name].is_loaded]
    if unusable:
        raise UnitsError(f"systemd cannot load {', '.join(unusable)}; systemctl status says why")
    verbs = plan(units, wanted, target)
    outcome = Outcome({name: DONE[verb] for name, verb in verbs.items()})
    for each in wanted:
        if verbs.get(each.name) == "complete":
            outcome.output[each.name] = _complete(systemd, each.name)
    for verb in ("stop", "restart", "start"):
        systemd.queue(verb, [name for name, own in verbs.items() if own == verb])
    if target and target in verbs:
        systemd.enable(target)
        systemd.queue("start", [target], "--job-mode=ignore-dependencies")
    waiting = [_Wait(each, verbs[each.name], units[each.name]) for each in wanted if each.name in verbs]
    outcome.draining = _wait(systemd, [each for each in waiting if each.verb != "complete"], patience)
    return outcome


def _complete(systemd: Systemd, name: str) -> list[str]:
    is_good = systemd.complete(name)
    output = systemd.journal(name, systemd.show([name])[name]["InvocationID"] or None)
    if not is_good:
        raise UnitsError(_report(name, "failed", output[-JOURNAL_LINES:]))
    return output


class _Wait:
    """A unit on its way to the wanted state."""

    def __init__(self, wanted: Wanted, verb: str, before: Unit) -> None:
        self.wanted = wanted
        self.verb = verb
        # systemd keeps the InvocationID from activating to active: what starts already is no former process.
        is_starting = verb == "start" and before["ActiveState"] == "activating" and not before.is_retrying
        self._former = "" if is_starting else before["InvocationID"]
        self._restarts = before.restarts
        self._began: float | None = None

    def is_stopping(self, unit: Unit) -> bool:
        if self.verb == "stop":
            return not unit.is_down
        is_former = unit["InvocationID"] == self._former
        return is_former and (self.verb == "restart" or unit["ActiveState"] == "deactivating")

    def problem(self, unit: Unit) -> str | None:
        """What keeps the unit from working; None when it works, or is down as it shall be."""
        if self.verb == "stop":
            return None
        if unit["InvocationID"] == self._former or not unit.is_up:
            return f"is {unit['ActiveState']} ({unit['SubState']}, result {unit['Result']})"
        return self.wanted.health(unit.started())

    def is_hopeless(self, unit: Unit) -> bool:
        """Whether waiting longer would be in vain."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        self._restarts = min(self._restarts, unit.restarts)
        has_ended = unit.is_down and unit["InvocationID"] != self._former
        return has_ended or unit.restarts - self._restarts >= MOST_RESTARTS or now - self._began > self.wanted.timeout


def _wait(systemd: Systemd, waiting: list[_Wait], patience: int) -> list[str]:
    """Wait until all work, or are down; the names of those that still stop when the patience is over."""
    begin = time.monotonic()
    draining: list[str] = []
    while waiting:
        units = systemd.show([each.wanted.name for each in waiting])
        left: list[_Wait] = []
        failures: list[str] = []
        for each in waiting:
            name = each.wanted.name
            if each.is_stopping(units[name]):
                if time.monotonic() - begin < patience:
                    left.append(each)
                else:
                    draining.append(name)
            elif problem := each.problem(units[name]):
                left.append(each)
                if each.is_hopeless(units[name]):
                    failures.append(_report(name, problem, systemd.journal(name)))
        if failures:
            raise UnitsError("\n\n".join(failures))
        waiting = left
        if waiting:
            time.sleep(POLL)
    return sorted(draining)


def _report(name: str, problem: str, journal: Sequence[str]) -> str:
    lines = [f"    {line}" for line in journal] or ["    (nothing)"]
    return "\n".join([f"{name} {problem}. The last lines of its journal (journalctl -u {name}):", *lines])
