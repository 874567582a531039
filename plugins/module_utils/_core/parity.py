# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether two environments have the same core, from their locks, and as a person reads it. Pure.

The same core is the same image, by its digest, or the same locks of virtual environments. The image may be in another registry,
and another commit may have described it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._model.explain import section

_DECIDES = {"airflow_version": "Airflow", "digest": "image", "wheelhouse": "wheelhouse", "backbone": "airflow_backbone"}
_IS_SHOWN = {"image": "comes from", "commit": "commit"}

_SHOWN = 12
"""Digits of a hash that a person compares; what comes after them is left out."""


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What makes the cores of two locks two, in words."""
    return [word for word, one, other in _rows(first, second, _DECIDES) if one != other]


def text(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """A table of what the two locks say, and one line that sums it up."""
    one, other = first["environment"], second["environment"]
    rows = [(row.word, _cell(row.first, row.second)) for row in _rows(first, second, {**_DECIDES, **_IS_SHOWN})]
    different = bool(differing(first, second))
    summary = f"{one} and {other} have {'different cores' if different else 'the same core'}"
    return f"{section(f'Core ({one} / {other})', ('of it', 'what'), rows)}\n\n{summary}"


class _Row(NamedTuple):
    word: str
    first: str | None
    second: str | None


def _rows(first: Mapping[str, Any], second: Mapping[str, Any], words: Mapping[str, str]) -> list[_Row]:
    """What either of two locks says, and the lock of each Python and the wheels that either has."""
    rows = [_Row(word, first.get(key), second.get(key)) for key, word in words.items() if key in first or key in second]
    for key, word in (("locks", "lock "), ("packages", "")):
        one, other = first.get(key, {}), second.get(key, {})
        rows += [_Row(f"{word}{name}", one.get(name), other.get(name)) for name in sorted({*one, *other})]
    return rows


def _cell(first: str | None, second: str | None) -> str:
    return "same" if first == second else f"{_short(first)} / {_short(second)}"


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    digits = value.removeprefix("sha256:")
    is_hash = len(digits) >= 40 and not set(digits) - set("0123456789abcdef")
    return digits[:_SHOWN] if is_hash else value
