# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Hosts that are of no Swarm, of this one or of another one. Each answer is as Docker 20.10 and 26.1 gave it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._swarm.nodes import problems

NONE: dict[str, Any] = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def member(node: str, *managers: str) -> dict[str, Any]:
    listed = [{"NodeID": manager, "Addr": f"{manager}.example.com:2377"} for manager in managers]
    return {
        **NONE,
        "NodeID": node,
        "LocalNodeState": "active",
        "ControlAvailable": node in managers,
        "RemoteManagers": listed,
    }


@pytest.mark.parametrize(
    "nodes",
    [
        {"one": NONE, "two": NONE},
        {"one": member("a", "a"), "two": NONE},
        {"one": member("a", "a"), "two": member("b", "a")},
        {"one": member("a", "a", "b"), "two": member("b", "a", "b")},
    ],
)
def test_hosts_of_no_swarm_and_of_this_one_are_fit(nodes: dict[str, dict[str, Any]]) -> None:
    assert problems(nodes, "one") == []


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            {"one": member("a", "a"), "two": member("b", "b")},
            "two is of another Swarm than one, which b.example.com:2377 manages",
        ),
        (
            {"one": NONE, "two": member("b", "b", "c")},
            "two is of a Swarm already, which b.example.com:2377 or c.example.com:2377 manages, and one,",
        ),
        (
            {"one": member("a", "x"), "two": NONE},
            "one, the first of the managers, is a worker of a Swarm that x.example.com",
        ),
        (
            {"one": member("a", "a"), "two": {**NONE, "LocalNodeState": "locked", "Error": "needs its key"}},
            "two is a node whose state is locked (needs its key)",
        ),
    ],
)
def test_what_cannot_be_one_swarm_is_told_with_what_to_do(nodes: dict[str, dict[str, Any]], said: str) -> None:
    (problem,) = problems(nodes, "one")
    assert problem.startswith(said)
    assert "docker swarm leave" in problem


def test_all_problems_are_told_at_once() -> None:
    nodes = {"one": NONE, "two": member("b", "b"), "three": {**NONE, "LocalNodeState": "error"}}
    assert len(problems(nodes, "one")) == 2
