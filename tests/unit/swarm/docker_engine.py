# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Docker Engine of its own, with namespaces of its own: nobody else's networks, mounts or processes are within its reach.

When it ends, nothing of it is left but files in its folder.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

NAMESPACES = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")

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


class Docker:
    """What a person would ask of the Engine. socket: where it listens."""

    def __init__(self, folder: Path, server: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.socket = str(folder / "socket")
        self._server = server

    def beside(self, *words: str) -> list[str]:
        """The words of a command that has the Engine's network."""
        [child] = _children(self._server)
        return ["nsenter", f"--net=/proc/{child}/ns/net", *words]

    def __call__(self, *words: str) -> str:
        """What docker prints."""
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.folder)}
        ran = subprocess.run(["docker", *words], env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def inspect(self, *words: str) -> Any:
        """What docker prints of something, read."""
        return json.loads(self(*words))


@contextmanager
def running(folder: Path) -> Iterator[Docker]:
    """An Engine that has one image, and is no Swarm yet."""
    socket = folder / "socket"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    options = [
        *(f"--{option}={folder / name}" for option, name in places.items()),
        *(f"--host=unix://{socket}", f"--bip={BRIDGE}", "--default-ulimit=nofile=8192:8192"),
        *(f"--cgroup-parent={group}" for group in [_cgroup()] if group),
    ]
    command = ["unshare", *NAMESPACES, "sh", "-c", START, "sh", *options]
    with (folder / "log").open("w") as log:
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    docker = Docker(folder, server)
    try:
        until = time.monotonic() + 120
        while not _answers(docker):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        add_image(docker, IMAGE, {})
        yield docker
    finally:
        _end(server)


def _cgroup() -> str | None:
    """The group that these tests run in, so that containers have no larger share of the machine than they."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    groups = {names: group for _number, names, group in (line.split(":", 2) for line in lines)}
    group = next((group for names, group in groups.items() if "cpu" in names.split(",")), "/")
    return group.strip("/") or None


def _answers(docker: Docker) -> bool:
    try:
        docker("version")
    except AssertionError:
        return False
    return True


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


def _end(server: subprocess.Popen[bytes]) -> None:
    """Lets the Engine end its containers, so that nothing of them is left with the kernel."""
    for child in _children(server):
        os.kill(child, signal.SIGTERM)
    try:
        server.wait(60)
    finally:
        server.kill()
        server.wait()


def _children(server: subprocess.Popen[bytes]) -> list[int]:
    listed = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]
