# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab of podman containers shall be, compared with what a machine has. Pure: `lab_info` does the looking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Any

RELEASES = ("bookworm", "trixie")
IMAGE_REPOSITORY = "localhost/airstack-lab"

LABEL_NAME = "airstack.lab"
LABEL_DIRECTORY = "airstack.lab.directory"
LABEL_DESCRIPTION = "airstack.lab.description"
LABEL_IMAGE = "airstack.lab.image"

NETWORKS = "/etc/containers/networks"
"""Where root's podman keeps its networks, and looks for them when a person stops a container by hand: kept elsewhere, they
are not found then, and the container's address stays taken until the machine's next start."""

CAP_SYS_RESOURCE = 24
"""Bit of the capability that raises limits, from include/uapi/linux/capability.h."""

INOTIFY_PER_HOST = 5
"""Inotify instances of a host: systemd and D-Bus hold 4 on bookworm and on trixie; one for what its services watch."""

KEYS = ("ssh_key", "ssh_key.pub", "host_key", "host_key.pub", "known_hosts")
"""What the lab's directory holds beside containers.conf."""

LONGEST_PREFIX = 29
"""Six addresses that hosts could have; one is the gateway's."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_VOLUME = re.compile(r"(?P<source>[^:]+):(?P<target>/[^:]*)(?P<options>:[^:]+)?")
_RUNNING = ("running", "paused", "stopping")


@dataclass(frozen=True)
class Port:
    """A port of this machine that leads into a container."""

    address: str
    port: int
    inside: int

    @classmethod
    def parse(cls, text: str) -> Port:
        """`[address:]port:port inside`, as podman's --publish takes it.

        Raises ValueError where the text is something else.
        """
        *addresses, port, inside = text.split(":")
        address = addresses[0] if addresses else "0.0.0.0"  # noqa: S104 (podman's own default)
        if len(addresses) > 1 or not all(0 < int(number) < 1 << 16 for number in (port, inside)):
            raise ValueError(text)
        return cls(str(IPv4Address(address)), int(port), int(inside))

    def __str__(self) -> str:
        return f"{self.address}:{self.port}:{self.inside}"


@dataclass(frozen=True)
class Host:
    """A host of the inventory, as its variables describe it."""

    name: str
    address: str
    release: str = RELEASES[0]
    publish: Sequence[str] = ()
    volumes: Sequence[str] = ()

    def description(self) -> dict[str, Any]:
        """What a container is made from: its label keeps it, so that a later run sees what changed."""
        return {
            "address": self.address,
            "publish": list(self.publish),
            "release": self.release,
            "volumes": list(self.volumes),
        }

    def ports(self) -> list[Port]:
        """The published ports that can be read."""
        return [port for port in map(_port, self.publish) if port is not None]


@dataclass(frozen=True)
class Lab:
    """The lab that the inventory describes.

    images: reference by release. memory, disk: bytes that each host needs.
    """

    name: str
    directory: str
    subnet: str
    hosts: Sequence[Host]
    images: Mapping[str, str]
    recreate: bool = False
    memory: int = 0
    disk: int = 0

    def container(self, host: str) -> str:
        """A host's container."""
        return f"{self.name}-{host}"

    def labels(self) -> dict[str, str]:
        """By which all that is this lab's is known again."""
        return {LABEL_NAME: self.name, LABEL_DIRECTORY: self.directory}

    def owns(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels().items())

    def mounts(self, host: Host) -> list[str]:
        """A host's volumes as podman takes them: a source without a slash is a volume of this lab."""
        return [volume if "/" in volume.split(":")[0] else f"{self.name}-{volume}" for volume in host.volumes]

    def volumes(self) -> list[str]:
        """The names of this lab's volumes."""
        sources = (mount.split(":")[0] for host in self.hosts for mount in self.mounts(host))
        return sorted({source for source in sources if "/" not in source})


@dataclass(frozen=True)
class Image:
    """name: empty where another image took it."""

    identity: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """image: its name. image_identity: the image's identity."""

    name: str
    state: str
    image: str
    image_identity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[tuple[str, int]] = ()

    @property
    def running(self) -> bool:
        return self.state in _RUNNING


@dataclass(frozen=True)
class Network:
    name: str
    subnets: Sequence[str]
    interface: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """What stands on the machine.

    taken: who holds a port (address, port), in words, for those of the lab's ports that cannot be bound and that none of
    its own running containers publishes.
    routes: (subnet, interface). memory, disk: bytes available, inotify: instances in use and how many there may be;
    None where it was not looked at.
    keys, settings: whether the lab's directory holds the SSH keys, and podman's settings as they should be.
    """

    root: bool = True
    missing: Sequence[str] = ()
    containers: Sequence[Container] = ()
    networks: Sequence[Network] = ()
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    images: Sequence[Image] = ()
    routes: Sequence[tuple[str, str]] = ()
    taken: Mapping[tuple[str, int], str] = field(default_factory=dict)
    keys: bool = True
    settings: bool = True
    memory: int | None = None
    disk: int | None = None
    inotify: tuple[int, int] | None = None


@dataclass(frozen=True)
class Difference:
    """What stands between the lab and the machine.

    stale: containers to remove first. stale_network: the network, too. build: releases whose image is missing.
    create, start: hosts.
    """

    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()
    prepare: bool = False
    stale: Sequence[str] = ()
    stale_network: bool = False
    network: bool = False
    volumes: Sequence[str] = ()
    build: Sequence[str] = ()
    create: Sequence[str] = ()
    start: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        return not (self.prepare or self.network or self.volumes or self.create or self.start)

    def steps(self, lab: Lab) -> list[str]:
        """What a run would do, in words."""
        parts = (
            ("write keys and settings to", [lab.directory] * self.prepare),
            ("remove container", self.stale),
            ("remove network", [lab.name] * self.stale_network),
            ("build image", [lab.images[release] for release in self.build]),
            ("make network", [f"{lab.name} ({lab.subnet})"] * self.network),
            ("make volume", self.volumes),
            ("make container", [lab.container(host) for host in self.create]),
            ("start container", [lab.container(host) for host in self.start]),
        )
        return [f"{verb} {thing}" for verb, things in parts for thing in things]


def image(release: str, *recipe: bytes) -> str:
    """The image of a release: another recipe gives another image."""
    digest = sha256(b"\0".join([release.encode(), *recipe])).hexdigest()
    return f"{IMAGE_REPOSITORY}:{release}-{digest[:12]}"


def containers_conf(unified_cgroups: bool, may_raise_limits: bool, systemd: bool) -> str:
    """podman's settings for labs on this machine, so that those in /etc/containers need no change.

    unified_cgroups: the machine has cgroups v2 alone; with others crun refuses to start systemd.
    may_raise_limits: we have CAP_SYS_RESOURCE; without it podman's own default limits cannot be set.
    systemd: it is the machine's first process and can make the containers' cgroups.
    """
    containers = ['base_hosts_file = "none"', "pids_limit = 0"]
    if not may_raise_limits:
        containers.append('default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]')
    engine = []
    if not unified_cgroups:
        engine.append('runtime = "runc"')
    if not systemd:
        engine.append('cgroup_manager = "cgroupfs"')
    sections = (("containers", containers), ("engine", engine), ("network", ['network_backend = "netavark"']))
    return "\n".join("\n".join((f"[{name}]", *settings, "")) for name, settings in sections)


def routes(table: str) -> list[tuple[str, str]]:
    """(subnet, interface) of the machine's routes, the default route excepted, from the text of /proc/net/route."""
    found = []
    for line in table.splitlines()[1:]:
        interface, destination, _gateway, _flags, _count, _use, _metric, mask, *_rest = line.split()
        if int(mask, 16):
            found.append((str(IPv4Network((_little_endian(destination), str(_little_endian(mask))))), interface))
    return found


def compare(lab: Lab, machine: Machine) -> Difference:
    """What has to be done; with problems, nothing should be."""
    own = {container.name: container for container in machine.containers if lab.owns(container.labels)}
    standing = {host.name: own[lab.container(host.name)] for host in lab.hosts if lab.container(host.name) in own}
    subnets = [subnet for network in machine.networks if lab.owns(network.labels) for subnet in network.subnets]
    misplaced = bool(subnets) and subnets != [lab.subnet]

    differences = {host.name: _drift(host, standing[host.name]) for host in lab.hosts if host.name in standing}
    if misplaced:
        moved = f"subnet was {', '.join(subnets)} and is {lab.subnet}"
        differences = {name: text or moved for name, text in differences.items()}
    if not machine.keys:
        lost = f"the SSH keys that it was made with are gone from {lab.directory}"
        differences = {name: text or lost for name, text in differences.items()}
    drifted = {name: text for name, text in differences.items() if text}
    create = [host.name for host in lab.hosts if host.name not in standing or host.name in drifted]
    start = [name for name, container in standing.items() if name not in drifted and not container.running]
    busy = [host for host in lab.hosts if host.name in create or host.name in start]
    releases = sorted({host.release for host in busy if host.name in create and host.release in lab.images})

    problems = [
        *_description_problems(lab),
        *_machine_problems(machine),
        *_foreign_problems(lab, machine),
        *_subnet_problems(lab, machine),
        *(() if lab.recreate else _drift_problems(lab, drifted)),
        *_port_problems(busy, machine, [standing[name].name for name in drifted]),
        *_size_problems(lab, len(busy), len(create), machine),
        *_inotify_problems(len(busy), machine),
    ]
    return Difference(
        problems=list(dict.fromkeys(problems)),
        warnings=list(_warnings(lab, own, standing, drifted)),
        prepare=not (machine.keys and machine.settings),
        stale=[standing[name].name for name in drifted],
        stale_network=misplaced,
        network=subnets != [lab.subnet],
        volumes=[name for name in lab.volumes() if name not in machine.volumes],
        build=[release for release in releases if lab.images[release] not in {image.name for image in machine.images}],
        create=create,
        start=start,
    )


def leftovers(lab: Lab, machine: Machine) -> dict[str, list[str]]:
    """All that is this lab's, to be removed; images only where no other lab uses them."""
    containers = [container.name for container in machine.containers if lab.owns(container.labels)]
    used = {container.image_identity for container in machine.containers if container.name not in containers}
    unused = [image for image in machine.images if LABEL_IMAGE in image.labels and image.identity not in used]
    return {
        "containers": containers,
        "networks": [network.name for network in machine.networks if lab.owns(network.labels)],
        "volumes": [name for name, labels in machine.volumes.items() if lab.owns(labels)],
        "images": [image.name or image.identity[:12] for image in unused],
    }


def _little_endian(number: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(number), "little"))


def _port(text: str) -> Port | None:
    try:
        return Port.parse(text)
    except ValueError:
        return None


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None


def _subnet(text: str) -> IPv4Network | None:
    """A subnet that a lab can have."""
    network = _network(text)
    return network if network is not None and network.prefixlen <= LONGEST_PREFIX else None


def _drift(host: Host, container: Container) -> str:
    """How a host's description differs from what its container was made from; empty where it does not."""
    before = json.loads(container.labels.get(LABEL_DESCRIPTION, "{}"))
    now = host.description()
    return ", ".join(f"{key} was {before.get(key)} and is {now[key]}" for key in now if before.get(key) != now[key])


def _description_problems(lab: Lab) -> Iterator[str]:
    if not _NAME.fullmatch(lab.name):
        yield (
            f"airflow_hosts_lab_name is {lab.name!r}; podman wants lower-case letters, digits, '.', '_' and '-',"
            " the first a letter or a digit"
        )
    if not lab.hosts:
        yield "the inventory's group airflow_lab is empty; put the hosts in it that the lab shall make"
    subnet = _subnet(lab.subnet)
    if subnet is None:
        yield (
            f"airflow_hosts_lab_subnet is {lab.subnet!r}; it should be an IPv4 subnet such as 10.89.57.0/24,"
            f" with a prefix of {LONGEST_PREFIX} at most"
        )
    addresses: dict[str, str] = {}
    ports: dict[tuple[str, int], str] = {}
    for host in lab.hosts:
        yield from _address_problems(host, subnet)
        if host.address:
            other = addresses.setdefault(host.address, host.name)
            if other != host.name:
                yield f"ansible_host of {host.name} is {host.address}, and so is that of {other}; give each host its own"
        if host.release not in RELEASES:
            yield f"airflow_hosts_lab_release of {host.name} is {host.release!r}; it should be one of {', '.join(RELEASES)}"
        for text in host.publish:
            port = _port(text)
            if port is None:
                yield f"airflow_hosts_lab_publish of {host.name} has {text!r}; it should read like 127.0.0.1:8080:8080"
            elif ports.setdefault((port.address, port.port), host.name) != host.name:
                yield (
                    f"airflow_hosts_lab_publish of {host.name} has port {port.port} on {port.address}, and so has that"
                    f" of {ports[port.address, port.port]}; give each its own"
                )
        for volume in host.volumes:
            if not _VOLUME.fullmatch(volume):
                yield f"airflow_hosts_lab_volumes of {host.name} has {volume!r}; it should read like dags:/srv/airflow/dags:ro"


def _address_problems(host: Host, subnet: IPv4Network | None) -> Iterator[str]:
    address = _address(host.address)
    if address is None:
        found = repr(host.address) if host.address else "not set"
        yield f"ansible_host of {host.name} is {found}; it should be an address in {subnet or 'airflow_hosts_lab_subnet'}"
    elif subnet is not None:
        reserved = (subnet.network_address, subnet.network_address + 1, subnet.broadcast_address)
        if address not in subnet or address in reserved:
            yield (
                f"ansible_host of {host.name} is {address}; it should be an address in {subnet},"
                f" above {reserved[1]}, which is the gateway's"
            )


def _machine_problems(machine: Machine) -> Iterator[str]:
    if not machine.root:
        yield (
            "the lab's hosts are root's containers (systemd, fixed addresses, a bridge), and you are not root; run as root:"
            " rootless podman is not supported"
        )
    if machine.missing:
        yield (
            f"not installed on this machine: {', '.join(machine.missing)}; `make up` as root installs them,"
            f" and so does: apt-get install --no-install-recommends {' '.join(machine.missing)}"
        )


def _foreign_problems(lab: Lab, machine: Machine) -> Iterator[str]:
    things = [
        *(container.labels for container in machine.containers),
        *(network.labels for network in machine.networks),
        *machine.volumes.values(),
    ]
    for labels in things:
        if labels.get(LABEL_NAME) == lab.name and not lab.owns(labels):
            yield (
                f"another lab named {lab.name} stands on this machine; set another airflow_hosts_lab_name,"
                " airflow_hosts_lab_subnet and other ports, or remove it with: ansible-playbook playbooks/lab_destroy.yml"
                f" -e airflow_hosts_lab_directory={labels.get(LABEL_DIRECTORY)}"
            )
    names = {lab.container(host.name) for host in lab.hosts}
    for container in machine.containers:
        if container.name in names and container.labels.get(LABEL_NAME) != lab.name:
            yield (
                f"a container named {container.name} stands on this machine, and this lab did not make it;"
                " remove it or set another airflow_hosts_lab_name"
            )


def _subnet_problems(lab: Lab, machine: Machine) -> Iterator[str]:
    subnet = _subnet(lab.subnet)
    if subnet is None:
        return
    networks = [
        (text, f"podman's network {network.name}")
        for network in machine.networks
        if network.labels.get(LABEL_NAME) != lab.name
        for text in network.subnets
    ]
    bridges = {network.interface for network in machine.networks}
    routed = [(text, f"a route over {interface}") for text, interface in machine.routes if interface not in bridges]
    for text, owner in networks + routed:
        other = _network(text)
        if other is not None and other.overlaps(subnet):
            yield (
                f"the subnet {subnet} meets {other} of {owner}; set another airflow_hosts_lab_subnet"
                " and addresses in it (ansible_host)"
            )


def _drift_problems(lab: Lab, drifted: Mapping[str, str]) -> Iterator[str]:
    for name, text in drifted.items():
        yield (
            f"container {lab.container(name)} cannot stay as it is: {text}; to make it anew, losing what is"
            " in it, add -e airflow_hosts_lab_recreate=true, or begin again with `make down`"
        )


def _port_problems(hosts: Iterable[Host], machine: Machine, stale: Sequence[str]) -> Iterator[str]:
    holders = {
        port: container.name
        for container in machine.containers
        if container.running and container.name not in stale
        for port in container.ports
    }
    for host in hosts:
        for port in host.ports():
            key = (port.address, port.port)
            container = holders.get(key)
            holder = f"container {container}" if container else machine.taken.get(key)
            if holder:
                yield (
                    f"port {port.port} on {port.address} is taken by {holder}; free it,"
                    f" or set another in airflow_hosts_lab_publish of {host.name}"
                )


def _size_problems(lab: Lab, busy: int, new: int, machine: Machine) -> Iterator[str]:
    demands = (
        ("memory", busy, lab.memory, machine.memory, "airflow_hosts_lab_memory_mb"),
        ("disk space for podman's storage", new, lab.disk, machine.disk, "airflow_hosts_lab_disk_mb"),
    )
    for what, hosts, each, available, variable in demands:
        if available is not None and available < hosts * each:
            yield (
                f"{_gib(available)} GiB of {what} are free and {hosts} hosts need {_gib(hosts * each)} GiB;"
                f" free some, or set {variable} (what one host needs)"
            )


def _inotify_problems(hosts: int, machine: Machine) -> Iterator[str]:
    if machine.inotify is None:
        return
    used, allowed = machine.inotify
    wanted = used + hosts * INOTIFY_PER_HOST
    if wanted > allowed:
        yield (
            f"root has {used} of {allowed} inotify instances, and systemd on {hosts} hosts needs {hosts * INOTIFY_PER_HOST};"
            f" remove other labs, or allow more: sysctl fs.inotify.max_user_instances={wanted * 2}"
        )


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f}"


def _warnings(
    lab: Lab, own: Mapping[str, Container], standing: Mapping[str, Container], drifted: Mapping[str, str]
) -> Iterator[str]:
    for name in own:
        if name not in map(lab.container, standing):
            yield f"container {name} is of this lab and no longer in the inventory; `make down` removes it"
    for host in lab.hosts:
        container = standing.get(host.name)
        if container and host.name not in drifted and container.image != lab.images.get(host.release):
            yield (
                f"container {container.name} is of the image {container.image}, and a new one would be of"
                f" {lab.images.get(host.release)}; `make down` and `make up` make it anew"
            )
