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
    return {
        "app.kubernetes.io/name": "airflow",
        "app.kubernetes.io/instance": platform.environment,
        "app.kubernetes.io/part-of": "airflow",
        **pruned(platform.environment),
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
