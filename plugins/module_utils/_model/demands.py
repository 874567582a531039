# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each host must offer before anything is changed on it: free ports, and disk space for the services.

What the core needs, its own role knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .brokers import DISTRIBUTION
from .ports import SCHEDULER_HEALTH_PORT, TRIGGERER_LOG_PORT, WORKER_LOG_PORT
from .problems import Problem

_BROKERS = {
    "rabbitmq": ("rabbitmq-server.service", "/var/lib/rabbitmq"),
    "redis": ("redis-server.service", "/var/lib/redis"),
}

SERVICE_SPACE = 1024**3
"""The packages of a database, broker or object store and their first data."""


def of(host: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The demands on one host: none where the plan puts nothing on it, as on a host of a pool that is gone.

    ports: {port, purpose, units}; a port may be taken already by one of our own units (shell patterns).
    space: {path, bytes, purpose, unless}; not demanded where the path ``unless`` exists, since it is spent already.
    """
    services = [service for service in _services(plan) if service["address"] == _address(host, plan)]
    return {
        "ports": [
            *({key: service[key] for key in ("port", "purpose", "units")} for service in services),
            *_between_nodes(host, plan["broker"]),
            *PORTS[plan["platform"]](host, plan),
        ],
        "space": [
            {"path": "/var", "bytes": SERVICE_SPACE, "purpose": service["purpose"], "unless": service["data"]}
            for service in services
        ],
    }


def collisions(plan: Mapping[str, Any]) -> list[Problem]:
    """Two parts of the platform that want one port of one host."""
    problems = []
    for host in (each["name"] for each in plan["hosts"]):
        taken: dict[int, str] = {}
        for port in of(host, plan)["ports"]:
            if port["port"] in taken:
                right = f"a host without {taken[port['port']]}, which has that port, or another port"
                problems.append(Problem(f"{port['purpose']} on {host}", port["port"], right))
            taken.setdefault(port["port"], port["purpose"])
    return problems


def _address(host: str, plan: Mapping[str, Any]) -> str | None:
    return next((each["address"] for each in plan["hosts"] if each["name"] == host), None)


def _services(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The services that hosts of the inventory provide: where, and which of our units may listen there."""
    database = plan["database"]
    listed = [("database", database["host"], database["port"], "postgresql@*.service", "/var/lib/postgresql")]
    listed = listed if database["provider"] == "postgresql" else []
    for unit, data, nodes in _broker(plan["broker"]):
        listed += [("broker", node["address"], node["port"], unit, data) for node in nodes]
    store = plan["log_store"]["object_store"]
    if store and not store["service"]:
        listed.append(("object store", store["address"], store["port"], "swift-proxy.service", "/srv/node"))
    return [
        {"purpose": f"the {name}", "address": address, "port": port, "units": [unit], "data": data}
        for name, address, port, unit, data in listed
    ]


def _broker(broker: Mapping[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Unit, data and nodes of each program that serves the broker on hosts of the inventory."""
    unit, data = _BROKERS.get(broker["provider"], ("", ""))
    found = [(unit, data, broker["nodes"])]
    if sentinel := broker.get("sentinel"):
        found.append(("redis-sentinel.service", data, sentinel["nodes"]))
    return found


def _between_nodes(host: str, broker: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where a node of a cluster takes the others in. Erlang's port mapper it shares with whatever else is in Erlang."""
    cluster = broker.get("cluster")
    if not cluster or host not in cluster["nodes"]:
        return []
    unit, _data = _BROKERS[broker["provider"]]
    return [{"port": DISTRIBUTION, "purpose": "the broker's other nodes", "units": [unit]}]


def _on_hosts(host: str, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the host's components listen."""
    components = [component for component in plan["components"] if host in component["hosts"]]
    return [port for component in components for port in _component_ports(component, plan)]


def _published(host: str, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where each node takes in what is for the API servers, on whatever nodes they run."""
    if host not in plan["nodes"]:
        return []
    purpose = "Airflow's api-server (airflow_api_port)"
    return [{"port": plan["api"]["port"], "purpose": purpose, "units": ["docker.service"]}]


PORTS: dict[str, Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]] = {
    "systemd": _on_hosts,
    "swarm": _published,
    "kubernetes": lambda _host, _plan: [],
}
"""The ports that components take of a host, by platform."""


def _component_ports(component: Mapping[str, Any], plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    ports = {
        "api-server": plan["api"]["port"],
        "scheduler": SCHEDULER_HEALTH_PORT,
        "triggerer": TRIGGERER_LOG_PORT,
        "worker": WORKER_LOG_PORT,
    }
    if component["kind"] not in ports or (component["kind"] == "triggerer" and component["team"]):
        return []
    unit = "airflow-worker-*.service" if component["kind"] == "worker" else f"airflow-{component['name']}.service"
    choice = " (airflow_api_port)" if component["kind"] == "api-server" else ""
    return [{"port": ports[component["kind"]], "purpose": f"Airflow's {component['name']}{choice}", "units": [unit]}]
