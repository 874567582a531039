# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Secret of each component: made here, expected to be there, or made by the External Secrets Operator.

What is made here has a hash over its content in its name, so that another content starts pods anew, and those before keep
what they started with. What others make is read anew when a pod starts: a change of it starts none.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._model import dns
from . import naming
from .cluster import Component, ExistingSecrets, ExternalSecrets, MadeSecrets, Manifest, Target

EXTERNAL_API = "external-secrets.io/v1"


Values = Mapping[str, str]


@dataclass(frozen=True)
class Holder:
    """Who needs a Secret: a component, or what scales one.

    name: among the secrets of a cluster. keys: what is in it. values: these, out of the component's credentials.
    """

    name: str
    component: Component
    keys: Sequence[str]
    values: Callable[[Values], Values]


def of_component(component: Component) -> Holder:
    """A component as the holder of its credentials."""
    return Holder(component["name"], component, component["credentials"], lambda values: values)


def name(holder: Holder, target: Target) -> str:
    """The name of a holder's Secret."""
    told = target.cluster.secrets
    if isinstance(told, MadeSecrets):
        return f"{dns.label(holder.name)}-{naming.keyed_digest([holder.name, _content(holder, told)], told.key)}"
    if isinstance(told, ExistingSecrets):
        return told.names[holder.name]
    return dns.label(holder.name)


def manifests(holder: Holder, target: Target) -> list[Manifest]:
    """The Secret, or what makes it; nothing where it is there already."""
    if not holder.keys:
        return []
    makers: dict[type, Callable[[Holder, Target, Any], list[Manifest]]] = {
        MadeSecrets: _made,
        ExistingSecrets: lambda _holder, _target, _told: [],
        ExternalSecrets: _external,
    }
    told = target.cluster.secrets
    return makers[type(told)](holder, target, told)


def volume(called: str, component: Component, target: Target) -> list[dict[str, Any]]:
    """The volume of a component's credentials, and of nothing else that its Secret may hold."""
    holder = of_component(component)
    if not holder.keys:
        return []
    items = [{"key": key, "path": key} for key in holder.keys]
    # podman 4.3 does not survive a Secret of which nothing is said about that.
    needed = {"optional": False}
    mounted = {"secretName": name(holder, target), "defaultMode": 0o440, "items": items, **needed}
    return [{"name": called, "secret": mounted}]


def _made(holder: Holder, target: Target, told: MadeSecrets) -> list[Manifest]:
    return [
        naming.manifest(
            "v1",
            "Secret",
            name(holder, target),
            target,
            holder.component,
            type="Opaque",
            immutable=True,
            data={key: base64.b64encode(value.encode()).decode() for key, value in _content(holder, told).items()},
        )
    ]


def _content(holder: Holder, told: MadeSecrets) -> dict[str, str]:
    values = holder.values(told.values[holder.component["name"]])
    return {key: values[key] for key in holder.keys}


def _external(holder: Holder, target: Target, told: ExternalSecrets) -> list[Manifest]:
    called = name(holder, target)
    entry = f"{told.prefix}{holder.name}"
    return [
        naming.manifest(
            EXTERNAL_API,
            "ExternalSecret",
            called,
            target,
            holder.component,
            spec={
                "refreshInterval": told.refresh,
                "secretStoreRef": {"name": told.store, "kind": told.kind},
                "target": {"name": called, "creationPolicy": "Owner"},
                "data": [{"secretKey": key, "remoteRef": {"key": entry, "property": key}} for key in holder.keys],
            },
        )
    ]
