# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis's users and settings, out of the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import redis


def login(broker: Mapping[str, Any], name: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """User and password of one of the broker's own users."""
    return {"user": redis.role(broker, name), "password": redis.role_password(broker, name, secrets)}


class FilterModule:
    """Filters over the plan's broker."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as playbooks use them."""
        return {
            "redis_connections": redis.connections,
            "redis_login": login,
            "redis_sentinel_users": redis.sentinel_acl,
            "redis_external_state": redis.external,
            "redis_settings": redis.settings,
            "redis_state": redis.state,
            "redis_users": redis.acl,
        }
