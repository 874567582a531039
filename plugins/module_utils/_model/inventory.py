# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of an Ansible inventory that a plan needs: which hosts are in which group, and how others reach them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Inventory:
    """groups: host names by group. addresses: what other hosts of the platform connect to, by host name."""

    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    def hosts(self, *groups: str) -> list[str]:
        """The hosts of the first of the groups that has any."""
        return next((list(self.groups[group]) for group in groups if self.groups.get(group)), [])

    def address(self, host: str) -> str:
        """The address of a host; its name where the inventory gives none."""
        return self.addresses.get(host, host)
