# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The metadata database in the plan: what each provider takes, and where clients find it.

Every provider gives the same keys:

- provider; host, port; service: the name by which a cluster provides it, None elsewhere
- name: of the database; user: the role that owns it; results_user: the role of Celery's results
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import names
from .description import Description
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
    """make: the provider's part of the plan. problems: what of a description and an inventory it cannot take."""

    make: Callable[[Description, Inventory], dict[str, Any]]
    problems: Callable[[Description, Inventory], list[Problem]]


def make(described: Description, inventory: Inventory) -> dict[str, Any]:
    """The plan's database, but for its clients."""
    name = "airflow_" + described.environment.replace("-", "_")
    provider = PROVIDERS[described.database_provider]
    return {
        "provider": described.database_provider,
        "name": name,
        "user": name,
        "results_user": f"{name}_results",
        **provider.make(described, inventory),
    }


def problems(described: Description, inventory: Inventory) -> list[Problem]:
    """What the chosen provider cannot take."""
    provider = described.database_provider
    found = [
        *outside("airflow_database_provider", provider, described.platform),
        *PROVIDERS[provider].problems(described, inventory),
    ]
    given = {
        "airflow_database_url": described.database_url,
        "airflow_database_results_user": described.database_results_user,
    }
    return found + [
        Problem(variable, value, "left out: airflow_database_provider is not external")
        for variable, value in given.items()
        if value is not None and provider != "external"
    ]


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


def _on_a_host(_described: Description, inventory: Inventory) -> dict[str, Any]:
    return {"host": inventory.address(inventory.hosts(GROUP)[0]), "port": PORT, "service": None}


def _one_host(_described: Description, inventory: Inventory) -> list[Problem]:
    where, found = f"groups['{GROUP}']", inventory.groups.get(GROUP)
    if not found:
        return [Problem(where, found, "an inventory group with a host for the database")]
    return [crowded(GROUP, found)] if len(found) > 1 else []


def _in_cluster(_described: Description, inventory: Inventory) -> list[Problem]:
    return _no_host(inventory, "the cluster provides it")


def _no_host(inventory: Inventory, reason: str) -> list[Problem]:
    found = inventory.hosts(GROUP)
    return [Problem(f"groups['{GROUP}']", found, f"no host: {reason}")] if found else []


def _elsewhere(described: Description, _inventory: Inventory) -> dict[str, Any]:
    found = names.DATABASE_URL.fullmatch(described.database_url or "")
    parts: Mapping[str, str | None] = found.groupdict() if found else {}
    user = parts.get("user")
    return {
        "host": parts.get("host"),
        "port": int(parts.get("port") or PORT),
        "service": None,
        "name": parts.get("name"),
        "user": user,
        "results_user": described.database_results_user or f"{user}_results",
    }


def _somebody_elses(described: Description, inventory: Inventory) -> list[Problem]:
    is_absent = described.database_url is None and "database_url" not in described.unread
    right = "the address of the database, since airflow_database_provider is external"
    return [
        *([Problem("airflow_database_url", None, right)] if is_absent else []),
        *_same_user(described),
        *_no_host(inventory, "external is provided elsewhere"),
    ]


def _same_user(described: Description) -> list[Problem]:
    """Workers that would own the metadata."""
    made = _elsewhere(described, Inventory())
    right = f"another role than {made['user']}, which owns what workers may not see"
    is_same = made["results_user"] == made["user"]
    return [Problem("airflow_database_results_user", made["user"], right)] if is_same else []


PROVIDERS: Mapping[str, Provider] = {
    "postgresql": Provider(_on_a_host, _one_host),
    "kubernetes": Provider(
        lambda _described, _inventory: {"host": SERVICE, "port": PORT, "service": SERVICE},
        _in_cluster,
    ),
    "external": Provider(_elsewhere, _somebody_elses),
}
"""By their names in airflow_database_provider."""
