# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person and a host see of the plan."""

from __future__ import annotations

from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import demands


def host_demands(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """What the host must offer: arguments of the module preflight_info."""
    return demands.of(host, plan)
