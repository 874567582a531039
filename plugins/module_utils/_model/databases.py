# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The metadata database in the plan: what each provider takes, and where clients find it.

Every provider gives the same keys: host, port, and service, the name by which a cluster provides it; None elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .inventory import Inventory
from .problems import Problem

GROUP = "airflow_database"
"""The host that runs the database."""

SERVICE = "database"
"""What the database is called in a cluster."""

PORT = 5432

ANYWHERE = "all"
"""What PostgreSQL's access list calls any address."""


@dataclass(frozen=True)
class Provider:
    """make: the provider's part of the plan. problems: what of an inventory it cannot take."""

    make: Callable[[Inventory], dict[str, Any]]
    problems: Callable[[Inventory], list[Problem]]


def make(provider: str, inventory: Inventory) -> dict[str, Any]:
    """Where the plan's database is."""
    return {"provider": provider, **PROVIDERS[provider].make(inventory)}


def problems(provider: str, platform: str, inventory: Inventory) -> list[Problem]:
    """What the chosen provider cannot take."""
    return [*outside("airflow_database_provider", provider, platform), *PROVIDERS[provider].problems(inventory)]


def networks(provider: str, told: Sequence[str]) -> Sequence[str]:
    """Where pods come from. In the cluster it may be anywhere: network policies are the wall there."""
    return [ANYWHERE] if provider == "kubernetes" else told


def outside(variable: str, provider: str, platform: str) -> list[Problem]:
    """A provider in the cluster, where there is none."""
    if provider != "kubernetes" or platform == "kubernetes":
        return []
    return [Problem(variable, provider, f"another provider: with airflow_platform {platform} there is no cluster")]


def crowded(group: str, hosts: Sequence[str]) -> Problem:
    """More hosts of a service than the one that it stands on."""
    right = "one host: what the platform sets up there runs on one host alone"
    return Problem(f"groups['{group}']", list(hosts), right)


def _on_a_host(inventory: Inventory) -> dict[str, Any]:
    return {"host": inventory.address(inventory.hosts(GROUP)[0]), "port": PORT, "service": None}


def _one_host(inventory: Inventory) -> list[Problem]:
    where, found = f"groups['{GROUP}']", inventory.groups.get(GROUP)
    if not found:
        return [Problem(where, found, "an inventory group with a host for the database")]
    return [crowded(GROUP, found)] if len(found) > 1 else []


def _no_host(inventory: Inventory) -> list[Problem]:
    found = inventory.hosts(GROUP)
    return [Problem(f"groups['{GROUP}']", found, "no host: the cluster provides it")] if found else []


PROVIDERS: Mapping[str, Provider] = {
    "postgresql": Provider(_on_a_host, _one_host),
    "kubernetes": Provider(
        lambda _inventory: {"host": SERVICE, "port": PORT, "service": SERVICE},
        _no_host,
    ),
}
"""By their names in airflow_database_provider."""
