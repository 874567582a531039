# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker in SQS, out of the plan and what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import sqs

NOTHING: dict[str, Any] = {
    "problems": [],
    "differences": [],
    "differing": [],
    "removable": [],
    "kept": {},
    "stale_policies": [],
}


def sqs_state(plan: Mapping[str, Any], seen: Mapping[str, Any], kms_key: str = "") -> dict[str, Any]:
    """What there is of the broker, held against the plan. What could not be looked at is the one problem then."""
    if "queues" not in seen:
        return {**NOTHING, "problems": [seen["msg"]]}
    differences = sqs.differences(plan, seen, kms_key)
    return {
        "problems": sqs.problems(plan, seen, kms_key),
        "differences": [each["message"] for each in differences],
        "differing": sorted({each["queue"] for each in differences}),
        "removable": sqs.removable(plan, seen),
        "kept": sqs.kept(plan, seen),
        "stale_policies": sqs.stale_policies(plan, seen),
    }
