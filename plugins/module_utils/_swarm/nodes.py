# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts may become the nodes of one Swarm, from what the engine of each says of the Swarm that it is of already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LEAVE = "have it leave with `docker swarm leave`"


def problems(nodes: Mapping[str, Mapping[str, Any]], first: str) -> list[str]:
    """What keeps the hosts from being one Swarm, in words.

    nodes: by host, the part ``Swarm`` of what the engine's API gives for /info: LocalNodeState (inactive, pending, active,
    error or locked), NodeID, ControlAvailable (whether it manages), and RemoteManagers, a list of NodeID and Addr, itself
    among them where it manages. first: the host that begins the Swarm.
    """
    return list(_problems(nodes, first))


def _problems(nodes: Mapping[str, Mapping[str, Any]], first: str) -> Iterator[str]:
    for host, swarm in nodes.items():
        state = swarm["LocalNodeState"]
        if state not in ("active", "inactive"):
            said = swarm.get("Error") or "its engine says no more"
            yield f"{host} is a node whose state is {state} ({said}); mend it, or {LEAVE}"
    begun = nodes[first]
    if begun["LocalNodeState"] == "active" and not begun["ControlAvailable"]:
        yield (
            f"{first}, the first of the managers, is a worker of a Swarm that {_managers(begun)} manages; name a manager of it"
            f" first, or {LEAVE}"
        )
    for host, swarm in nodes.items():
        if host == first or swarm["LocalNodeState"] != "active":
            continue
        if begun["LocalNodeState"] == "inactive":
            yield (
                f"{host} is of a Swarm already, which {_managers(swarm)} manages, and {first}, the first of the managers, is of"
                f" none; name a manager of that Swarm first, or {LEAVE}"
            )
        elif begun["NodeID"] not in {manager["NodeID"] for manager in swarm.get("RemoteManagers") or ()}:
            yield f"{host} is of another Swarm than {first}, which {_managers(swarm)} manages; {LEAVE}"


def _managers(swarm: Mapping[str, Any]) -> str:
    return " or ".join(manager["Addr"] for manager in swarm.get("RemoteManagers") or ()) or "an unknown host"
