#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_info
short_description: Tell what a lab of podman containers lacks
version_added: 0.1.0
description:
  - Compares a lab, as an inventory describes it, with the containers, networks, volumes and images on this machine, and
    returns what has to be made, started or removed, and everything that stands in the way.
  - Nothing is changed, and problems are no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  name:
    description: The lab's name, with which the names of its containers and volumes begin; also its network's name.
    type: str
    required: true
  directory:
    description: Where the lab's keys and podman's settings are kept.
    type: path
    required: true
  subnet:
    description: The lab's IPv4 subnet, in CIDR notation, with a prefix of 29 at most.
    type: str
    required: true
  hosts:
    description: The hosts, each of which is a container.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The host's name.
        type: str
        required: true
      address:
        description: Its address in O(subnet).
        type: str
        default: ""
      release:
        description: Its Debian release, V(bookworm) or V(trixie).
        type: str
        default: bookworm
      publish:
        description: Ports of this machine that lead to it, each V(address:port:port inside).
        type: list
        elements: str
        default: []
      volumes:
        description: Volumes, each V(source:path[:options]); a source without a slash is a volume of the lab's own.
        type: list
        elements: str
        default: []
      runs_containers:
        description: Whether a container engine works in it.
        type: bool
        default: false
  recipe:
    description: The program that builds an image. Another recipe gives images of another name.
    type: path
  mirrors:
    description: Package mirrors that the images are built from.
    type: list
    elements: str
    default: []
  ca_bundle:
    description: Certificates that the images are built with.
    type: path
  recreate:
    description: Whether containers that were made from another description are to be removed, and is no problem then.
    type: bool
    default: false
  memory_mb:
    description: Memory that each host needs, in MiB.
    type: int
    default: 0
  disk_mb:
    description: Disk space that each host needs, in MiB.
    type: int
    default: 0
author:
  - Airstack Founders (@airstack)
"""

EXAMPLES = r"""
- name: Look at the lab
  airstack.backbone.lab_info:
    name: local
    directory: /srv/lab
    subnet: 10.89.57.0/24
    hosts:
      - name: control1
        address: 10.89.57.13
        publish: ["127.0.0.1:8080:8080"]
  register: lab
"""

RETURN = r"""
problems:
  description: What stands in the way, in words.
  returned: always
  type: list
  elements: str
  sample: ["port 8080 on 127.0.0.1 is taken by nginx (process 812); free it, or set another in airflow_hosts_lab_publish of c1"]
complete:
  description: Whether the lab stands as it is described.
  returned: always
  type: bool
steps:
  description: What has to be done, in words and in order.
  returned: always
  type: list
  elements: str
  sample: ["make network local (10.89.57.0/24)", "make container local-control1"]
missing:
  description: What has to be done.
  returned: always
  type: dict
  contains:
    prepare:
      description: Whether a file in O(directory) is missing or not as it should be.
      type: bool
    stale:
      description: Containers to be removed first.
      type: list
      elements: str
    stale_network:
      description: Whether the network is to be removed first.
      type: bool
    network:
      description: Whether the network is to be made.
      type: bool
    volumes:
      description: Volumes to be made.
      type: list
      elements: str
    build:
      description: Releases whose image is to be built.
      type: list
      elements: str
    create:
      description: Hosts whose container is to be made.
      type: list
      elements: str
    start:
      description: Hosts whose container is to be started.
      type: list
      elements: str
hosts:
  description: What each host's container is made from, by the host's name.
  returned: always
  type: dict
  contains:
    container:
      description: Its name.
      type: str
    image:
      description: Its image.
      type: str
    volumes:
      description: Its volumes, with the names that podman knows.
      type: list
      elements: str
    labels:
      description: Its labels.
      type: dict
images:
  description: The image of each release.
  returned: always
  type: dict
labels:
  description: The labels of all that is this lab's.
  returned: always
  type: dict
containers_conf:
  description: podman's settings for this lab on this machine.
  returned: always
  type: str
leftovers:
  description: All that is this lab's, to be removed with it.
  returned: always
  type: dict
  contains:
    containers:
      description: Its containers.
      type: list
      elements: str
    networks:
      description: Its networks.
      type: list
      elements: str
    volumes:
      description: Its volumes.
      type: list
      elements: str
    images:
      description: Images that no other lab uses.
      type: list
      elements: str
"""

import json
import os
import shutil
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _host
from ansible_collections.airstack.backbone.plugins.module_utils._lab.description import Host, Lab, Port
from ansible_collections.airstack.backbone.plugins.module_utils._lab.difference import compare
from ansible_collections.airstack.backbone.plugins.module_utils._lab.images import RELEASES, image
from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_DESCRIPTION
from ansible_collections.airstack.backbone.plugins.module_utils._lab.leftovers import leftovers
from ansible_collections.airstack.backbone.plugins.module_utils._lab.machine import (
    Container,
    Image,
    Machine,
    Network,
    routes,
)
from ansible_collections.airstack.backbone.plugins.module_utils._lab.settings import (
    CAP_SYS_RESOURCE,
    KEYS,
    NETWORKS,
    containers_conf,
)

MIB = 1024**2

PROGRAMS = {
    "podman": "podman",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "ssh-keygen": "openssh-client",
}
"""Debian's package of each program that the lab needs."""

PROGRAM_PATHS = ("/usr/sbin", "/sbin", "/usr/lib/podman", "/usr/libexec/podman")
"""Where programs stand that PATH need not name."""


Listing = list[dict[str, Any]]


class Podman:
    """podman with settings that need not have been written yet.

    A directory of its own for networks keeps it from leaving one in /etc: it makes that even where it only lists containers.
    """

    def __init__(self, module: AnsibleModule, settings: str) -> None:
        configuration = Path(module.tmpdir, "containers.conf")
        networks_directory = json.dumps(str(Path(module.tmpdir, "networks")))
        configuration.write_text(f"{settings}network_config_dir = {networks_directory}\n", encoding="utf-8")
        self._module = module
        self._environment = {"CONTAINERS_CONF": str(configuration)}

    def listing(self, *arguments: str) -> Listing:
        return json.loads(self.text(*arguments, "--format", "json") or "[]") or []

    def text(self, *arguments: str) -> str:
        command = ["podman", *arguments]
        _code, output, _error = self._module.run_command(
            command, environ_update=self._environment, check_rc=True, encoding="utf-8"
        )
        return str(output)

    def containers(self) -> list[Container]:
        return [
            Container(
                name=container["Names"][0],
                state=container["State"],
                image=container["Image"],
                image_identity=container["ImageID"],
                labels=container["Labels"] or {},
                ports=[
                    (port["host_ip"] or "0.0.0.0", port["host_port"] + offset)  # noqa: S104 (podman's own default)
                    for port in container["Ports"] or []
                    for offset in range(port.get("range", 1))
                ],
            )
            for container in self.listing("ps", "--all")
        ]

    def volumes(self) -> dict[str, dict[str, str]]:
        return {volume["Name"]: volume["Labels"] or {} for volume in self.listing("volume", "ls")}

    def images(self) -> list[Image]:
        return [
            Image(image["Id"], name, image["Labels"] or {})
            for image in self.listing("images")
            for name in image.get("Names") or [""]
        ]


def networks(directory: Path) -> list[Network]:
    """The networks that podman keeps in a directory; podman skips a file that describes none, and so do we."""
    described = filter(None, map(_network, sorted(directory.glob("*.json"))))
    return [
        Network(
            name=network["name"],
            subnets=[subnet["subnet"] for subnet in network.get("subnets") or []],
            interface=network.get("network_interface", ""),
            labels=network.get("labels") or {},
        )
        for network in described
    ]


def _network(file: Path) -> dict[str, Any] | None:
    try:
        network = json.loads(_host.read(file))
    except ValueError:
        return None
    return network if isinstance(network, dict) and "name" in network else None


def missing_packages(needs_runc: bool) -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), *PROGRAM_PATHS])
    programs = {**PROGRAMS, **({"runc": "runc"} if needs_runc else {})}
    return [package for program, package in programs.items() if shutil.which(program, path=path) is None]


def may_raise_limits() -> bool:
    effective = next(line for line in _host.read(Path("/proc/self/status")).splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_RESOURCE & 1)


def taken(ports: list[Port]) -> dict[tuple[str, int], str]:
    """Who holds the ports that cannot be bound."""
    found = {}
    for port in ports:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((port.address, port.port))
                listener.listen(1)
            except OSError as error:
                found[port.address, port.port] = holder(port.port) or f"something else ({error.strerror})"
    return found


def holder(port: int) -> str:
    """The process that listens on a port; empty where there is none that we may see."""
    tables = [_host.listening(_host.read(Path("/proc/net", name))) for name in ("tcp", "tcp6")]
    inodes = {inode for table in tables for inode in table.get(port, ())}
    return next((f"{name} (process {pid})" for pid, name, _unit in _host.owners(inodes)), "") if inodes else ""


def available_memory() -> int:
    lines = _host.read(Path("/proc/meminfo")).splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def inotify() -> tuple[int, int]:
    """How many inotify instances root's processes hold, and how many they may."""
    allowed = int(_host.read(Path("/proc/sys/fs/inotify/max_user_instances")) or 0)
    return sum(map(inotify_instances, Path("/proc").glob("[0-9]*"))), allowed


def inotify_instances(process: Path) -> int:
    try:
        if process.stat().st_uid != 0:
            return 0
        return sum(os.readlink(link) == "anon_inode:inotify" for link in os.scandir(process / "fd"))
    except OSError:
        return 0


def images(parameters: dict[str, Any]) -> dict[str, str]:
    """The image of each release."""
    sources = [Path(parameters[name]) for name in ("recipe", "ca_bundle") if parameters[name]]
    recipe = [source.read_bytes() if source.is_file() else b"" for source in sources]
    return {release: image(release, *recipe, *map(str.encode, parameters["mirrors"])) for release in RELEASES}


def look(module: AnsibleModule, lab: Lab, settings: str, needs_runc: bool) -> Machine:
    """The machine as it stands; without podman or root's rights only that."""
    root = os.geteuid() == 0
    missing = missing_packages(needs_runc)
    podman = Podman(module, settings) if root and "podman" not in missing else None
    containers = podman.containers() if podman else []
    own = [container for container in containers if lab.owns(container.labels) and container.running]
    published = {port for container in own for port in container.ports}
    busy = not {lab.container(host.name) for host in lab.hosts} <= {container.name for container in own}
    storage = Path(podman.text("info", "--format", "{{.Store.GraphRoot}}").strip()) if podman and busy else None
    ports = [port for host in lab.hosts for port in host.ports() if (port.address, port.port) not in published]
    return Machine(
        root=root,
        missing=missing,
        containers=containers,
        networks=networks(Path(NETWORKS)),
        volumes=podman.volumes() if podman else {},
        images=podman.images() if podman else [],
        routes=routes(_host.read(Path("/proc/net/route"))),
        taken=taken(ports),
        keys=all(Path(lab.directory, name).is_file() for name in KEYS),
        settings=_host.read(Path(lab.directory, "containers.conf")) == settings,
        memory=available_memory() if busy else None,
        disk=_host.free_bytes(_host.nearest_existing(storage)) if storage else None,
        inotify=inotify() if busy else None,
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "subnet": {"type": "str", "required": True},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "default": ""},
                    "release": {"type": "str", "default": "bookworm"},
                    "publish": {"type": "list", "elements": "str", "default": []},
                    "volumes": {"type": "list", "elements": "str", "default": []},
                    "runs_containers": {"type": "bool", "default": False},
                },
            },
            "recipe": {"type": "path"},
            "mirrors": {"type": "list", "elements": "str", "default": []},
            "ca_bundle": {"type": "path"},
            "recreate": {"type": "bool", "default": False},
            "memory_mb": {"type": "int", "default": 0},
            "disk_mb": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    lab = Lab(
        name=parameters["name"],
        directory=str(Path(parameters["directory"]).resolve()),
        subnet=parameters["subnet"],
        hosts=[Host(**host) for host in parameters["hosts"]],
        images=images(parameters),
        recreate=parameters["recreate"],
        memory=parameters["memory_mb"] * MIB,
        disk=parameters["disk_mb"] * MIB,
    )
    unified_cgroups = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    settings = containers_conf(
        unified_cgroups=unified_cgroups,
        may_raise_limits=may_raise_limits(),
        systemd=Path("/run/systemd/system").is_dir(),
    )
    machine = look(module, lab, settings, needs_runc=not unified_cgroups)
    difference = compare(lab, machine)
    for warning in () if difference.problems else difference.warnings:
        module.warn(warning)
    missing = asdict(difference)
    module.exit_json(
        changed=False,
        problems=missing.pop("problems"),
        complete=difference.complete,
        steps=difference.steps(lab),
        missing={key: value for key, value in missing.items() if key != "warnings"},
        hosts={
            host.name: {
                "container": lab.container(host.name),
                "image": lab.images.get(host.release),
                "volumes": lab.mounts(host),
                "labels": {
                    **lab.labels(),
                    LABEL_DESCRIPTION: json.dumps(host.description(), sort_keys=True),
                },
            }
            for host in lab.hosts
        },
        images=lab.images,
        labels=lab.labels(),
        containers_conf=settings,
        leftovers=leftovers(lab, machine),
    )


if __name__ == "__main__":
    main()
