# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis's users and settings, out of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import redis


def login(broker: Mapping[str, Any], name: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """User and password of one of the broker's own users."""
    return {"user": redis.role(broker, name), "password": redis.role_password(broker, name, secrets)}
