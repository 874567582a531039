# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab of podman containers shall be, as its inventory describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._lab.images import RELEASES
from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_DIRECTORY, LABEL_NAME

ENGINE_STORAGE = "/var/lib/docker"
"""A volume without a name, which goes with its container: overlayfs, in which Docker keeps images, does not stand on podman's."""


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
    """A host of the inventory, as its variables describe it.

    runs_containers: whether a container engine works in it.
    """

    name: str
    address: str
    release: str = RELEASES[0]
    publish: Sequence[str] = ()
    volumes: Sequence[str] = ()
    runs_containers: bool = False

    def description(self) -> dict[str, Any]:
        """What a container is made from: its label keeps it, so that a later run sees what changed."""
        return {
            "address": self.address,
            "publish": list(self.publish),
            "release": self.release,
            "runs_containers": self.runs_containers,
            "volumes": list(self.volumes),
        }

    def ports(self) -> list[Port]:
        """The published ports that can be read."""
        return [port for port in map(readable_port, self.publish) if port is not None]


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
        named = [volume if "/" in volume.split(":")[0] else f"{self.name}-{volume}" for volume in host.volumes]
        return [*named, ENGINE_STORAGE] if host.runs_containers else named

    def volumes(self) -> list[str]:
        """The names of this lab's volumes."""
        sources = (mount.split(":")[0] for host in self.hosts for mount in self.mounts(host))
        return sorted({source for source in sources if "/" not in source})


def readable_port(text: str) -> Port | None:
    try:
        return Port.parse(text)
    except ValueError:
        return None
