# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands in a lab's way, in its description and on the machine, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from ansible_collections.airstack.backbone.plugins.module_utils._lab.description import Host, Lab, readable_port
from ansible_collections.airstack.backbone.plugins.module_utils._lab.images import RELEASES
from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_DIRECTORY, LABEL_NAME
from ansible_collections.airstack.backbone.plugins.module_utils._lab.machine import Machine

INOTIFY_PER_HOST = 5
"""Inotify instances of a host: systemd and D-Bus hold 4 on bookworm and on trixie; one for what its services watch."""

LONGEST_PREFIX = 29
"""Six addresses that hosts could have; one is the gateway's."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_VOLUME = re.compile(r"(?P<source>[^:]+):(?P<target>/[^:]*)(?P<options>:[^:]+)?")


def description_problems(lab: Lab) -> Iterator[str]:
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
            port = readable_port(text)
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


def machine_problems(machine: Machine) -> Iterator[str]:
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


def foreign_problems(lab: Lab, machine: Machine) -> Iterator[str]:
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


def subnet_problems(lab: Lab, machine: Machine) -> Iterator[str]:
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


def drift_problems(lab: Lab, drifted: Mapping[str, str]) -> Iterator[str]:
    for name, text in drifted.items():
        yield (
            f"container {lab.container(name)} cannot stay as it is: {text}; to make it anew, losing what is"
            " in it, add -e airflow_hosts_lab_recreate=true, or begin again with `make down`"
        )


def port_problems(hosts: Iterable[Host], machine: Machine, stale: Sequence[str]) -> Iterator[str]:
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


def size_problems(lab: Lab, busy: int, new: int, machine: Machine) -> Iterator[str]:
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


def inotify_problems(hosts: int, machine: Machine) -> Iterator[str]:
    if machine.inotify is None:
        return
    used, allowed = machine.inotify
    wanted = used + hosts * INOTIFY_PER_HOST
    if wanted > allowed:
        yield (
            f"root has {used} of {allowed} inotify instances, and systemd on {hosts} hosts needs {hosts * INOTIFY_PER_HOST};"
            f" remove other labs, or allow more: sysctl fs.inotify.max_user_instances={wanted * 2}"
        )


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


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f}"
