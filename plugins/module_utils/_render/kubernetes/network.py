# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may talk to whom: the model's arrows as network policies, and nothing besides.

The kubelet's own probes pass in any case. A policy knows addresses and no names: where the host of a service is a name, and
the cluster is not told who that is (Cluster.reach), any address will do on the service's port.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._model import components as model
from ..._model import log_store
from . import naming, probes
from .cluster import PUBLISHER, Component, Manifest, Outlet, Peer, Target, of_component

HTTPS = 443
PORTS = {"http": 80, "https": HTTPS}

SOURCES = (22, HTTPS)
"""Where a publisher fetches from, by SSH and by HTTPS, where the cluster is not told where it may go."""

_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")

_SERVICES = {
    "database": ("sql_alchemy_conn", "result_backend"),
    "broker": ("broker_url",),
}
"""The services that a component reaches with one of these credentials."""


@dataclass(frozen=True)
class Arrow:
    """One way of a component (source) to another one, or to a service of the platform's (target)."""

    source: str
    target: str
    port: int


def places(service: str, target: Target) -> list[tuple[str, int]]:
    """The hosts and ports of a service that components talk to."""
    return _PLACES[service](target.platform.endpoints[service])


def _database(endpoint: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(endpoint["host"], int(endpoint["port"]))]


def _log_store(endpoint: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [_of_url(endpoint["endpoint_url"] or f"https://s3.{endpoint['region']}.amazonaws.com")]


def _broker(endpoint: Mapping[str, Any]) -> list[tuple[str, int]]:
    if endpoint["scheme"] == "sqs":
        urls = endpoint["urls"].values()
        return list(dict.fromkeys(_of_url(url) for url in urls))
    watched = (endpoint.get("sentinel") or {}).get("nodes", [])
    found = [(node["address"], int(node["port"])) for node in (*watched, *endpoint["nodes"])]
    return found or [(endpoint["host"], int(endpoint["port"]))]


def _of_url(url: str) -> tuple[str, int]:
    scheme, _colon, rest = url.partition("://")
    host, _colon, port = rest.partition("/")[0].partition(":")
    return host, int(port) if port else PORTS[scheme]


_PLACES: dict[str, Callable[[Mapping[str, Any]], list[tuple[str, int]]]] = {
    "database": _database,
    "broker": _broker,
    "log_store": _log_store,
}
"""The hosts and ports of each service, from its endpoint."""


def arrows(components: Sequence[Component], target: Target) -> list[Arrow]:
    """Every arrow of the model: what each component's settings, credentials, ports and probes have it talk to."""
    found = []
    servers = [component for component in components if component["kind"] == "api-server"]
    for component in components:
        name = component["name"]
        if "execution_api_server_url" in component["settings"].get("core", {}) or probes.asks_api(component):
            found += [Arrow(name, server["name"], server["port"]) for server in servers]
        if component["port"] and component not in servers:
            # What a worker or triggerer serves is the logs of what it runs, to the UI.
            found += [Arrow(server["name"], name, component["port"]) for server in servers]
        for service in _services(component):
            found += _arrows_to(service, name, target)
    if target.platform.has_publisher:
        found += [Arrow(PUBLISHER["name"], server["name"], server["port"]) for server in servers]
    return found


def _arrows_to(service: str, source: str, target: Target) -> list[Arrow]:
    ports = dict.fromkeys(port for _host, port in places(service, target))
    return [Arrow(source, service, port) for port in ports]


def _services(component: Component) -> list[str]:
    by_credential = [
        service for service, credentials in _SERVICES.items() if set(credentials).intersection(component["credentials"])
    ]
    has_store = f"AIRFLOW_CONN_{log_store.CONNECTION.upper()}" in component["environment"]
    return [*by_credential, *(["log_store"] if has_store else [])]


def clients(service: str) -> list[str]:
    """The kinds of component that reach a service, and the publisher, from where buckets are made and the doctor asks."""
    if service == "log_store":
        return [*model.LOG_STORE_USERS, PUBLISHER["kind"]]
    wanted = set(_SERVICES[service])
    kinds = [kind for kind, settings in model.CREDENTIALS.items() if wanted & {each.split(".")[1] for each in settings}]
    return [*kinds, *([PUBLISHER["kind"]] if service == "broker" else [])]


def policies(components: Sequence[Component], target: Target) -> list[Manifest]:
    """A policy that lets nothing through to or from any pod of the platform's, and one of each component for its arrows."""
    drawn = arrows(components, target)
    return [default_deny(target), *(_policy(component, components, drawn, target) for component in components)]


def default_deny(target: Target) -> Manifest:
    """Nothing to or from any pod of the platform's, but for what other policies let through."""
    spec = {
        "podSelector": {"matchLabels": naming.pruned(target.platform.environment)},
        "policyTypes": ["Ingress", "Egress"],
    }
    return naming.manifest("networking.k8s.io/v1", "NetworkPolicy", "default-deny", target, spec=spec)


def _policy(component: Component, components: Sequence[Component], drawn: Iterable[Arrow], target: Target) -> Manifest:
    """Other components by their kind: a worker of a pool that is gone still has to report what its last tasks do."""
    kinds = {each["name"]: each["kind"] for each in (*components, PUBLISHER)}
    own = [arrow for arrow in drawn if component["name"] in (arrow.source, arrow.target)]
    sources = dict.fromkeys((kinds[each.source], each.port) for each in own if each.target == component["name"])
    targets = [arrow for arrow in own if arrow.source == component["name"]]
    near = dict.fromkeys((kinds[each.target], each.port) for each in targets if each.target in kinds)
    ingress = [
        *({"from": [pods_of(kind, target.platform.environment)], "ports": [_port(port)]} for kind, port in sources),
        *_from_outside(component, target),
    ]
    egress = [
        _to_dns(target),
        *({"to": [pods_of(kind, target.platform.environment)], "ports": [_port(port)]} for kind, port in near),
        *(_to_service(arrow, target) for arrow in targets if arrow.target not in kinds),
        *_outlets(of_component(target.cluster.outlets, component) or ()),
    ]
    spec = {
        "podSelector": {"matchLabels": naming.selector(component, target.platform)},
        "policyTypes": ["Ingress", "Egress"],
        # An API server keeps no empty list, so that one would differ for ever; the types say that nothing comes in.
        **({"ingress": ingress} if ingress else {}),
        "egress": egress,
    }
    return naming.manifest("networking.k8s.io/v1", "NetworkPolicy", naming.of(component), target, component, spec=spec)


def of_publisher(target: Target) -> Manifest:
    """Nobody comes in but the cluster's own API, which a policy does not see. Out, to the sources, to what the doctor
    asks, which is the API server and the broker, and to the object store of the cluster, where a bucket is made.
    """
    store = target.platform.endpoints["log_store"]
    near = [_peer(peer) for peer in _in_cluster("log_store", target)]
    told = PUBLISHER["name"] in target.cluster.outlets
    spec = {
        "podSelector": {"matchLabels": naming.selector(PUBLISHER, target.platform)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            _to_dns(target),
            {"to": [pods_of("api-server", target.platform.environment)], "ports": [_port(target.platform.api_port)]},
            *(_to_service(arrow, target) for arrow in _arrows_to("broker", PUBLISHER["name"], target)),
            *([{"to": near, "ports": [_port(_of_url(store["endpoint_url"])[1])]}] if near else []),
            *_outlets(target.cluster.outlets[PUBLISHER["name"]] if told else [Outlet(ports=SOURCES)]),
        ],
    }
    return naming.manifest("networking.k8s.io/v1", "NetworkPolicy", naming.of(PUBLISHER), target, PUBLISHER, spec=spec)


def _from_outside(component: Component, target: Target) -> list[dict[str, Any]]:
    entrance = target.cluster.entrance
    if component["kind"] != "api-server" or entrance is None:
        return []
    peers = [_peer(peer) for peer in entrance.peers]
    return [{**({"from": peers} if peers else {}), "ports": [_port(component["port"])]}]


def _to_service(arrow: Arrow, target: Target) -> dict[str, Any]:
    told = target.cluster.reach.get(arrow.target) or _in_cluster(arrow.target, target)
    hosts = [host for host, port in places(arrow.target, target) if port == arrow.port]
    peers = [_peer(peer) for peer in told] if told else [_host(host) for host in hosts if _ADDRESS.fullmatch(host)]
    is_known = told or len(peers) == len(hosts)
    return {**({"to": peers} if is_known else {}), "ports": [_port(arrow.port)]}


def _in_cluster(service: str, target: Target) -> list[Peer]:
    """The pod that provides a service, where the cluster has it."""
    called = target.platform.endpoints[service].get("service")
    return [Peer(pods=naming.service_selector(called, target.platform.environment))] if called else []


def _to_dns(target: Target) -> dict[str, Any]:
    port = target.cluster.dns_port
    return {"to": [_peer(target.cluster.dns)], "ports": [_port(port, "UDP"), _port(port)]}


def _outlets(outlets: Sequence[Outlet]) -> list[dict[str, Any]]:
    return [
        {
            **({"to": [_peer(peer) for peer in outlet.peers]} if outlet.peers else {}),
            **({"ports": [_port(port) for port in outlet.ports]} if outlet.ports else {}),
        }
        for outlet in outlets
    ]


def pods_of(kind: str, environment: str) -> dict[str, Any]:
    """The peer that all pods of a kind of component are."""
    return {"podSelector": {"matchLabels": {naming.ENVIRONMENT: environment, naming.KIND: kind}}}


def _host(address: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": f"{address}/32"}}


def _peer(peer: Peer) -> dict[str, Any]:
    if peer.cidr:
        return {"ipBlock": {"cidr": peer.cidr}}
    selectors = {"namespaceSelector": peer.namespace, "podSelector": peer.pods}
    return {name: {"matchLabels": dict(found)} for name, found in selectors.items() if found is not None}


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": port, "protocol": protocol}
