# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the gate says of the sources that it judged. Pure: no Airflow, no I/O.

A finding is ``{"file", "text"}``, a problem is a finding with a ``kind`` and, where it is about one DAG, its ``dag_id``. An
outcome is what came of one file: ``{"source", "file", "seconds", "dags", "problems", "warnings"}``; ``dags`` is
``{dag_id: {"file", "tasks", "queues"}}``, and ``file`` is None where it is about the source as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Report = dict[str, Any]
Finding = dict[str, Any]

LONGEST_TEXT = 600
"""Characters of one finding: a policy's message may name a thousand tasks."""

MOST_LINES = 50
"""Findings of one source that a person is shown; all of them are in the report."""

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_MODULES = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")
"""The modules before an exception's own name."""

_OWN_MODULE = re.compile(r"unusual_prefix_[0-9a-f]{40}_")
"""Airflow's name of a DAG file's module begins with this."""


def of_source(name: str, problems: list[Finding]) -> Report:
    """Make an outcome of problems that are about a source as a whole, or about files that were not parsed."""
    return {"source": name, "file": None, "seconds": 0.0, "dags": {}, "problems": problems, "warnings": []}


def condensed(text: str, root: str) -> str:
    """Make one line of an error: what was raised, and the innermost place in the source that led to it.

    :param text: a traceback, or a message without one
    :param root: the source's directory, as the traceback names it; paths are shown relative to it
    """
    lines = text.splitlines()
    frames = [at for at, line in enumerate(lines) if _FRAME.match(line)]
    below = lines[frames[-1] + 1 :] if frames else lines
    raised = " ".join(line for line in below if frames == [] or (line and not line[0].isspace()))
    message = _MODULES.sub("", one_line(_OWN_MODULE.sub("", (raised or text).replace(f"{root}/", ""))))
    place = innermost(text, root)
    return f"{message} ({place})" if place and place not in message else message


def innermost(text: str, root: str, newest_first: bool = False) -> str | None:
    """Return ``file:line`` of the innermost place in the source that a traceback names.

    :param newest_first: the innermost place stands at the top, as faulthandler writes it
    """
    places = [
        f"{frame['file'].removeprefix(f'{root}/')}:{frame['line']}"
        for frame in map(_FRAME.match, text.splitlines())
        if frame and frame["file"].startswith(f"{root}/")
    ]
    return places[0 if newest_first else -1] if places else None


def one_line(text: str) -> str:
    """Make one line of printable characters, and not a long one."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]} ..."


def listed(names: Iterable[str], most: int = 5) -> str:
    """Name some of many, in quotes."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")


def pool_problems(
    dag_id: str, file: str, pools: Mapping[str, str], known: Iterable[str] | None, foreign: Collection[str] = ()
) -> list[Finding]:
    """Find the pools that do not exist, or that are another team's.

    :param pools: task id -> its pool
    :param known: the pools that there are; None where nobody knows, and nothing is judged
    :param foreign: those of them that are another team's, in which Airflow schedules no task of this one
    """
    if known is None:
        return []
    usable = [pool for pool in known if pool not in foreign]
    tasks: dict[str, list[str]] = {}
    for task, pool in pools.items():
        if pool not in usable:
            tasks.setdefault(pool, []).append(task)
    return [
        {
            "file": file,
            "dag_id": dag_id,
            "kind": "pool",
            "text": one_line(
                f"DAG '{dag_id}' names the pool '{pool}', which {flaw}, in {_tasks(users)}. There are: "
                f"{listed(sorted(usable), 20)}. {advice}"
            ),
        }
        for pool, users in tasks.items()
        for flaw, advice in [_FOREIGN if pool in foreign else _ABSENT]
    ]


_ABSENT = ("does not exist", "Make the pool first, or name one of these.")
_FOREIGN = ("is another team's", "Name one of these.")


def report(names: Sequence[str], outcomes: Iterable[Mapping[str, Any]], elsewhere: Mapping[str, str]) -> Report:
    """Put the outcomes of all files together.

    :param names: the sources that were judged
    :param elsewhere: dag_id -> its source, of the DAGs that other sources have
    :return: ``{"ok", "sources": {name: {"dags", "files", "seconds", "problems", "warnings"}}}``; ``seconds`` is the time
        that the parsing of the source's files took, one after the other
    """
    sources: dict[str, dict[str, Any]] = {
        name: {"dags": {}, "files": 0, "seconds": 0.0, "problems": [], "warnings": []} for name in names
    }
    places: dict[str, list[tuple[str, str]]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: (outcome["source"], outcome["file"] or "")):
        source = sources[outcome["source"]]
        source["files"] += outcome["file"] is not None
        source["seconds"] = round(source["seconds"] + outcome["seconds"], 3)
        source["problems"] += outcome["problems"]
        source["warnings"] += outcome["warnings"]
        for dag_id, dag in outcome["dags"].items():
            source["dags"].setdefault(dag_id, dag)
            places.setdefault(dag_id, []).append((outcome["source"], dag["file"]))
    others = {dag_id: source for dag_id, source in elsewhere.items() if source not in sources}
    for dag_id, users in places.items():
        for name, problem in _duplicates(dag_id, users, others.get(dag_id)):
            sources[name]["problems"].append(problem)
    for source in sources.values():
        source["problems"].sort(key=lambda problem: (problem["file"] or "", problem.get("dag_id", "")))
        if not source["dags"] and not source["problems"] and not source["warnings"]:
            source["warnings"].append({"file": None, "text": "No file of it defines a DAG."})
    return {"ok": not any(source["problems"] for source in sources.values()), "sources": sources}


def message(made: Report, seconds: float) -> str:
    """Write a report for a person: the findings by source and file, then what was judged and how long it took."""
    sources = made["sources"]
    lines = [line for name, source in sources.items() for line in _of_source(name, source)]
    refused = [name for name, source in sources.items() if source["problems"]]
    count = {key: sum(len(source[key]) for source in sources.values()) for key in ("dags", "problems", "warnings")}
    files = sum(source["files"] for source in sources.values())
    tasks = sum(dag["tasks"] for source in sources.values() for dag in source["dags"].values())
    found = (
        f"Refused: {_number(count['problems'], 'problem')} in {', '.join(refused)}" if refused else "Good: no problems"
    )
    lines.append(
        f"{found}, {_number(count['warnings'], 'warning')}. {_number(len(sources), 'source')} with"
        f" {_number(files, 'file')}, {_number(count['dags'], 'DAG')} and {_number(tasks, 'task')}; {seconds:.1f} s."
    )
    return "\n".join(lines)


def _duplicates(dag_id: str, places: Sequence[tuple[str, str]], elsewhere: str | None) -> Iterable[tuple[str, Finding]]:
    """Yield the problems of a dag_id that is used more than once, each with the source that it is about."""
    for at, (name, file) in enumerate(places):
        # In one source the first file is right and the others are wrong; between sources nobody can say.
        others = [
            f"in {other_file}" if other == name else f"in {other_file} of source '{other}'"
            for before, (other, other_file) in enumerate(places)
            if other != name or before < at
        ]
        if elsewhere is not None:
            others.append(f"in source '{elsewhere}'")
        if others:
            text = (
                f"DAG '{dag_id}' is also {', '.join(others[:5])}. A dag_id can be used once on a platform: give this one"
                " another."
            )
            yield name, {"file": file, "dag_id": dag_id, "kind": "duplicate_dag", "text": one_line(text)}


def _of_source(name: str, source: Mapping[str, Any]) -> list[str]:
    findings = [
        *((problem["file"] or "", f"[{problem['kind']}] {problem['text']}") for problem in source["problems"]),
        *((warning["file"] or "", f"[warning] {warning['text']}") for warning in source["warnings"]),
    ]
    if not findings:
        return []
    lines = [f"Source {name}"]
    shown = sorted(findings[:MOST_LINES], key=lambda finding: finding[0])
    for file, of_file in groupby(shown, key=lambda finding: finding[0]):
        lines += [f"  {one_line(file)}"] if file else []
        lines += [f"    {text}" for _file, text in of_file]
    if len(findings) > MOST_LINES:
        lines.append(f"  and {len(findings) - MOST_LINES} more")
    return lines


def _tasks(tasks: Sequence[str]) -> str:
    return f"task {listed(tasks)}" if len(tasks) == 1 else f"tasks {listed(tasks)}"


def _number(count: int, of: str) -> str:
    return f"{count} {of}{'' if count == 1 else 's'}"
