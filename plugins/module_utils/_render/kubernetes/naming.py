# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and labels of what is made in a cluster."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from ..._model import dns
from .cluster import Component, Manifest, Platform, Target

MANAGER = "airstack.backbone"
ENVIRONMENT = f"{MANAGER}/environment"
COMPONENT = f"{MANAGER}/component"
KIND = "app.kubernetes.io/component"
POOL = f"{MANAGER}/pool"
SERVICE = f"{MANAGER}/service"
CONTENT = f"{MANAGER}/content"
"""The annotation of a pod that is started anew for content which no name has a hash of."""


def of(component: Component) -> str:
    """The name of all that is a component's alone and has no content to be told apart by."""
    return dns.label(component["name"])


def digest(content: Any) -> str:
    """A short hash of text, or of anything that JSON can write."""
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[: dns.HASH]


def keyed_digest(content: Any, key: str) -> str:
    """A short hash that tells nothing of a secret to whoever does not know the key."""
    text = json.dumps(content, sort_keys=True)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[: dns.HASH]


def pruned(environment: str) -> dict[str, str]:
    """The labels of everything that is the platform's: what bears them and is not described any more may go."""
    return {"app.kubernetes.io/managed-by": MANAGER, ENVIRONMENT: environment}


def labels(platform: Platform) -> dict[str, str]:
    """The labels of what is no component's."""
    return environment_labels(platform.environment)


def environment_labels(environment: str) -> dict[str, str]:
    """The same, by the environment's name."""
    return {
        "app.kubernetes.io/name": "airflow",
        "app.kubernetes.io/instance": environment,
        "app.kubernetes.io/part-of": "airflow",
        **pruned(environment),
    }


def component_labels(component: Component, platform: Platform) -> dict[str, str]:
    """The labels of what is a component's, its pods included."""
    return {
        **labels(platform),
        KIND: component["kind"],
        "app.kubernetes.io/version": platform.version,
        COMPONENT: of(component),
        **({POOL: dns.label(component["pool"])} if component["pool"] else {}),
    }


def selector(component: Component, platform: Platform) -> dict[str, str]:
    """The labels by which a component's pods are found. They never change, since a workload's selector cannot."""
    return {ENVIRONMENT: platform.environment, COMPONENT: of(component)}


def service_selector(service: str, environment: str) -> dict[str, str]:
    """The labels by which the pod of a service in the cluster is found: a database, a broker, an object store."""
    return {"app.kubernetes.io/instance": environment, SERVICE: service}


def service_labels(service: str, environment: str) -> dict[str, str]:
    """The labels of what is such a service's. The environment's own is not among them, so that nothing of it is ever pruned."""
    return {
        "app.kubernetes.io/name": service,
        "app.kubernetes.io/part-of": "airflow",
        "app.kubernetes.io/managed-by": MANAGER,
        **service_selector(service, environment),
    }


def namespace(called: str, environment: str) -> Manifest:
    """An environment's namespace, which takes no other pods than those that Pod Security calls restricted."""
    enforced = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    metadata = {"name": called, "labels": {**environment_labels(environment), **enforced}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def manifest(
    api: str, kind: str, called: str, target: Target, component: Component | None = None, **content: Any
) -> Manifest:
    """A manifest in the platform's namespace, with the labels of a component or of the platform alone."""
    platform = target.platform
    marked = component_labels(component, platform) if component else labels(platform)
    metadata = {"name": called, "namespace": target.cluster.namespace, "labels": marked}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def annotated(made: Manifest, annotations: Mapping[str, str]) -> Manifest:
    """The manifest with annotations, if there are any."""
    return {**made, "metadata": {**made["metadata"], "annotations": dict(annotations)}} if annotations else made
