# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The UI's way in: an Ingress, or a route of the Gateway API. Both end TLS before the API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import naming
from .cluster import Component, Gateway, Ingress, Manifest, Route, Target

GATEWAY_API = "gateway.networking.k8s.io/v1"
LISTENER = "https"


def manifests(component: Component, target: Target) -> list[Manifest]:
    """What lets people in to the API server; nothing where nobody is told to."""
    makers: dict[type, Callable[[Component, Target, Any], list[Manifest]]] = {
        Ingress: _ingress,
        Route: _route,
        Gateway: _gateway,
    }
    told = target.cluster.entrance
    return makers[type(told)](component, target, told) if told else []


def _ingress(component: Component, target: Target, told: Ingress) -> list[Manifest]:
    called = naming.of(component)
    backend = {"service": {"name": called, "port": {"number": component["port"]}}}
    spec = {
        **({"ingressClassName": told.ingress_class} if told.ingress_class else {}),
        "tls": [{"hosts": [told.host], "secretName": told.tls_secret}],
        "rules": [{"host": told.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
    }
    made = naming.manifest("networking.k8s.io/v1", "Ingress", called, target, component, spec=spec)
    return [naming.annotated(made, told.annotations)]


def _route(component: Component, target: Target, told: Route) -> list[Manifest]:
    parent = {
        "name": told.gateway,
        **({"namespace": told.namespace} if told.namespace else {}),
        "sectionName": told.section,
    }
    return [_http_route(component, target, told.host, parent)]


def _gateway(component: Component, target: Target, told: Gateway) -> list[Manifest]:
    called = naming.of(component)
    listener = {
        "name": LISTENER,
        "hostname": told.host,
        "port": 443,
        "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": told.tls_secret}]},
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    spec = {"gatewayClassName": told.gateway_class, "listeners": [listener]}
    parent = {"name": called, "sectionName": LISTENER}
    return [
        naming.manifest(GATEWAY_API, "Gateway", called, target, component, spec=spec),
        _http_route(component, target, told.host, parent),
    ]


def _http_route(component: Component, target: Target, host: str, parent: dict[str, str]) -> Manifest:
    called = naming.of(component)
    backend = {"kind": "Service", "name": called, "port": component["port"]}
    spec = {
        "parentRefs": [parent],
        "hostnames": [host],
        "rules": [
            {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [backend]},
        ],
    }
    return naming.manifest(GATEWAY_API, "HTTPRoute", called, target, component, spec=spec)
