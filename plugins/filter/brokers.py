# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is common to brokers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import certificates


class FilterModule:
    """Filters over what a broker is given."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as playbooks use them."""
        return {"broker_certificate_problems": certificates.problems}
