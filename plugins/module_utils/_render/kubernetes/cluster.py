# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the manifests of a platform are made for: the platform's own facts, and what its cluster is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Union

Component = Mapping[str, Any]
Manifest = dict[str, Any]

OLDEST = "1.28"
"""The oldest Kubernetes whose schemas every manifest keeps to."""

PUBLISHER: Component = {"name": "publisher", "kind": "publisher", "pool": None}
"""The pod that DAGs are published from, as names, labels and what a cluster is told know it. It is no component of Airflow's."""

GATE: Component = {"name": "gate", "kind": "gate", "pool": None}
"""The Job that judges DAGs, likewise."""

CPU = 80
"""Per cent of what a pod requests: above it another one is started."""


@dataclass(frozen=True)
class Platform:
    """environment, version (Airflow's), routing, api_port, resources: as the plan has them. concurrency: of a pool's workers.

    endpoints: database, broker, dag_storage and log_store, as the services' roles give them.
    has_publisher: whether DAGs are published from a pod, and not from a host that has the DAG storage otherwise.
    """

    environment: str
    version: str
    routing: Mapping[str, Any]
    api_port: int
    concurrency: Mapping[str, int]
    endpoints: Mapping[str, Any]
    has_publisher: bool = False
    resources: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Mapping[str, Any], endpoints: Mapping[str, Any]) -> Platform:
        """The platform of a plan (plan.make)."""
        return cls(
            plan["environment"],
            plan["airflow_version"],
            plan["routing"],
            plan["api"]["port"],
            {pool["name"]: pool["concurrency"] for pool in plan["pools"]},
            endpoints,
            plan["dag_storage"]["publishes_in_pod"],
            plan["resources"],
        )


@dataclass(frozen=True)
class MadeSecrets:
    """Secrets are made from these values, by component and credential.

    key: of the hash that is part of a Secret's name; whoever does not know it learns nothing from the name.
    """

    values: Mapping[str, Mapping[str, str]] = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True)
class ExistingSecrets:
    """Secrets that are there already, their names by component. Each holds the component's credentials by their names."""

    names: Mapping[str, str]


@dataclass(frozen=True)
class ExternalSecrets:
    """Secrets that the External Secrets Operator makes, out of entries of a store.

    store, kind: the SecretStore or ClusterSecretStore. prefix: of an entry's name, the component's name follows; its
    properties are the component's credentials. refresh: how often it is read again.
    """

    store: str
    kind: str = "SecretStore"
    prefix: str = "airflow/"
    refresh: str = "1h"


Secrets = Union[MadeSecrets, ExistingSecrets, ExternalSecrets]


@dataclass(frozen=True)
class ExistingClaim:
    """A volume claim that is there already.

    path: of the DAG storage in its volume, where it is not the volume's root. groups: numbers of those that may read it,
    where not everybody may.
    """

    name: str
    path: str = ""
    groups: Sequence[int] = ()


@dataclass(frozen=True)
class NewClaim:
    """A volume claim that is made. path, groups: as of one that is there.

    storage_class: "" where a volume of no class is meant, None for the cluster's default class.
    volume: the name of the one volume that it shall have, of no class unless one is told.
    access_mode: other than ReadOnlyMany where a class gives no such, or a pod publishes.
    """

    name: str
    size: str
    storage_class: str | None = None
    volume: str | None = None
    access_mode: str = "ReadOnlyMany"
    path: str = ""
    groups: Sequence[int] = ()


Claim = Union[ExistingClaim, NewClaim]


@dataclass(frozen=True)
class Peer:
    """Who talks to a pod or is talked to: addresses, or pods by the labels of their namespace and of their own.

    None: not asked; {}: all.
    """

    cidr: str | None = None
    namespace: Mapping[str, str] | None = None
    pods: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Outlet:
    """Where tasks or triggers may go. No peers: anywhere. No ports: any."""

    peers: Sequence[Peer] = ()
    ports: Sequence[int] = ()


@dataclass(frozen=True)
class Ingress:
    """The UI's way in through an Ingress controller. tls_secret: the certificate's. peers: the controller's pods; else all."""

    host: str
    tls_secret: str
    ingress_class: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    peers: Sequence[Peer] = ()


@dataclass(frozen=True)
class Route:
    """The UI's way in through a Gateway that is there already; section: the listener that ends TLS."""

    host: str
    gateway: str
    namespace: str | None = None
    section: str = "https"
    peers: Sequence[Peer] = ()


@dataclass(frozen=True)
class Gateway:
    """The UI's way in through a Gateway that is made. tls_secret: the certificate's."""

    host: str
    gateway_class: str
    tls_secret: str
    peers: Sequence[Peer] = ()


Entrance = Union[Ingress, Route, Gateway]


@dataclass(frozen=True)
class Scaling:
    """How many pods of a component there may be. cpu: per cent of what they request, above which another one is started;
    with KEDA a worker's pods follow their queues instead.
    """

    least: int
    most: int
    cpu: int = CPU


@dataclass(frozen=True)
class Toleration:
    """A taint of nodes on which pods may run nevertheless. Without a key any, without an effect each of its effects.

    operator: Equal, to the value, or Exists, with any. seconds: for which a pod stays when NoExecute comes; None: always.
    """

    key: str | None = None
    operator: str = "Equal"
    value: str | None = None
    effect: str | None = None
    seconds: int | None = None


@dataclass(frozen=True)
class Nodes:
    """Where pods may run: on nodes with these labels, and on those with these taints besides."""

    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Toleration] = ()


class Scheduling(Protocol):
    """What a cluster is told about pods of any kind: by a component's name or, for all of a kind, by kind."""

    @property
    def pull_secrets(self) -> Sequence[str]:
        """Secrets with which nodes pull images."""

    @property
    def nodes(self) -> Mapping[str, Nodes]:
        """Where pods may run."""

    @property
    def priority_classes(self) -> Mapping[str, str]:
        """Which pods go first."""


DNS = Peer(namespace={"kubernetes.io/metadata.name": "kube-system"}, pods={"k8s-app": "kube-dns"})

USER = 50000
"""The image's own (_render.image.USER)."""


@dataclass(frozen=True)
class Cluster:
    """What a cluster is told. Nodes, priority classes and outlets are by a component's name or, for all of a kind, by kind.

    image: by digest. creates_namespace: it is expected otherwise, since making one takes more than rights in it.
    user: that the pods run as; 0: the cluster decides. scaling, annotations (of the service account, through which a
    cloud gives a role): by component. has_keda: whether a worker's pods follow its queues. dns, dns_port: who resolves names.
    reach: who provides a service of the platform, where its host is a name and not an address: else any address will do.
    outlets: where a component may go besides, since nobody else knows what its tasks or triggers reach.
    """

    namespace: str
    image: str
    secrets: Secrets
    dags: Claim
    creates_namespace: bool = False
    pull_secrets: Sequence[str] = ()
    user: int = USER
    entrance: Entrance | None = None
    scaling: Mapping[str, Scaling] = field(default_factory=dict)
    has_keda: bool = False
    nodes: Mapping[str, Nodes] = field(default_factory=dict)
    priority_classes: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    dns: Peer = DNS
    dns_port: int = 53
    reach: Mapping[str, Sequence[Peer]] = field(default_factory=dict)
    outlets: Mapping[str, Sequence[Outlet]] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """The platform and its cluster."""

    platform: Platform
    cluster: Cluster


def of_component(table: Mapping[str, Any], component: Component) -> Any:
    """What a table holds for a component, by its name or else by its kind; None where it holds nothing."""
    return table.get(component["name"], table.get(component["kind"]))
