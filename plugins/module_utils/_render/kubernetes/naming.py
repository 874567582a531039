# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and labels of what is made in a cluster."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

from .cluster import Component, Manifest, Platform, Target

LONGEST = 52
"""Characters. A label has 63 (RFC 1123), of which a StatefulSet's controller-revision-hash takes 11."""

MANAGER = "airstack.backbone"
ENVIRONMENT = f"{MANAGER}/environment"
COMPONENT = f"{MANAGER}/component"
KIND = "app.kubernetes.io/component"
POOL = f"{MANAGER}/pool"
HASH = 10
"""Characters of a hash in a name."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def name(text: str) -> str:
    """A name that DNS takes, the same for the same text and another one for another text.

    Names of pools and teams have underscores and no hyphens, so that these may stand for them; what still is no label or
    too long for one gets a hash.
    """
    label = text.replace("_", "-")
    if _LABEL.fullmatch(label) and len(label) <= LONGEST:
        return label
    return f"{label[: LONGEST - HASH - 1].strip('-')}-{digest(text)}"


def of(component: Component) -> str:
    """The name of all that is a component's alone and has no content to be told apart by."""
    return name(component["name"])


def digest(content: Any) -> str:
    """A short hash of text, or of anything that JSON can write."""
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH]


def keyed_digest(content: Any, key: str) -> str:
    """A short hash that tells nothing of a secret to whoever does not know the key."""
    text = json.dumps(content, sort_keys=True)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:HASH]


def pruned(platform: Platform) -> dict[str, str]:
    """The labels of everything that is the platform's: what bears them and is not described any more may go."""
    return {"app.kubernetes.io/managed-by": MANAGER, ENVIRONMENT: platform.environment}


def labels(platform: Platform) -> dict[str, str]:
    """The labels of what is no component's."""
    return {
        "app.kubernetes.io/name": "airflow",
        "app.kubernetes.io/instance": platform.environment,
        "app.kubernetes.io/part-of": "airflow",
        **pruned(platform),
    }


def component_labels(component: Component, platform: Platform) -> dict[str, str]:
    """The labels of what is a component's, its pods included."""
    return {
        **labels(platform),
        KIND: component["kind"],
        "app.kubernetes.io/version": platform.version,
        COMPONENT: of(component),
        **({POOL: name(component["pool"])} if component["pool"] else {}),
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
