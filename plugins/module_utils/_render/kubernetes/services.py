# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service of the platform's own in the cluster, for development: one pod with one volume, which components alone reach.

Its pod runs a script of ours and no entry point of an image's, so that any image will do that has the programs. It may be
taken away by who put it there, and by nobody's pruning: what its volume holds, nobody would get back.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._model import resources
from .. import image
from . import naming, network, pods, storage
from .cluster import USER, Claim, Component, Manifest, NewClaim, Nodes
from .manifests import Step

CONTAINER = "service"
START = "start.sh"
"""The script among a service's files that its pod runs."""

FILES = "/etc/airstack"
SECRETS = "/run/secrets/airstack"
DATA = "/var/lib/airstack"

REQUESTS = {"cpu": "100m", "memory": "256Mi"}
"""What a service's pod requests where nothing is said."""

SPAN = 5
"""Seconds between two looks whether the service takes connections."""

LIFE_LOOKS = 24
"""How many of them fail before what runs is started anew."""

START_LOOKS = 60
"""How many of them fail before its start is given up."""


@dataclass(frozen=True)
class Service:
    """What the pod of a service is made of.

    name: of all that is the service's, by which components find it. purpose: database, broker or log_store, as components
    have arrows to it. account: what the pod's user is called in it. port: where it listens.
    files, secrets: content by name, in the folders FILES, or another one (folder), and SECRETS; START is one of the files.
    after_start: a command in the container, which has to succeed before anybody is let to it.
    stop: seconds that it may take to stop.
    """

    name: str
    purpose: str
    account: str
    port: int
    files: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    folder: str = FILES
    environment: Mapping[str, str] = field(default_factory=dict)
    after_start: Sequence[str] = ()
    stop: int = 60

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Service:
        """A service as its role's variables say it, in which a number may be a text and a text a number."""
        environment = {name: str(value) for name, value in told.get("environment", {}).items()}
        return cls(**{**told, "port": int(told["port"]), "environment": environment})


@dataclass(frozen=True)
class Told:
    """What is said of a service: its image, the claim of its volume, and what its pod requests and may take (resources.said)."""

    image: str
    claim: Claim
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where it is put: the environment, and what of cluster.Cluster is its pod's as well."""

    environment: str
    namespace: str
    creates_namespace: bool = False
    user: int = USER
    pull_secrets: Sequence[str] = ()
    nodes: Mapping[str, Nodes] = field(default_factory=dict)
    priority_classes: Mapping[str, str] = field(default_factory=dict)


def component(name: str) -> Component:
    """A service, as what a cluster is told about components knows it."""
    return {"name": name, "kind": name}


def new_claim(**told: Any) -> NewClaim:
    """The claim of a service, whose volume one node has at a time."""
    return NewClaim(access_mode="ReadWriteOnce", **told)


def steps(service: Service, told: Told, place: Place, key: str) -> list[Step]:
    """The manifests, in the order of their application. key: of the hash that tells secrets that changed."""
    namespace = [naming.namespace(place.namespace, place.environment)] if place.creates_namespace else []
    made = [
        Step("namespace", "exists", namespace),
        Step(
            f"wall, files and volume of the {service.name}",
            "exists",
            [
                _policy(service, place),
                _manifest("v1", "ConfigMap", service, place, data=dict(service.files)),
                *_claim(service, told, place),
            ],
        ),
        Step(f"secrets of the {service.name}", "exists", _secret(service, place, key)),
        Step(service.name, "rolled_out", [_service(service, place), _workload(service, told, place, key)]),
    ]
    return [step for step in made if step.manifests]


def _manifest(api: str, kind: str, service: Service, place: Place, **content: Any) -> Manifest:
    labels = naming.service_labels(service.name, place.environment)
    metadata = {"name": service.name, "namespace": place.namespace, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def _policy(service: Service, place: Place) -> Manifest:
    """Nobody reaches it but the components that have an arrow to it, and it goes nowhere."""
    peers = [network.pods_of(kind, place.environment) for kind in network.clients(service.purpose)]
    spec = {
        "podSelector": {"matchLabels": naming.service_selector(service.name, place.environment)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": [{"port": service.port, "protocol": "TCP"}]}],
    }
    return _manifest("networking.k8s.io/v1", "NetworkPolicy", service, place, spec=spec)


def _claim(service: Service, told: Told, place: Place) -> list[Manifest]:
    if not isinstance(told.claim, NewClaim):
        return []
    made = _manifest("v1", "PersistentVolumeClaim", service, place, spec=storage.claim_spec(told.claim))
    return [{**made, "metadata": {**made["metadata"], "name": told.claim.name}}]


def _secret(service: Service, place: Place, key: str) -> list[Manifest]:
    """Its values are in no diff, so that a hash has to tell that they differ."""
    data = {name: base64.b64encode(value.encode()).decode() for name, value in service.secrets.items()}
    made = _manifest("v1", "Secret", service, place, type="Opaque", data=data)
    return [naming.annotated(made, {naming.CONTENT: naming.keyed_digest(data, key)})] if data else []


def _service(service: Service, place: Place) -> Manifest:
    spec = {
        "type": "ClusterIP",
        "selector": naming.service_selector(service.name, place.environment),
        "ports": [{"name": service.name, "port": service.port, "targetPort": service.port, "protocol": "TCP"}],
    }
    return _manifest("v1", "Service", service, place, spec=spec)


def _workload(service: Service, told: Told, place: Place, key: str) -> Manifest:
    """One pod, which is started anew for other files or secrets: their names stay what they are."""
    content = naming.keyed_digest([dict(service.files), dict(service.secrets)], key)
    spec = {
        "replicas": 1,
        "serviceName": service.name,
        # A pod that does not come to work makes way for the next one without anybody's help.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "selector": {"matchLabels": naming.service_selector(service.name, place.environment)},
        "template": {
            "metadata": {
                "labels": naming.service_labels(service.name, place.environment),
                "annotations": {naming.CONTENT: content},
            },
            "spec": _pod(service, told, place),
        },
    }
    return _manifest("apps/v1", "StatefulSet", service, place, spec=spec)


def _pod(service: Service, told: Told, place: Place) -> dict[str, Any]:
    # Volumes come as root's; this group is given them.
    group = {"fsGroup": pods.ROOT_GROUP, "fsGroupChangePolicy": "OnRootMismatch"} if place.user else {}
    return {
        **pods.of_all(component(service.name), place),
        "terminationGracePeriodSeconds": service.stop,
        "securityContext": {**pods.security(place.user), **group},
        "initContainers": [pods.name_yourself(service.account, told.image)],
        "containers": [_container(service, told)],
        "volumes": _volumes(service, told),
    }


def _container(service: Service, told: Told) -> dict[str, Any]:
    variables = {"HOME": image.SCRATCH, **service.environment}
    look = {"tcpSocket": {"port": service.port}, "periodSeconds": SPAN}
    after = (
        {"lifecycle": {"postStart": {"exec": {"command": list(service.after_start)}}}} if service.after_start else {}
    )
    return {
        "name": CONTAINER,
        "image": told.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", f"{service.folder}/{START}"],
        "env": [{"name": name, "value": pods.literal(value)} for name, value in sorted(variables.items())],
        "ports": [{"name": service.name, "containerPort": service.port, "protocol": "TCP"}],
        **after,
        "startupProbe": {**look, "failureThreshold": START_LOOKS},
        "readinessProbe": look,
        "livenessProbe": {**look, "failureThreshold": LIFE_LOOKS},
        "resources": resources.completed(told.resources, REQUESTS),
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "scratch", "mountPath": image.SCRATCH},
            {"name": "files", "mountPath": service.folder, "readOnly": True},
            *([{"name": "secrets", "mountPath": SECRETS, "readOnly": True}] if service.secrets else []),
            dict(pods.ACCOUNTS_MOUNT),
        ],
    }


def _volumes(service: Service, told: Told) -> list[dict[str, Any]]:
    secrets = {"secretName": service.name, "defaultMode": 0o440, "optional": False}
    return [
        {"name": "data", "persistentVolumeClaim": {"claimName": told.claim.name}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "files", "configMap": {"name": service.name, "defaultMode": pods.FOR_ALL}},
        *([{"name": "secrets", "secret": secrets}] if service.secrets else []),
        dict(pods.ACCOUNTS_VOLUME),
    ]
