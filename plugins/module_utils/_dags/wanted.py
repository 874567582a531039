# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The sources of a plan as dag_sync takes them. Pure; runs on the controller."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags import lock
from ansible_collections.airstack.backbone.plugins.module_utils._dags.lock import pinned

Records = list[dict[str, Any]]


class LockProblems(Exception):
    """The sources cannot be what another environment's lock says; `problems` says why."""

    def __init__(self, problems: Sequence[str], origin: str = "the lock") -> None:
        self.problems = list(problems)
        listed = "\n".join(f"- {problem}" for problem in self.problems)
        super().__init__(f"These DAGs cannot be deployed as {origin} says; nothing was changed.\n{listed}")


def chosen(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The plan's sources, or those that airflow_dags_only names."""
    only = plan["dags_only"]
    return [source for source in plan["sources"] if only is None or source["name"] in only]


def described(plan: Mapping[str, Any]) -> Records:
    """All sources with the options that say where their content comes from."""
    return [_record(source) for source in plan["sources"]]


def wanted(plan: Mapping[str, Any], secrets: Mapping[str, str], locked: Mapping[str, Any] | None = None) -> Records:
    """What dag_sync is to stage.

    secrets: the platform's, by name. locked: the lock of the environment whose DAGs are deployed (lock.parse); None
    where the description says what is.

    :raises LockProblems: a source cannot be what the lock says
    """
    records = [_record(source) for source in chosen(plan)]
    if locked is not None:
        records, problems = _pinned(plan, locked)
        if problems:
            raise LockProblems(problems)
    options = {source["name"]: source["secret"] for source in plan["sources"] if source["secret"]}
    return [
        {**record, options[record["name"]]["option"]: secrets[options[record["name"]]["name"]]}
        if record["name"] in options
        else record
        for record in records
    ]


def follow_problems(plan: Mapping[str, Any], locked: Mapping[str, Any], versions: Collection[str] = ()) -> list[str]:
    """What keeps the sources from being what another environment's lock says.

    versions: the sources of which somebody asked for a version of their own.
    """
    there = locked["environment"]
    asked = [
        f"source {name}: airflow_dags_versions asks for a version of it, and the lock says which; leave it out, or deploy"
        f" that version to {there} first"
        for name in sorted(versions)
    ]
    return [*_pinned(plan, locked)[1], *asked]


def new(results: Mapping[str, Mapping[str, Any]]) -> Records:
    """Name and path of the releases that are not current yet, of what dag_sync staged."""
    return [{"name": name, "path": result["directory"]} for name, result in results.items() if not result["is_current"]]


def staged(
    results: Mapping[str, Mapping[str, Any]], in_use: Mapping[str, Sequence[str]], is_check: bool = False
) -> Records:
    """What dag_sync is to make current, of what it staged (`results`, by source).

    in_use: releases of unfinished runs, by source. is_check: in check mode, what would have been staged is not there.
    """
    return [
        {"name": name, "release": result["release"], "in_use": list(in_use.get(name, ()))}
        for name, result in results.items()
        if not (is_check and result["changed"] and not result["is_current"])
    ]


def to_roll_back(plan: Mapping[str, Any], release: str = "") -> Records:
    """The sources that airflow_dags_only names, each with the release to go back to, if one is named."""
    return [{"name": source["name"], **({"release": release} if release else {})} for source in chosen(plan)]


def locked_text(
    plan: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], before: Mapping[str, Any] | None
) -> str:
    """The lock file after a deployment. results: of dag_sync, by source."""
    return lock.text(lock.lock(plan["environment"], described(plan), results, before))


def _pinned(plan: Mapping[str, Any], locked: Mapping[str, Any]) -> tuple[Records, list[str]]:
    records = [_record(source) for source in chosen(plan)]
    names = {record["name"] for record in records}
    of_these = locked["sources"].items() if plan["dags_only"] is None else _among(locked["sources"], names)
    return pinned(records, {**locked, "sources": dict(of_these)})


def _among(sources: Mapping[str, Any], names: Collection[str]) -> list[tuple[str, Any]]:
    return [(name, entry) for name, entry in sources.items() if name in names]


def _record(source: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": source["name"], **source["origin"]}
