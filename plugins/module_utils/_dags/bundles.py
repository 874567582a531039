# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Airflow's REST API says of the DAG bundles that read the releases. Pure: no I/O, no clock.

A bundle is named as its source, its version is a release's name. dags, errors, runs, tasks: lists as the API gives
them. Read from and tried with Airflow 3.3.2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._health import last_line

UNFINISHED = ("queued", "running")
"""States of DagRuns that will still run tasks; a run of which a task was cleared is queued again."""

AT_A_WORKER = ("queued", "running", "restarting")
"""States of task instances that a worker runs or is about to; others start only once their run is unfinished."""

ASK_AGAIN_SECONDS = 5.0
"""A file that was announced and is not parsed since is announced again: a dag-processor that stops loses requests."""

WAITING = 50
"""Files of one bundle that may wait to be parsed because they were announced: they go before all other files."""

SHOWN = 5
"""DAGs that a message names."""


def strays(runs: Iterable[Mapping[str, Any]], tasks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(dag_id, run_id) of tasks at a worker whose run is not among the unfinished ones."""
    known = {(run["dag_id"], run["dag_run_id"]) for run in runs}
    return sorted({(task["dag_id"], task["dag_run_id"]) for task in tasks} - known)


def describe(
    names: Collection[str] | None,
    dags: list[dict[str, Any]],
    errors: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    tasks: list[dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Each bundle as the module dag_bundle_info returns it; those that the API knows of where no names are given.

    runs: the unfinished ones and those of tasks at a worker.
    """
    bundle_of = {dag["dag_id"]: dag["bundle_name"] for dag in dags}
    used = list(_used(runs, tasks, bundle_of))
    known = {*bundle_of.values(), *(error["bundle_name"] for error in errors), *(bundle for bundle, _release in used)}
    return {
        name: _described(name, dags, errors, {release for bundle, release in used if bundle in (name, None)})
        for name in sorted(known - {None} if names is None else set(names))
    }


def _described(name: str, dags: list[dict[str, Any]], errors: list[dict[str, Any]], in_use: set[str]) -> dict[str, Any]:
    own = [dag for dag in dags if dag["bundle_name"] == name]
    versions = Counter(dag["bundle_version"] for dag in own if dag["bundle_version"])
    return {
        "versions": dict(sorted(versions.items())),
        "dags": sorted(dag["dag_id"] for dag in own),
        "import_errors": _shown(error for error in errors if error["bundle_name"] == name),
        "in_use": sorted(in_use),
        "needed": sorted(in_use | set(versions)),
    }


def _used(
    runs: Iterable[Mapping[str, Any]], tasks: Iterable[Mapping[str, Any]], bundle_of: Mapping[str, str]
) -> Iterator[tuple[str | None, str]]:
    """(bundle, release) pairs, the bundle None where nothing tells whose release it is.

    A worker runs a task with the release of its DagRun. That of the DAG's version, which moves on with later releases
    while the DAG looks the same, is what callbacks of the task run with.
    """
    for run in runs:
        version: Mapping[str, Any] = next(iter(run["dag_versions"]), {})
        bundle = version.get("bundle_name") or bundle_of.get(run["dag_id"])
        yield from ((bundle, of["bundle_version"]) for of in (run, version) if of.get("bundle_version"))
    for task in tasks:
        version = task["dag_version"] or {}
        if version.get("bundle_version"):
            yield version["bundle_name"] or bundle_of.get(task["dag_id"]), version["bundle_version"]


def _shown(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    shown = [{"file": error["filename"], "text": error["stack_trace"]} for error in errors]
    return sorted(shown, key=lambda error: error["file"])


# --- how far Airflow is with a release --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """How far Airflow is with a release of one bundle.

    dags: all that it has of the bundle. behind: those that are not as the release has them. former_errors: files whose
    import error comes from another release. is_taken_up: the dag-processor reads the release.
    """

    dags: tuple[str, ...]
    behind: tuple[str, ...]
    former_errors: tuple[str, ...]
    import_errors: tuple[dict[str, str], ...]
    is_taken_up: bool

    @property
    def is_seen(self) -> bool:
        return self.is_taken_up and not self.behind and not self.former_errors


class Told(NamedTuple):
    """When a file was announced, on the caller's clock, and when Airflow had parsed it last by then."""

    at: float
    parsed: str | None


def standing(
    bundle: str,
    release: str,
    dags: list[dict[str, Any]],
    errors: list[dict[str, Any]],
    *,
    expected: Collection[str] | None = None,
    written: Collection[str] | None = None,
    was_empty: bool = True,
    fresh: Collection[str] = (),
) -> Standing:
    """Where Airflow stands, from the bundle's DAGs that are not stale and its import errors.

    expected: all DAGs of the release, where they are known. written: DAGs of which a version with the release is stored;
    not looked at when None. was_empty: whether there were neither DAGs nor import errors when the release was
    announced; otherwise a bundle without any tells of a release without any. fresh: files whose import error is of after the
    announcement: of one whose traceback names no file of any release, nothing else tells.

    A DAG's bundle_version alone tells too little. What is announced, what waits in the dag-processor's queue and what
    it is parsing when it takes up a release is read from the former one and stored as the new one's
    (dag_processing/manager.py: DagFileInfo.bundle_path, persist_parsing_result); fileloc tells. And a DAG that was
    written less than [core] min_serialized_dag_update_interval ago keeps its tasks as they were.
    """
    read = [
        dag for dag in dags if dag["bundle_version"] == release and f"/{bundle}/releases/{release}/" in dag["fileloc"]
    ]
    current = {dag["dag_id"] for dag in read if written is None or dag["dag_id"] in written}
    known = {dag["dag_id"] for dag in dags}
    gone = _gone(dags, read) if expected is None else known - set(expected)
    named = {error["filename"]: _releases(bundle, error["stack_trace"]) for error in errors}
    return Standing(
        dags=tuple(sorted(known - gone)),
        behind=tuple(sorted((known | set(expected or ())) - current - gone)),
        former_errors=tuple(sorted(file for file, releases in named.items() if releases and release not in releases)),
        import_errors=tuple(_shown(errors)),
        is_taken_up=any(dag["bundle_version"] == release for dag in dags)
        or any(release in releases or (not releases and file in fresh) for file, releases in named.items())
        or not (was_empty or dags or errors),
    )


def to_tell(
    seen: Standing,
    release: str,
    dags: Iterable[Mapping[str, Any]],
    errors: Iterable[Mapping[str, Any]],
    told: Mapping[str, Told],
    now: float,
) -> dict[str, str | None]:
    """The files to announce now, in this order: when each was parsed last, by its token.

    dags: those of the bundle; with the stale ones of files that cannot be read, once the release is taken up.

    One makes the dag-processor take up the release. That one is read from the former release once more, so a DAG that
    is paused goes first. When the release is taken up, everything that is behind is announced; the dag-processor parses
    first what was announced last, which are those that stand as the release's and are not.
    """
    if seen.is_taken_up:
        behind = [dag for dag in dags if dag["dag_id"] in seen.behind or dag["relative_fileloc"] in seen.former_errors]
        wanted = sorted(behind, key=lambda dag: (dag["bundle_version"] == release, dag["dag_id"]))
    else:
        wanted = sorted(dags, key=lambda dag: (not dag["is_paused"], dag["dag_id"]))[:1]
    failed = {error["filename"]: error["timestamp"] for error in errors}
    files = {dag["file_token"]: failed.get(dag["relative_fileloc"], dag["last_parsed_time"]) for dag in wanted}
    due = {token: parsed for token, parsed in files.items() if _is_due(told.get(token), parsed, now)}
    # The last ones, since they matter most
    most = max(0, WAITING - (len(files) - len(due)))
    return dict(list(due.items())[-most:] if most else [])


def explain(bundle: str, release: str, seen: Standing | None, *, was_told: bool, seconds: float) -> str:
    """What a person should know of a release that was not seen whole."""
    look = "look at the log of the DAG processor (`journalctl -u airflow-dag-processor` on the hosts that run it under systemd)"
    if seen is None or not seen.is_taken_up:
        silent = (
            ""
            if was_told
            else ", which could not be announced, since Airflow knows no DAG of the bundle: a new source becomes a bundle"
            " with site.yml, and the release of another one is found by its refresh_interval alone"
        )
        return f"{bundle}: Airflow did not take up the release {release} within {seconds:.0f} s{silent}; {look}"
    late = [*seen.behind, *seen.former_errors]
    names = ", ".join(late[:SHOWN]) + (f" and {len(late) - SHOWN} more" if len(late) > SHOWN else "")
    return f"{bundle}: Airflow did not parse {names} of the release {release} within {seconds:.0f} s; {look}"


def broken(bundle: str, release: str, seen: Standing) -> str:
    """What a person should know of a release that was seen, and of which files cannot be read; empty where all can."""
    errors = [f"{error['file']}: {last_line(error['text'])}" for error in seen.import_errors]
    listed = [*errors[:SHOWN], *([f"and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else [])]
    head = f"{bundle}: Airflow has the release {release}, and cannot import"
    return "\n  ".join([head, *listed]) if errors else ""


def _releases(bundle: str, text: str) -> set[str]:
    return set(re.findall(rf"/{re.escape(bundle)}/releases/([^/\s\"']+)/", text))


def _gone(dags: list[dict[str, Any]], read: list[dict[str, Any]]) -> set[str]:
    """DAGs that their file, which was read since, does not define any more. They stay until Airflow looks for such."""
    read_at = {dag["relative_fileloc"]: _parsed(dag) for dag in sorted(read, key=_parsed)}
    return {
        dag["dag_id"] for dag in dags if dag not in read and _parsed(dag) < read_at.get(dag["relative_fileloc"], "")
    }


def _parsed(dag: Mapping[str, Any]) -> str:
    """When a DAG was parsed last, as text that sorts by time."""
    return (dag["last_parsed_time"] or "").rstrip("Z")


def _is_due(told: Told | None, parsed: str | None, now: float) -> bool:
    return told is None or told.parsed != parsed or now - told.at >= ASK_AGAIN_SECONDS
