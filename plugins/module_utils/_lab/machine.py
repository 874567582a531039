# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands on a machine. `lab_info` does the looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

_RUNNING = ("running", "paused", "stopping")


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


def routes(table: str) -> list[tuple[str, str]]:
    """(subnet, interface) of the machine's routes, the default route excepted, from the text of /proc/net/route."""
    found = []
    for line in table.splitlines()[1:]:
        interface, destination, _gateway, _flags, _count, _use, _metric, mask, *_rest = line.split()
        if int(mask, 16):
            found.append((str(IPv4Network((_little_endian(destination), str(_little_endian(mask))))), interface))
    return found


def _little_endian(number: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(number), "little"))
