# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On which hosts each platform may run a component, and how many processes of it run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import dns
from .description import Description, Pool
from .inventory import Inventory
from .problems import Problem

CENTRAL = {
    "api-server": "airflow_api_servers",
    "scheduler": "airflow_schedulers",
    "dag-processor": "airflow_dag_processors",
    "triggerer": "airflow_triggerers",
}
"""The components that are not workers, each with the child of airflow_control that narrows its hosts down."""

CONTROL = "airflow_control"

WORKERS = "airflow_workers_"
"""What the groups of pools begin with."""

MANAGERS = "airflow_swarm_managers"
"""The nodes that manage a Swarm; without it, the first node does alone."""

ITS_ADDRESS = "airflow.utils.net.get_host_ip_address"
"""The name of a container or a pod is nobody else's to resolve."""

PUBLISHER = "airflow_publisher"
"""The host that publishes DAGs, where the platform's readers of them are on no host."""

PERSISTENT_VOLUME = "persistent_volume"
"""The DAG storage's provider whose publisher is a pod, which has a claim of the cluster's mounted."""

LONGEST_SERVICE = 63
"""Characters of the name of a service on a Swarm (swarmkit, manager/controlapi): it is a host's name as well."""

API_NAME = "api-server"
"""By what name a container finds the API servers, where the platform gives names to components."""


def worker_group(pool: str) -> str:
    """The group whose hosts run a pool's workers."""
    return f"{WORKERS}{pool}"


def _at_hosts(described: Description, inventory: Inventory, hosts: Sequence[str]) -> list[dict[str, str]]:
    """Each host where an API server may run, by its address."""
    return [{"host": host, "url": f"http://{inventory.address(host)}:{described.api_port}"} for host in hosts]


@dataclass(frozen=True)
class Platform:
    """What decides where components run.

    problems: what it misses in an inventory or refuses of a description.
    nodes: the hosts that any component without a group of its own may run on, the one that manages the others first.
    replicas: the processes of a component, from its hosts and from what the description asks for.
    machines: what ``{host}`` stands for in each of a component's processes, from its name, hosts and replicas.
    api_name: by what name or address other components reach the API server.
    entrance: the address at which people do; None: the same.
    publishers: who may publish DAGs, the first one does; from the hosts that read them all.
    others: what runs besides components, and may be told resources as well.
    delegates: who may make and ask what has no host of its own, the first one does.
    servers: where the REST API is asked, each place with the host that answers there; from the API servers' hosts.
    collisions: what is wrong with what follows from a description, the plan.
    has_addresses: whether each process has an address of its own, and so ports that nobody else takes.
    hostname_callable: what Airflow calls for the name of a machine that others reach; None: its own, the machine's full name.
    """

    problems: Callable[[Description, Inventory], list[Problem]]
    nodes: Callable[[Inventory], list[str]]
    replicas: Callable[[Sequence[str], int | None], int]
    machines: Callable[[str, Sequence[str], int], list[str]]
    api_name: Callable[[Inventory, Sequence[str]], str]
    entrance: Callable[[Inventory], str | None]
    publishers: Callable[[Inventory, Sequence[str]], Sequence[str]] = lambda _inventory, readers: readers
    delegates: Callable[[Inventory], list[str]] = lambda inventory: inventory.hosts(CONTROL)
    servers: Callable[[Description, Inventory, Sequence[str]], list[dict[str, str]]] = _at_hosts
    others: Callable[[Description], Sequence[str]] = lambda _described: ()
    collisions: Callable[[Mapping[str, Any]], list[Problem]] = lambda _plan: []
    hostname_callable: str | None = None
    has_addresses: bool = False
    has_hosts: bool = True

    def hosts(self, inventory: Inventory, *groups: str) -> list[str]:
        """Where a component may run, by the first of the groups that has a host, else on any node."""
        return (inventory.hosts(*groups) or self.nodes(inventory)) if self.has_hosts else []

    def place(self, name: str, inventory: Inventory, asked: int | None, *groups: str) -> dict[str, Any]:
        """Hosts, replicas and machines of a component."""
        hosts = self.hosts(inventory, *groups)
        replicas = self.replicas(hosts, asked)
        return {"hosts": hosts, "replicas": replicas, "machines": self.machines(name, hosts, replicas)}


def of(described: Description) -> Platform:
    """The platform that a description names."""
    return PLATFORMS[described.platform]


def of_pool(described: Description, inventory: Inventory, pool: Pool) -> dict[str, Any]:
    """Hosts, replicas and machines of a pool's workers."""
    return of(described).place(f"worker-{pool.name}", inventory, pool.replicas, worker_group(pool.name))


def of_central(described: Description, inventory: Inventory, name: str, kind: str) -> dict[str, Any]:
    """Hosts, replicas and machines of a component that is no worker."""
    return of(described).place(name, inventory, None, CENTRAL[kind], CONTROL)


def where(placed: Mapping[str, Any]) -> str:
    """Where a component or the workers of a pool run, for a person."""
    hosts = ", ".join(placed["hosts"])
    if placed["machines"] == placed["hosts"]:
        return hosts
    return f"{placed['replicas']} on {hosts}" if hosts else str(placed["replicas"])


def _systemd_problems(described: Description, inventory: Inventory) -> list[Problem]:
    """Groups without a host, hosts with two pools, and replicas beside hosts."""
    needed = {
        CONTROL: "the central components",
        **{worker_group(pool.name): f"the workers of pool {pool.name}" for pool in described.worker_pools},
    }
    return [
        *_empty(needed, inventory),
        *_outside(CONTROL, CENTRAL.values(), inventory),
        *_crowded(described, inventory),
        *_counted(described),
        *_of_a_cluster(described, inventory),
    ]


def _swarm_problems(described: Description, inventory: Inventory) -> list[Problem]:
    """A Swarm without nodes, and managers that are none of its nodes or too many to agree."""
    managers = inventory.hosts(MANAGERS)
    strangers = [
        Problem(f"groups['{MANAGERS}']", host, f"a host of {CONTROL} or of a pool, which are the nodes")
        for host in managers
        if host not in _component_hosts(inventory)
    ]
    right = "an odd number of hosts: of an even one, no more may fail than of one less"
    even = [Problem(f"groups['{MANAGERS}']", managers, right)] if managers and len(managers) % 2 == 0 else []
    return [
        *_empty({CONTROL: "the central components, which is a node of the Swarm"}, inventory),
        *_outside(CONTROL, CENTRAL.values(), inventory),
        *strangers,
        *even,
        *_of_a_cluster(described, inventory),
    ]


def _kubernetes_problems(described: Description, inventory: Inventory) -> list[Problem]:
    """Nobody who publishes DAGs or more than one, no address of the way in, and hosts that would run nothing."""
    publishers = inventory.hosts(PUBLISHER)
    share = f"has the file system of the DAGs' volume mounted at {described.dag_storage_path}, writable"
    right = f"one host that {'is the pod that publishes' if publishes_in_pod(described) else share}"
    no_way_in = described.api_url is None and "api_url" not in described.unread
    way_in = "the address of the cluster's way in, such as https://airflow.example.com: pods alone know the API server's name"
    return [
        *([] if len(publishers) == 1 else [Problem(f"groups['{PUBLISHER}']", publishers or None, right)]),
        *([Problem("airflow_api_url", None, way_in)] if no_way_in else []),
        *_unknown_networks(described),
        *(
            Problem(f"groups['{group}']", list(hosts), "left out: the cluster decides where components run")
            for group, hosts in inventory.groups.items()
            if hosts and (group in (CONTROL, *CENTRAL.values()) or group.startswith(WORKERS))
        ),
    ]


def _unknown_networks(described: Description) -> list[Problem]:
    """A database of the inventory's that would let no pod in."""
    is_ours = described.database_provider == "postgresql"
    if not is_ours or described.cluster_networks or "cluster_networks" in described.unread:
        return []
    right = (
        "the networks from which the cluster's pods reach the database, such as [10.244.0.0/16]: that of the pods, or that of the"
        " nodes where these hide their pods' addresses"
    )
    return [Problem("airflow_cluster_networks", None, right)]


def publishes_in_pod(described: Description) -> bool:
    """Whether DAGs are published from a pod, which has the volume's claim mounted and knows the cluster's names."""
    return described.platform == "kubernetes" and described.dag_storage_provider == PERSISTENT_VOLUME


def _in_cluster(described: Description, _inventory: Inventory, _hosts: Sequence[str]) -> list[dict[str, str]]:
    """The API servers' Service, where a pod asks; any other host goes the way that people go."""
    own = described.api_internal_url or f"http://{API_NAME}:{described.api_port}"
    url = own if publishes_in_pod(described) else described.api_url or own
    return [{"host": "the cluster", "url": url}]


def _swarm_nodes(inventory: Inventory) -> list[str]:
    """The hosts of all components, a manager first."""
    return list(dict.fromkeys([*inventory.hosts(MANAGERS), *_component_hosts(inventory)]))


def _component_hosts(inventory: Inventory) -> list[str]:
    """The hosts which the playbooks run components on."""
    groups = (CONTROL, *(group for group in inventory.groups if group.startswith(WORKERS)))
    return [host for group in groups for host in inventory.hosts(group)]


def _empty(needed: Mapping[str, str], inventory: Inventory) -> Iterator[Problem]:
    for group, purpose in needed.items():
        if not inventory.groups.get(group):
            yield Problem(
                f"groups['{group}']", inventory.groups.get(group), f"an inventory group with a host for {purpose}"
            )


def _of_a_cluster(described: Description, inventory: Inventory) -> list[Problem]:
    """What means something on Kubernetes alone."""
    publishers, networks = inventory.hosts(PUBLISHER), list(described.cluster_networks)
    right = "left out: the first host of the DAG processors publishes, which has the DAG storage"
    return [
        *([Problem(f"groups['{PUBLISHER}']", publishers, right)] if publishers else []),
        *([Problem("airflow_cluster_networks", networks, "left out: no pods come")] if networks else []),
    ]


def _outside(parent: str, groups: Iterable[str], inventory: Inventory) -> Iterator[Problem]:
    """Hosts of a component's group that are not in the group which the playbooks run on."""
    inside = set(inventory.groups.get(parent, ()))
    for group in groups:
        for host in inventory.groups.get(group, ()):
            if host not in inside:
                right = f"a host of {parent} too: make {group} a child of {parent}"
                yield Problem(f"groups['{group}']", host, right)


def _crowded(described: Description, inventory: Inventory) -> Iterator[Problem]:
    """A worker serves its running tasks' logs on one port of its host, the same for all workers."""
    first: dict[str, str] = {}
    for pool in described.worker_pools:
        group = worker_group(pool.name)
        for host in inventory.hosts(group):
            if host in first:
                right = f"a host of its own: {host} is in {first[host]} already, and a host runs one pool's worker"
                yield Problem(f"groups['{group}']", host, right)
            first.setdefault(host, group)


def _counted(described: Description) -> Iterator[Problem]:
    """A number of workers that the number of hosts says already."""
    for at, pool in enumerate(described.worker_pools):
        if pool.replicas is not None:
            right = f"left out: on systemd each host of {worker_group(pool.name)} runs one worker"
            yield Problem(f"airflow_worker_pools[{at}].replicas", pool.replicas, right)


def stack(environment: str) -> str:
    """What an environment is called on a Swarm."""
    return f"airflow-{environment}"


def service(environment: str, component: str) -> str:
    """What a component is called on a Swarm, which other environments may share."""
    return f"{stack(environment)}_{component}"


def _long_services(plan: Mapping[str, Any]) -> list[Problem]:
    """Components whose service on a Swarm would have too long a name, which is made of the description's own names."""
    names = {each["name"]: service(plan["environment"], each["name"]) for each in plan["components"]}
    right = (
        f"{LONGEST_SERVICE} characters or fewer: a shorter airflow_environment, or a shorter name of its pool or team"
    )
    return [
        Problem(f"the service of {component}", name, right)
        for component, name in names.items()
        if len(name) > LONGEST_SERVICE
    ]


def _asked(_hosts: Sequence[str], asked: int | None) -> int:
    return 1 if asked is None else asked


PLATFORMS: dict[str, Platform] = {
    "systemd": Platform(
        problems=_systemd_problems,
        nodes=lambda _inventory: [],
        replicas=lambda hosts, _asked: len(hosts),
        machines=lambda _name, hosts, _replicas: list(hosts),
        api_name=lambda inventory, hosts: inventory.address(hosts[0]),
        entrance=lambda _inventory: None,
    ),
    "swarm": Platform(
        problems=_swarm_problems,
        nodes=_swarm_nodes,
        replicas=_asked,
        # Slots are counted from 1.
        machines=lambda name, _hosts, replicas: [f"{name}-{slot}" for slot in range(1, replicas + 1)],
        api_name=lambda _inventory, _hosts: API_NAME,
        # A published port is every node's.
        entrance=lambda inventory: inventory.address(_swarm_nodes(inventory)[0]),
        collisions=_long_services,
        hostname_callable=ITS_ADDRESS,
        has_addresses=True,
    ),
    "kubernetes": Platform(
        problems=_kubernetes_problems,
        nodes=lambda _inventory: [],
        replicas=_asked,
        # A StatefulSet counts its pods from 0.
        machines=lambda name, _hosts, replicas: [f"{dns.label(name)}-{pod}" for pod in range(replicas)],
        api_name=lambda _inventory, _hosts: API_NAME,
        entrance=lambda _inventory: None,
        publishers=lambda inventory, _readers: inventory.hosts(PUBLISHER),
        delegates=lambda inventory: inventory.hosts(PUBLISHER),
        servers=_in_cluster,
        others=lambda described: ("gate", "publisher") if publishes_in_pod(described) else ("gate",),
        hostname_callable=ITS_ADDRESS,
        has_addresses=True,
        has_hosts=False,
    ),
}
"""By their names in airflow_platform; description.PLATFORMS says which of them are offered."""
