# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RabbitMQ's definitions, out of the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import rabbitmq


class FilterModule:
    """Filters over the plan's broker."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as playbooks use them."""
        return {
            "rabbitmq_external_state": rabbitmq.external,
            "rabbitmq_missing_copies": rabbitmq.missing_copies,
            "rabbitmq_state": rabbitmq.state,
            "rabbitmq_topology": rabbitmq.topology,
            "rabbitmq_users": rabbitmq.users,
        }
