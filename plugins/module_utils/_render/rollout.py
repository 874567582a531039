# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order the units of all hosts are started and restarted.

What is down starts at once, everywhere: there is nothing to protect. What runs with an old configuration restarts one
host of a component after the other, the API servers first, the workers last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WAVES = (("api-server",), ("scheduler", "dag-processor", "triggerer"), ("worker",))
"""The kinds of component that restart together."""

SHOWN = 6
"""Names that a title spells out."""

Conditions = Mapping[str, Mapping[str, str]]


def steps(components: Sequence[Mapping[str, Any]], conditions: Conditions) -> list[dict[str, Any]]:
    """The steps, each with a title, the units of each host, and the hosts that each unit waits for.

    components: name, kind and hosts of each, as the plan lists them.
    conditions: down, stale or current, by host and component; hosts that take no part are left out.

    A step is {title, state, components: {host: [component]}, after: {host: [hosts]}}. The hosts of ``after`` restarted
    the same components in an earlier step; where one of them still stops, the host has to keep what it runs.
    """
    placed = [
        (component, host)
        for component in components
        for host in component["hosts"]
        if component["name"] in conditions.get(host, {})
    ]
    down = [(each["name"], host) for each, host in placed if conditions[host][each["name"]] == "down"]
    result = [_step("Start", "started", down, {})] if down else []
    for kinds in WAVES:
        stale = {
            each["name"]: [host for host in each["hosts"] if conditions.get(host, {}).get(each["name"]) == "stale"]
            for each in components
            if each["kind"] in kinds
        }
        result += _one_host_after_the_other(stale)
    return result


def _one_host_after_the_other(stale: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    for rank in range(max((len(hosts) for hosts in stale.values()), default=0)):
        turn = [(name, hosts[rank]) for name, hosts in stale.items() if rank < len(hosts)]
        after: dict[str, list[str]] = {}
        for name, host in turn:
            after[host] = sorted({*after.get(host, []), *stale[name][:rank]})
        yield _step("Restart", "restarted", turn, after)


def _step(verb: str, state: str, turn: Sequence[tuple[str, str]], after: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    by_host: dict[str, list[str]] = {}
    for name, host in turn:
        by_host.setdefault(host, []).append(name)
    names = list(dict.fromkeys(name for name, _host in turn))
    return {
        "title": f"{verb} {_few(names, 'components')} on {_few(list(by_host), 'hosts')}",
        "state": state,
        "components": by_host,
        "after": dict(after),
    }


def _few(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if len(names) <= SHOWN else f"{len(names)} {noun}"
