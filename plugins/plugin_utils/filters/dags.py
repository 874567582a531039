# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sources of a plan on their way into the DAG storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._dags import lock, wanted


def dags_to_stage(plan: Mapping[str, Any], secrets: Mapping[str, str], locked: str = "") -> list[dict[str, Any]]:
    """The sources as dag_sync stages them."""
    try:
        return wanted.wanted(plan, secrets, lock.parse(locked, "airflow_dags_lock_from") if locked else None)
    except (lock.LockError, wanted.LockProblems) as error:
        raise AnsibleFilterError(str(error)) from error


def dags_to_gate(staged: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The releases that the gate is to look at, of what dag_sync staged."""
    return wanted.new(staged)


def dags_to_switch(
    staged: Mapping[str, Mapping[str, Any]], in_use: Mapping[str, Sequence[str]], is_check: bool = False
) -> list[dict[str, Any]]:
    """What dag_sync is to make current, of what it staged."""
    return wanted.staged(staged, in_use, is_check=is_check)


def dags_to_roll_back(plan: Mapping[str, Any], release: str = "") -> list[dict[str, Any]]:
    """The sources that go back to an earlier release."""
    return wanted.to_roll_back(plan, release)
