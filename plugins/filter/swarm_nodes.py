# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts that are to be nodes of a Swarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import nodes


class FilterModule:
    """Filters over what the engines say."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as the role uses them."""
        return {"swarm_node_problems": nodes.problems}
