# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the gate is asked to judge, from a JSON document or from the command line. No Airflow in here."""

from __future__ import annotations

import json
import math
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from airflow_backbone.routing import Routing, RoutingError

PARSE_BUDGET = 30.0
"""Seconds that one file may take: [core] dagbag_import_timeout, after which the DAG processor gives it up."""

TIMEOUT = 300.0

LONGEST = 86400
"""Seconds that anything may take at most."""

ALWAYS_THERE = "default_pool"
"""The pool that Airflow makes itself, and that nobody can remove."""


class GateError(Exception):
    """Nothing can be judged."""


@dataclass(frozen=True)
class Source:
    """A source to judge. path: the directory of its DAGs. parse_budget: seconds that one of its files may take.

    foreign_pools: the pools that there are, and that are another team's.
    """

    name: str
    path: Path
    parse_budget: float
    foreign_pools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What is to be judged, and by what: see :mod:`airflow_backbone.gate`.

    ``known_pools`` is None where pools are not judged.
    """

    routing: Mapping[str, Any]
    sources: tuple[Source, ...]
    dags_elsewhere: Mapping[str, str]
    known_pools: tuple[str, ...] | None
    settings: Mapping[str, Mapping[str, Any]]
    timeout: float
    jobs: int
    user: str | None

    @classmethod
    def read(cls, stream: TextIO) -> Job:
        """Read a JSON document.

        :raises GateError: naming what is wrong with it
        """
        try:
            return cls.parse(json.load(stream))
        except ValueError as error:
            raise GateError(f"The job on stdin is no JSON: {error}.") from None

    @classmethod
    def parse(cls, data: Any) -> Job:
        """Build it from the decoded document.

        :raises GateError: naming what is wrong
        """
        _require(isinstance(data, dict), "it is no dictionary")
        unknown = [key for key in data if key not in _KEYS]
        _require(not unknown, f"it has {', '.join(unknown)}, and may have {', '.join(_KEYS)}")
        routing = data.get("routing")
        try:
            known = Routing.parse(routing).sources
        except RoutingError as error:
            raise GateError(f"The job's routing cannot be used: {error}.") from None
        pools, settings, elsewhere = data.get("pools"), data.get("settings") or {}, data.get("dags_elsewhere") or {}
        user = data.get("user")
        _require(pools is None or _is_list_of_text(pools), "pools is no list of names")
        _require(
            isinstance(elsewhere, dict) and _is_list_of_text(list(elsewhere.values())),
            "dags_elsewhere is no dictionary of dag_id and source",
        )
        _require(
            isinstance(settings, dict) and all(isinstance(keys, dict) for keys in settings.values()),
            "settings is no dictionary of sections",
        )
        _require(user is None or isinstance(user, str), "user is no name")
        return cls(
            routing=routing,
            sources=_sources(data.get("sources"), known),
            dags_elsewhere=elsewhere,
            known_pools=None if pools is None else tuple(dict.fromkeys((ALWAYS_THERE, *pools))),
            settings=settings,
            timeout=_positive(data, "timeout", TIMEOUT),
            jobs=math.ceil(_positive(data, "jobs", len(os.sched_getaffinity(0)))),
            user=user,
        )

    @classmethod
    def of_options(cls, options: Namespace) -> Job:
        """Build it from the command line. Where no queues are given, queues are not judged.

        :raises GateError: naming what is wrong
        """
        directories = dict(_pair(text, "--source") for text in options.source)
        queues = {name: text.split(",") for name, text in (_pair(each, "--queues") for each in options.queues or [])}
        strange = [name for name in queues if name not in directories]
        if strange:
            raise GateError(f"--queues names {', '.join(strange)}, and --source does not.")
        lacking = [name for name in directories if queues and name not in queues]
        if lacking:
            raise GateError(
                f"--queues says nothing of {', '.join(lacking)}: name what each source may use, or no queue."
            )
        routing = {
            "mode": "enforce" if queues else "assign",
            "storage": "/",
            "sources": {
                name: {"queues": queues.get(name, []), "default_queue": queues[name][0] if queues else "default"}
                for name in directories
            },
        }
        return cls.parse(
            {
                "routing": routing,
                "sources": [
                    {"name": name, "path": str(Path(path).absolute()), "parse_budget": options.parse_budget}
                    for name, path in directories.items()
                ],
                "pools": None if options.pools is None else options.pools.split(","),
                "timeout": options.timeout,
                "jobs": options.jobs,
                "user": options.user,
            }
        )


_KEYS = ("routing", "sources", "dags_elsewhere", "pools", "settings", "timeout", "jobs", "user")


def _sources(entries: Any, known: Iterable[str]) -> tuple[Source, ...]:
    _require(isinstance(entries, list) and bool(entries), "sources is no list, or an empty one")
    found: list[Source] = []
    for entry in entries:
        _require(isinstance(entry, dict), f"{entry!r} in sources is no dictionary")
        name, path = entry.get("name"), entry.get("path")
        _require(isinstance(name, str) and isinstance(path, str), f"{entry!r} in sources lacks name or path")
        _require(name not in (source.name for source in found), f"the source '{name}' is there twice")
        _require(name in known, f"the routing does not know the source '{name}'")
        _require("/" not in name and name not in ("", ".", ".."), f"'{name}' cannot be a source's name")
        _require(Path(path).is_absolute(), f"the path of source '{name}' is {path!r}, and must be absolute")
        if not Path(path).is_dir():
            raise GateError(f"Source '{name}' is to be judged in {path}, which is no directory.")
        foreign = entry.get("foreign_pools") or []
        _require(_is_list_of_text(foreign), f"foreign_pools of source '{name}' is no list of names")
        found.append(Source(name, Path(path), _positive(entry, "parse_budget", PARSE_BUDGET), tuple(foreign)))
    return tuple(found)


def _positive(data: Mapping[str, Any], key: str, default: float) -> float:
    value = default if data.get(key) is None else data[key]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    _require(is_number and 0 < value <= LONGEST, f"{key} is {value!r}, and must be a number above 0, up to {LONGEST}")
    return float(value)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise GateError(f"{option} {text}: it must read NAME=..., such as {option} etl=...")
    return name, value


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise GateError(f"The job is wrong: {otherwise}.")
