# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Docker Engine that may become a Swarm: it has a network, an address in it and an image, and reaches nobody else's."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.airstack.backbone.tests import docker_engine
from ansible_collections.airstack.backbone.tests.docker_engine import Docker

ADDRESS = "10.210.0.1"
BRIDGE = "10.210.1.1/24"
POOL = "10.210.128.0/17"
IMAGE = "tiny:1"
PROGRAMS = (
    "cat",
    "chmod",
    "echo",
    "false",
    "grep",
    "hostname",
    "id",
    "install",
    "ls",
    "sed",
    "sh",
    "sleep",
    "touch",
    "true",
)

NAMESPACES = ("--net", "--uts", "--ipc")

START = f"""\
set -e
hostname node1
ip link set lo up
ip link add inside type bridge
ip address add {ADDRESS}/24 dev inside
ip link set inside up
ip route add default dev inside
mount -t tmpfs tmpfs /run
exec dockerd "$@"
"""


@contextmanager
def running(folder: Path) -> Iterator[Docker]:
    """An Engine that has one image, and is no Swarm yet."""
    with docker_engine.running(folder, [f"--bip={BRIDGE}"], NAMESPACES, START) as docker:
        add_image(docker, IMAGE, {})
        yield docker


def add_image(docker: Docker, name: str, scripts: Mapping[str, str]) -> None:
    """An image of one program, which has all the others in it, and of scripts for its shell."""
    archive = docker.folder / "image.tar"
    with tarfile.open(archive, "w") as image:
        for folder in ("bin", "etc", "run", "proc", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            image.addfile(entry)
        image.add(Path(shutil.which("busybox") or "").resolve(), "bin/busybox")
        for program in PROGRAMS:
            entry = tarfile.TarInfo(f"bin/{program}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            image.addfile(entry)
        for script, text in scripts.items():
            entry = tarfile.TarInfo(f"bin/{script}")
            entry.mode, entry.size = 0o755, len(text.encode())
            image.addfile(entry, io.BytesIO(text.encode()))
    docker("import", str(archive), name)
