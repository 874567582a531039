# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The component model, and what a host is made to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, credentials
from ansible_collections.airstack.backbone.plugins.module_utils._render import rollout, swarm, systemd


def component_files(
    plan: Mapping[str, Any],
    endpoints: Mapping[str, Any],
    host: str,
    core: str,
    secrets: Mapping[str, str],
    log_days: int,
) -> dict[str, Any]:
    """Arguments of the module file_set."""
    here = _here(plan, endpoints, host)
    place = _place(plan, endpoints, host, core)
    return systemd.file_set(here, place, plan["routing"], _values(here, endpoints, secrets), int(log_days))


def component_setup_files(
    plan: Mapping[str, Any], endpoints: Mapping[str, Any], host: str, core: str, secrets: Mapping[str, str]
) -> dict[str, Any]:
    """Arguments of the module file_set, for what sets up the database alone."""
    here = _here(plan, endpoints, host)
    return systemd.setup_files(here, _place(plan, endpoints, host, core), _values(here, endpoints, secrets))


def component_stack(
    plan: Mapping[str, Any],
    endpoints: Mapping[str, Any],
    image: str,
    secrets: Mapping[str, str],
    publish: str,
    is_encrypted: bool,
) -> dict[str, Any]:
    """Arguments of the module swarm_stack."""
    storage = endpoints["dag_storage"]
    addresses = {each["name"]: each["address"] for each in plan["hosts"]}
    place = swarm.Stack(
        plan["environment"],
        image,
        storage["path"],
        storage["sentinel"],
        nodes=[{"name": name, "address": addresses[name]} for name in plan["nodes"]],
        api_port=plan["api"]["port"],
        publish=publish,
        is_encrypted=is_encrypted,
    )
    model = components.model(plan, endpoints)
    return swarm.render(model, place, plan["routing"], _values(model, endpoints, secrets), key=secrets["jwt"])


def component_units(plan: Mapping[str, Any], endpoints: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    """The units of a host's components."""
    addresses = {each["name"]: each["address"] for each in plan["hosts"]}
    servers = sorted(plan["api"]["hosts"], key=lambda server: server != host)
    urls = [
        f"http://{'127.0.0.1' if server == host else addresses[server]}:{plan['api']['port']}" for server in servers
    ]
    return [systemd.unit(each, urls) for each in _here(plan, endpoints, host)]


def component_steps(
    plan: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]], changed: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """The order of starts and restarts, from what systemd_units_info saw and file_set changed on each host."""
    conditions = {host: _conditions(plan, units, changed[host]) for host, units in seen.items()}
    return rollout.steps(plan["components"], conditions)


def component_queue_files(plan: Mapping[str, Any], endpoints: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    """Files of the module file_set: those that say which queues there are and what the host's worker consumes."""
    here = _here(plan, endpoints, host)
    return systemd.queue_files(here, plan["routing"]) if here else []


def worker_assignments(
    plan: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]], changed: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Assignments of the module worker_queues, for the workers that run with what they shall have but for their queues.

    Another one reads its queues when it starts or restarts. Until then it lacks what its new queues may need, such as
    the mount of a source.
    """
    pools = {pool["name"]: pool for pool in plan["pools"]}
    return [
        {"workers": f"{component['pool']}@{host}", "queues": pools[component["pool"]]["queues"]}
        for component in plan["components"]
        if component["kind"] == "worker"
        for host in component["hosts"]
        if host in seen and _conditions(plan, seen[host], changed[host]).get(component["name"]) == "current"
    ]


def units_in_state(units: Sequence[Mapping[str, Any]], names: Sequence[str], state: str) -> list[dict[str, Any]]:
    """Units of the module systemd_units, for some components."""
    return [
        {"name": unit["name"], "state": state, "timeout": unit["timeout"], "health": unit["health"]}
        for unit in units
        if unit["component"] in names
    ]


def _here(plan: Mapping[str, Any], endpoints: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    return [component for component in components.model(plan, endpoints) if host in component["hosts"]]


def _place(plan: Mapping[str, Any], endpoints: Mapping[str, Any], host: str, core: str) -> systemd.Place:
    storage = endpoints["dag_storage"]
    return systemd.Place(host, plan["environment"], core, storage["path"], storage["sentinel"])


def _values(
    model: Sequence[Mapping[str, Any]], endpoints: Mapping[str, Any], secrets: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The credentials' contents, by component and name."""
    return {each["name"]: credentials.values(each, endpoints, secrets) for each in model}


def _conditions(plan: Mapping[str, Any], units: Mapping[str, Any], changed: Sequence[str]) -> dict[str, str]:
    """The condition of each component of a host; one whose files change now is stale, also in check mode."""
    names = {systemd.unit_name(component): component["name"] for component in plan["components"]}
    return {
        names[unit]: "stale" if seen["condition"] == "current" and unit in changed else seen["condition"]
        for unit, seen in units.items()
        if unit in names
    }
