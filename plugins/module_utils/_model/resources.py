# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much of a machine a component's process is promised (requests), and how much it may take at most (limits).

    {"worker": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}}

A table is by a component's name or, for all of a kind, by kind. Quantities are written as in Kubernetes, whose users know
them (k8s.io/apimachinery, pkg/api/resource).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from .fields import Entry, mapping, matching, nearest, record, scalar
from .problems import Problem

Table = Mapping[str, Mapping[str, Mapping[str, Any]]]

CPU = re.compile(r"(?P<number>[0-9]{1,4}(\.[0-9]{1,3})?)|(?P<thousandths>[0-9]{1,7})m")
MEMORY = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[KMGT]i|[kMGT])?")

_UNITS = {"": 1, **{unit: 1000**power for power, unit in enumerate("kMGT", 1)}}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)}


def _quantity(pattern: re.Pattern[str], meaning: str) -> Any:
    def field(value: Any, where: str, problems: list[Problem]) -> str | None:
        text = scalar(value, where, [])
        if text is not None and pattern.fullmatch(text):
            return text
        problems.append(Problem(where, value, meaning))
        return None

    return field


_amounts = record(
    {
        "cpu": Entry(_quantity(CPU, "CPUs, such as 2, 0.5 or 500m (thousandths)")),
        "memory": Entry(_quantity(MEMORY, "bytes, such as 512Mi or 4Gi")),
    }
)
one = record({"requests": Entry(_amounts, default={}), "limits": Entry(_amounts, default={})})
"""What is said of one process."""

field = mapping(matching(r"[a-z][a-z0-9-]*", "the name of a component or of a kind of component"), one)


def problems(table: Table, components: Iterable[Mapping[str, Any]], others: Iterable[str] = ()) -> list[Problem]:
    """Names that no component has, and promises above what may be taken.

    components: as the plan lists them. others: what runs besides.
    """
    known = ["setup", *dict.fromkeys(name for each in components for name in (each["kind"], each["name"])), *others]
    found = []
    for name, parts in table.items():
        where = f"airflow_resources.{name}"
        if name not in known:
            meant = nearest(name, known)
            right = f"one of {', '.join(known)}" + (f" (did you mean {meant}?)" if meant else "")
            found.append(Problem(where, name, right))
        found += beyond(parts, where)
    return found


def beyond(parts: Mapping[str, Mapping[str, Any]], where: str) -> list[Problem]:
    """Promises above what may be taken. parts: what is said of one process, by the variable where."""
    requests, limits = said(parts).get("requests", {}), said(parts).get("limits", {})
    return [
        Problem(f"{where}.requests.{kind}", request, f"at most its limit, which is {limits[kind]}")
        for kind, request in requests.items()
        if kind in limits and not _is_within(kind, request, limits[kind])
    ]


def of(table: Table, component: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What a table says of a component, by its name or else by its kind; nothing that is not said."""
    return said(table.get(component["name"], table.get(component["kind"], {})))


def said(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What is said of one process, and nothing that is not."""
    found = {part: {kind: text for kind, text in amounts.items() if text} for part, amounts in parts.items()}
    return {part: amounts for part, amounts in found.items() if amounts}


def completed(
    parts: Mapping[str, Mapping[str, str]], requests: Mapping[str, str], limits: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """What is said of one process (said), and of the rest what these say, which give way to it: no request is above its limit."""
    asked, most = parts.get("requests", {}), parts.get("limits", {})
    promised = {**{kind: _lower(kind, text, most.get(kind, text)) for kind, text in requests.items()}, **asked}
    roomy = {kind: text for kind, text in (limits or {}).items() if _is_within(kind, promised.get(kind, "0"), text)}
    allowed = {**roomy, **most}
    return {"requests": promised, **({"limits": allowed} if allowed else {})}


def _lower(kind: str, text: str, other: str) -> str:
    return text if _is_within(kind, text, other) else other


def _is_within(kind: str, text: str, limit: str) -> bool:
    return _NUMBERS[kind](text) <= _NUMBERS[kind](limit)


def cpus(text: str) -> Decimal:
    """A quantity of CPUs as a number. Raises ValueError where it is none."""
    found = CPU.fullmatch(text)
    if not found:
        raise ValueError(text)
    return Decimal(found["number"]) if found["number"] else Decimal(found["thousandths"]) / 1000


def octets(text: str) -> int:
    """A quantity of memory in bytes. Raises ValueError where it is none."""
    found = MEMORY.fullmatch(text)
    if not found:
        raise ValueError(text)
    return int(found["number"]) * _UNITS[found["unit"] or ""]


_NUMBERS: Mapping[str, Callable[[str], Decimal | int]] = {"cpu": cpus, "memory": octets}
