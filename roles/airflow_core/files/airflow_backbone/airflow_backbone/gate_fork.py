# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The process that imports Airflow once, and forks one process for each file that the gate judges.

``python -m airflow_backbone.gate_fork``, started by :mod:`airflow_backbone.gate`, reads ``{"sources": [{"name", "path",
"parse_budget", "foreign_pools"}], "pools", "seconds", "jobs"}`` from stdin. It writes one line of JSON for each file, an
outcome as :mod:`airflow_backbone.gate_report` has it, after one that only names source and file when it begins with it. A
line with ``failed`` is the last one: nothing can be judged.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from airflow_backbone import gate_sandbox
from airflow_backbone.gate_report import Finding, condensed, innermost, of_source, one_line

Emit = Callable[[dict[str, Any]], None]

PATIENCE = 2
"""A file is stopped after so many times its parse budget: long enough to tell how slow a slow one is."""

TRACE_MARGIN = 5.0
"""Seconds after the time limit that faulthandler has to write down where the file was."""

ADVICE = "Do what takes long in its tasks, not at the top of the file."


@dataclass(frozen=True)
class File:
    """A file to judge. root: the source's directory. path: the file's. budget: seconds that it may take.

    foreign_pools: those of another team than the source's.
    """

    source: str
    root: str
    path: str
    budget: float
    foreign_pools: tuple[str, ...]

    @property
    def name(self) -> str:
        return os.path.relpath(self.path, self.root)

    @property
    def limit(self) -> float:
        return self.budget * PATIENCE

    def outcome(
        self,
        seconds: float,
        dags: dict[str, Any] | None = None,
        problems: Iterable[Finding] = (),
        warnings: Iterable[Finding] = (),
    ) -> dict[str, Any]:
        found = {"dags": dags or {}, "problems": [*problems], "warnings": [*warnings]}
        return {"source": self.source, "file": self.name, "seconds": round(seconds, 3), **found}

    def refused(self, kind: str, text: str, seconds: float = 0.0) -> dict[str, Any]:
        return self.outcome(seconds, problems=[self.problem(kind, text)])

    def problem(self, kind: str, text: str) -> Finding:
        return {"file": self.name, "kind": kind, "text": one_line(text)}


class Child:
    """The process that parses one file: its answer and its last traceback are files in memory, which it inherits."""

    def __init__(self, file: File, pools: Iterable[str] | None, inherited: Iterable[int]) -> None:
        self.file = file
        self._answer, self._trace = os.memfd_create("answer"), os.memfd_create("trace")
        self._began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._parse(pools, inherited)

    @property
    def descriptors(self) -> tuple[int, int]:
        return self._answer, self._trace

    @property
    def ends_at(self) -> float:
        return self._began + self.file.limit + TRACE_MARGIN

    def _parse(self, pools: Iterable[str] | None, inherited: Iterable[int]) -> NoReturn:
        code, own = 1, os.getpid()
        try:
            gate_sandbox.end_with_parent()
            os.setsid()
            for descriptor in inherited:
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            try:
                gate_sandbox.confine(self.file.limit)
                faulthandler.enable(self._trace)
                faulthandler.dump_traceback_later(self.file.limit, file=self._trace)

                from airflow_backbone.gate_parse import judge

                found = judge(self.file.source, self.file.root, self.file.path, pools, self.file.foreign_pools)
            except BaseException:
                problem = self.file.problem("crash", condensed(traceback.format_exc(), self.file.root))
                found = {"seconds": time.monotonic() - self._began, "problems": [problem]}
            made = json.dumps(found).encode()
            # A file that forks comes here twice.
            if os.getpid() == own:
                os.ftruncate(self._answer, 0)
                os.lseek(self._answer, 0, os.SEEK_SET)
                with open(self._answer, "wb", closefd=False) as answer:
                    answer.write(made)
                code = 0
        finally:
            os._exit(code)

    def end(self) -> int:
        """Kill it and its group, and return its status as ``waitpid`` has it."""
        # Before it is waited for: until then nobody else can have its number.
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return os.waitpid(self.pid, 0)[1]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)

    def outcome(self, status: int) -> dict[str, Any]:
        """What came of the file, after the process ended by itself."""
        try:
            if status != 0:
                raise ValueError(status)
            outcome = self.file.outcome(**json.loads(self._read(self._answer)))
        # What is no answer of its own: the file may have written anywhere.
        except (ValueError, TypeError):
            text = f"It ended the process that parsed it, {_ended(status)}{self._at()}."
            return self.file.refused("crash", text, time.monotonic() - self._began)
        taken = outcome["seconds"]
        if taken > self.file.budget:
            text = f"It took {taken:.1f} s to parse, and {self.file.budget:g} s are allowed. {ADVICE}"
            outcome["problems"].append(self.file.problem("slow", text))
        return outcome

    def overdue(self) -> dict[str, Any]:
        """What came of the file, after the process was ended at its time limit."""
        seconds = time.monotonic() - self._began
        text = f"It was still being parsed after {seconds:.0f} s{self._at()}, and was stopped."
        if seconds > self.file.limit:
            text += f" {self.file.budget:g} s are allowed. {ADVICE}"
        else:
            text += " The time for all files was over."
        return self.file.refused("timeout", text, seconds)

    def _at(self) -> str:
        place = innermost(self._read(self._trace).decode(errors="replace"), self.file.root, newest_first=True)
        return f" at {place}" if place else ""

    @staticmethod
    def _read(descriptor: int) -> bytes:
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()


class Nursery:
    """All the processes that parse, at most ``jobs`` at a time."""

    def __init__(self, job: dict[str, Any], emit: Emit, inherited: Iterable[int]) -> None:
        self._pools, self._jobs, self._emit, self._inherited = job["pools"], job["jobs"], emit, [*inherited]
        self._deadline = time.monotonic() + job["seconds"]
        self._children: dict[int, Child] = {}

    def judge(self, files: Iterable[File]) -> None:
        from airflow_backbone.gate_parse import import_ahead

        waiting = deque(files)
        while waiting or self._children:
            if time.monotonic() >= self._deadline:
                self._end_all(waiting)
                return
            if waiting and len(self._children) < self._jobs:
                file = waiting.popleft()
                self._emit({"source": file.source, "file": file.name})
                import_ahead(file.path)
                self._start(file)
            else:
                self._wait()
            self._collect()

    def _start(self, file: File) -> None:
        others = [descriptor for child in self._children.values() for descriptor in child.descriptors]
        child = Child(file, self._pools, [*self._inherited, *others])
        self._children[child.pid] = child

    def _wait(self) -> None:
        """Wait until a child ended, or the first one has to be."""
        ends_at = min(self._deadline, *(child.ends_at for child in self._children.values()))
        signal.sigtimedwait([signal.SIGCHLD], max(0.0, ends_at - time.monotonic()))

    def _collect(self) -> None:
        for child in [*self._children.values()]:
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None or time.monotonic() >= child.ends_at:
                status = child.end()
                self._take(child, child.overdue() if ended is None else child.outcome(status))

    def _end_all(self, waiting: Iterable[File]) -> None:
        for child in [*self._children.values()]:
            child.end()
            self._take(child, child.overdue())
        for source, left in Counter(file.source for file in waiting).items():
            text = f"{left} of its files were not judged: the time for all files was over before."
            self._emit(of_source(source, [{"file": None, "kind": "timeout", "text": text}]))

    def _take(self, child: Child, outcome: dict[str, Any]) -> None:
        self._emit(outcome)
        child.close()
        del self._children[child.pid]


def find(source: dict[str, Any], emit: Emit) -> list[File]:
    """Find the files of a source, and report what cannot be read."""
    from airflow_backbone import gate_parse

    name, root = source["name"], source["path"]
    problems = gate_parse.unreadable(root)
    try:
        found = gate_parse.files(root)
    except Exception as error:
        found = []
        text = one_line(f"Its files cannot be found: {error}".replace(root, "."))
        problems.append({"file": None, "kind": "import_error", "text": text})
    if problems:
        emit(of_source(name, problems))
    foreign = tuple(source["foreign_pools"])
    return [File(name, root, path, source["parse_budget"], foreign) for path in found if os.access(path, os.R_OK)]


def _ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"with exit code {code} as os._exit() does"
    name = signal.Signals(-code).name
    reasons = {"SIGKILL": " as the kernel does where memory is short", "SIGXCPU": " after too much CPU time"}
    return f"by {name}{reasons.get(name, '')}"


def _own_output() -> int:
    """Keep stdout for this module's lines alone, under another number."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return kept


def main() -> int:
    job = json.load(sys.stdin)
    gate_sandbox.end_with_parent()
    output = _own_output()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])

    def emit(line: dict[str, Any]) -> None:
        os.write(output, json.dumps(line).encode() + b"\n")

    try:
        from airflow_backbone import gate_parse

        if not gate_parse.policy_is_active():
            raise LookupError("the package airflow_backbone is not installed in it, so that no queue would be judged")
        gate_parse.warm_up()
        nursery = Nursery(job, emit, [output])
        files = [file for source in job["sources"] for file in find(source, emit)]
        nursery.judge(files)
    except Exception as error:
        emit({"failed": one_line(f"{type(error).__name__}: {error}")})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
