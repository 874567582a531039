# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock of the DAG sources that an environment deployed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._dags import lock, parity, wanted


def dags_lock_text(
    plan: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], before: str = "", origin: str = lock.FILE
) -> str:
    """The file that says what an environment deployed last."""
    return wanted.locked_text(plan, results, _parse(before, origin) if before.strip() else None)


def dags_parity(first: str, second: str, origins: Sequence[str] = (lock.FILE,) * 2, only: Sequence[str] = ()) -> str:
    """Where two environments differ, as a person reads it."""
    return parity.text(_parse(first, origins[0]), _parse(second, origins[1]), only)


def dags_differing(
    first: str, second: str, origins: Sequence[str] = (lock.FILE,) * 2, only: Sequence[str] = ()
) -> list[str]:
    """The sources of which two environments do not hold the same content."""
    return parity.differing(_parse(first, origins[0]), _parse(second, origins[1]), only)


def dags_not_deployed(
    first: str, second: str, origins: Sequence[str] = (lock.FILE,) * 2, only: Sequence[str] = ()
) -> dict[str, str]:
    """Of the sources that differ, those that the first environment has not deployed, each with what to do."""
    return parity.not_deployed(_parse(first, origins[0]), _parse(second, origins[1]), only)


def dags_lock_problems(content: str, origin: str = lock.FILE) -> list[str]:
    """Why an environment's lock cannot be written on."""
    if content.strip():
        try:
            lock.parse(content, origin)
        except lock.LockError as error:
            return [str(error)]
    return []


def dags_follow_problems(plan: Mapping[str, Any], content: str, origin: str, versions: Sequence[str] = ()) -> list[str]:
    """Why an environment cannot deploy what another one's lock says."""
    if not content.strip():
        missing = (
            f"airflow_dags_lock_from says that these are the DAGs of {origin}, and there is no such file, or nothing in"
            " it: deploy to its environment first, or correct the path, which begins in the inventory's directory."
        )
        return [missing]
    try:
        problems = wanted.follow_problems(plan, lock.parse(content, origin), versions)
    except lock.LockError as error:
        return [str(error)]
    return [str(wanted.LockProblems(problems, origin))] if problems else []


def _parse(content: str, origin: str) -> dict[str, Any]:
    try:
        return lock.parse(content, origin)
    except lock.LockError as error:
        raise AnsibleFilterError(str(error)) from error
