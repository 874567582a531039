# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sources of a plan on their way into the DAG storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._dags import lock, wanted


def dags_to_stage(plan: Mapping[str, Any], secrets: Mapping[str, str], locked: str = "") -> list[dict[str, Any]]:
    """The sources as dag_sync stages them."""
    try:
        return wanted.wanted(plan, secrets, lock.parse(locked, "airflow_dags_lock_from") if locked else None)
    except (lock.LockError, wanted.LockProblems) as error:
        raise AnsibleFilterError(str(error)) from error
