# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person and a host see of the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import demands, explain, log_store


def host_demands(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """What the host must offer: arguments of the module preflight_info."""
    return demands.of(host, plan)


class FilterModule:
    """Filters over the plan."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as playbooks use them."""
        return {
            "host_demands": host_demands,
            "log_store_policies": log_store.policies,
            "plan_text": explain.text,
        }
