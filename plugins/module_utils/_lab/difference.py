# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab shall be, compared with what a machine has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.airstack.backbone.plugins.module_utils._lab.description import Host, Lab
from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_DESCRIPTION
from ansible_collections.airstack.backbone.plugins.module_utils._lab.machine import Container, Machine
from ansible_collections.airstack.backbone.plugins.module_utils._lab.problems import (
    description_problems,
    drift_problems,
    foreign_problems,
    inotify_problems,
    machine_problems,
    port_problems,
    size_problems,
    subnet_problems,
)


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
        *description_problems(lab),
        *machine_problems(machine),
        *foreign_problems(lab, machine),
        *subnet_problems(lab, machine),
        *(() if lab.recreate else drift_problems(lab, drifted)),
        *port_problems(busy, machine, [standing[name].name for name in drifted]),
        *size_problems(lab, len(busy), len(create), machine),
        *inotify_problems(len(busy), machine),
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


def _drift(host: Host, container: Container) -> str:
    """How a host's description differs from what its container was made from; empty where it does not.

    What a label does not name nobody could ask for when the container was made.
    """
    usual = Host(host.name, host.address).description()
    before = {**usual, **json.loads(container.labels.get(LABEL_DESCRIPTION, "{}"))}
    now = host.description()
    return ", ".join(f"{key} was {before.get(key)} and is {now[key]}" for key in now if before.get(key) != now[key])


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
