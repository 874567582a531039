# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether two environments hold the same DAGs, from their locks, and as a person reads it. Pure.

The same DAGs are the same content, which `tree` is the hash of. Another commit may hold the same content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.lock import compare
from ansible_collections.airstack.backbone.plugins.module_utils._model.explain import section

_COLUMNS = {"tree": "content", "commit": "commit", "origin": "comes from"}

_SHOWN = 12
"""Digits of a hash that a person compares; what comes after them is left out."""


def differing(first: Mapping[str, Any], second: Mapping[str, Any], only: Sequence[str] = ()) -> list[str]:
    """The sources whose content differs, or which one of two locks does not have.

    :param only: the sources to look at; all, if none is named. One that neither lock has is among the result.
    """
    differences = {each.source for each in compare(first, second) if each.what in ("source", "tree")}
    return [name for name in _names(first, second, only) if name in differences or _is_in_neither(name, first, second)]


def not_deployed(first: Mapping[str, Any], second: Mapping[str, Any], only: Sequence[str] = ()) -> dict[str, str]:
    """Of the sources that differ, those that the first lock does not have, each with what to do: nothing deploys them there."""
    one, other = first["environment"], second["environment"]
    return {
        name: f"{name}: neither {one} nor {other} has deployed it; correct airflow_dags_only, or deploy it in {one} first"
        if _is_in_neither(name, first, second)
        else f"{name}: {one} has not deployed it; deploy it there first, or take it out of {other}'s airflow_dag_sources"
        for name in differing(first, second, only)
        if name not in first["sources"]
    }


def text(first: Mapping[str, Any], second: Mapping[str, Any], only: Sequence[str] = ()) -> str:
    """A table of the sources, and one line that sums it up."""
    one, other = first["environment"], second["environment"]
    names = _names(first, second, only)
    different = len(differing(first, second, only))
    table = section(f"Sources ({one} / {other})", ("source", *_COLUMNS.values()), _rows(first, second, names))
    if different:
        summary = f"{different} of {len(names)} sources {'differs' if different == 1 else 'differ'}"
    else:
        summary = f"{one} and {other} hold the same DAGs"
    return f"{table}\n\n{summary}"


def _names(first: Mapping[str, Any], second: Mapping[str, Any], only: Sequence[str]) -> list[str]:
    return sorted({*only} or {*first["sources"], *second["sources"]})


def _is_in_neither(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return name not in first["sources"] and name not in second["sources"]


def _rows(first: Mapping[str, Any], second: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, ...]]:
    found = {(each.source, each.what): each for each in compare(first, second)}

    def cell(name: str, what: str) -> str:
        difference = found.get((name, what))
        if difference is None:
            return "same"
        return " / ".join(_short(value) for value in (difference.first, difference.second))

    def row(name: str) -> tuple[str, ...]:
        if _is_in_neither(name, first, second):
            return (name, "in neither", "-", "-")
        if (name, "source") in found:
            place = first if name in first["sources"] else second
            return (name, f"only in {place['environment']}", "-", "-")
        return (name, *(cell(name, what) for what in _COLUMNS))

    return [row(name) for name in names]


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    is_hash = len(value) >= 40 and not set(value) - set("0123456789abcdef")
    return value[:_SHOWN] if is_hash else value
