# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How one value of a description is read: a field takes what was found and gives the value, or reports a problem.

A field is a function of (value found, where it stands, problems so far). It appends to the problems and returns None
where the value is wrong. Fields combine: ``listing(record({...}))`` reads a list of dictionaries.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import durations
from .problems import Problem

Field = Callable[[Any, str, list[Problem]], Any]

CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
"""Control characters and whatever else ends a line to one reader or another."""

LONGEST_INTEGER = 128
"""Bits; no setting of Airflow's holds more, and Python writes none without end."""


@dataclass(frozen=True)
class Entry:
    """A key of a record: how its value is read, and what stands for it where it is absent."""

    field: Field
    default: Any = None
    required: bool = False


def matching(pattern: str, meaning: str) -> Field:
    """A text that the whole pattern matches; ``meaning`` says in words what the pattern asks for."""
    compiled = re.compile(pattern)

    def read(value: Any, where: str, problems: list[Problem]) -> str | None:
        if isinstance(value, str) and compiled.fullmatch(value):
            return str(value)
        problems.append(Problem(where, value, meaning))
        return None

    return read


def one_of(*choices: str) -> Field:
    """One of the given words."""

    def read(value: Any, where: str, problems: list[Problem]) -> str | None:
        if isinstance(value, str) and value in choices:
            return str(value)
        near = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        problems.append(Problem(where, value, ("one of " if len(choices) > 1 else "") + ", ".join(choices) + hint))
        return None

    return read


def whole_number(least: int, most: int) -> Field:
    """A whole number from ``least`` to ``most``, also when it was written as text (``-e concurrency=8``)."""

    def read(value: Any, where: str, problems: list[Problem]) -> int | None:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return int(value)
        problems.append(Problem(where, value, f"a whole number from {least} to {most}"))
        return None

    return read


def flag(value: Any, where: str, problems: list[Problem]) -> bool | None:
    """True or false, also when it was written as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
        return value.lower() in ("true", "yes")
    problems.append(Problem(where, value, "true or false"))
    return None


def duration(value: Any, where: str, problems: list[Problem]) -> int | None:
    """A duration, given as seconds."""
    seconds = durations.parse(value) if isinstance(value, str) else None
    if seconds is None:
        problems.append(Problem(where, value, "a duration from 1s to 365d, such as 90s, 30m or 8h"))
    return seconds


def scalar(value: Any, where: str, problems: list[Problem]) -> str | None:
    """A text, number or truth value, given as the text that an ini file holds."""
    is_plain = isinstance(value, (str, float)) or (isinstance(value, int) and value.bit_length() <= LONGEST_INTEGER)
    if is_plain and not CONTROL.search(str(value)):
        return str(value)
    problems.append(Problem(where, value, "a text on one line, a number, true or false"))
    return None


def listing(item: Field, least: int = 1, unique: str | None = None) -> Field:
    """A list; ``unique`` names the key whose value no two records may share, or is "" for lists of plain values."""

    def read(value: Any, where: str, problems: list[Problem]) -> list[Any] | None:
        if not isinstance(value, (list, tuple)):
            problems.append(Problem(where, value, "a list"))
            return None
        if len(value) < least:
            problems.append(Problem(where, list(value), f"a list of at least {least}"))
        before = len(problems)
        items = [item(entry, f"{where}[{index}]", problems) for index, entry in enumerate(value)]
        if unique is not None:
            problems.extend(_repeated(value, where, unique))
        return items if len(problems) == before and len(value) >= least else None

    return read


def words(item: Field) -> Field:
    """A list of different words, also when it was written as one text with commas (``-e airflow_dags_only=etl,ml``)."""
    several = listing(item, unique="")

    def read(value: Any, where: str, problems: list[Problem]) -> list[Any] | None:
        return several(
            [word.strip() for word in value.split(",")] if isinstance(value, str) else value, where, problems
        )

    return read


def record(entries: Mapping[str, Entry]) -> Field:
    """A dictionary with just these keys."""

    def read(value: Any, where: str, problems: list[Problem]) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            problems.append(Problem(where, value, "a dictionary with " + ", ".join(entries)))
            return None
        before = len(problems)
        strangers = [key for key in value if key not in entries]
        problems.extend(Problem(f"{where}.{key}", value[key], _instead_of(str(key), entries)) for key in strangers)
        result = {key: read_entry(entry, value.get(key), f"{where}.{key}", problems) for key, entry in entries.items()}
        return result if len(problems) == before else None

    return read


def mapping(key: Field, item: Field) -> Field:
    """A dictionary whose keys are the user's own."""

    def read(value: Any, where: str, problems: list[Problem]) -> dict[Any, Any] | None:
        if not isinstance(value, Mapping):
            problems.append(Problem(where, value, "a dictionary"))
            return None
        before = len(problems)
        result = {
            key(name, f"a key of {where}", problems): item(entry, f"{where}.{name}", problems)
            for name, entry in value.items()
        }
        return result if len(problems) == before else None

    return read


def read_entry(entry: Entry, value: Any, where: str, problems: list[Problem]) -> Any:
    """The value of a key or variable that may be absent (None)."""
    if value is not None:
        return entry.field(value, where, problems)
    if entry.required:
        before = len(problems)
        entry.field(None, where, problems)
        if len(problems) == before:
            problems.append(Problem(where, None, "given"))
    return entry.default


def nearest(word: str, words: Any, cutoff: float = 0.8) -> str | None:
    """The one of the words that ``word`` may be a slip of the pen for."""
    near = difflib.get_close_matches(word, list(words), 1, cutoff)
    return near[0] if near else None


def _instead_of(key: str, entries: Mapping[str, Entry]) -> str:
    near = nearest(key, entries, 0.6)
    return f"left out (did you mean {near}?)" if near else "left out; the keys are " + ", ".join(entries)


def _repeated(items: Sequence[Any], where: str, key: str) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for index, item in enumerate(items):
        value = item.get(key) if key and isinstance(item, Mapping) else item
        if not isinstance(value, str):
            continue
        if value in first:
            at = f"{where}[{index}]" + (f".{key}" if key else "")
            problems.append(Problem(at, value, f"another one: {where}[{first[value]}] has it already"))
        first.setdefault(value, index)
    return problems
