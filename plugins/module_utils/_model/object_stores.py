# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platform's own object store in the plan: what each provider takes, and where clients find it.

Every provider gives the same keys: provider, address, port, account and admin, and service, the name by which a cluster provides
it; None elsewhere.
"""

from __future__ import annotations

from typing import Any

from . import databases
from .inventory import Inventory
from .problems import Problem

GROUP = "airflow_object_store"
"""The host that runs the object store."""

SERVICE = "object-store"
"""What it is called in a cluster."""

PORT = 8080
ACCOUNT = "airflow"


def make(provider: str, inventory: Inventory) -> dict[str, Any] | None:
    """The platform's own object store, where a host of the inventory or the cluster provides one."""
    stores = inventory.hosts(GROUP)
    if provider == "kubernetes":
        address, service = SERVICE, SERVICE
    elif stores:
        address, service = inventory.address(stores[0]), None
    else:
        return None
    return {
        "provider": provider,
        "address": address,
        "port": PORT,
        "service": service,
        "account": ACCOUNT,
        "admin": {"user": "admin", "secret": "object_store_admin"},
    }


def problems(provider: str, platform: str, *, publishes_in_pod: bool, inventory: Inventory) -> list[Problem]:
    """What the chosen provider cannot take. publishes_in_pod: whether there is a pod that a bucket can be made from."""
    hosts = inventory.groups.get(GROUP, ())
    if provider != "kubernetes":
        return [databases.crowded(GROUP, hosts)] if len(hosts) > 1 else []
    variable = "airflow_object_store_provider"
    pod = "swift, or airflow_dag_storage_provider persistent_volume: its pod makes the bucket, since no host reaches the store"
    outside = databases.outside(variable, provider, platform)
    unreached = [] if outside or publishes_in_pod else [Problem(variable, provider, pod)]
    homes = [Problem(f"groups['{GROUP}']", list(hosts), "no host: the cluster provides it")] if hosts else []
    return [*outside, *unreached, *homes]
