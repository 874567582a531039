# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Docker Engine of a test's own, with namespaces of its own. When it ends, nothing of it is left but files in its folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

STARTS_IN = 120
"""Seconds in which it answers."""


class Docker:
    """What a person would ask of the Engine. socket: where it listens. environment: of a process that is to use it."""

    def __init__(self, folder: Path, socket: str, server: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.socket = socket
        self._server = server
        self.environment = {
            **os.environ,
            # Debian's client is as old as its server, wherever another one is.
            "PATH": f"/usr/bin:{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{socket}",
            "DOCKER_CONFIG": str(folder),
        }

    def beside(self, *words: str) -> list[str]:
        """The words of a command that has the Engine's network."""
        [child] = _children(self._server)
        return ["nsenter", f"--net=/proc/{child}/ns/net", *words]

    def __call__(self, *words: str) -> str:
        """What docker prints."""
        ran = subprocess.run(["docker", *words], env=self.environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def inspect(self, *words: str) -> Any:
        """What docker prints of something, read."""
        return json.loads(self(*words))


@contextmanager
def running(
    folder: Path, options: Sequence[str], namespaces: Sequence[str] = (), start: str = 'exec dockerd "$@"'
) -> Iterator[Docker]:
    """An Engine for as long as it is used. What it keeps is in the folder.

    options: of dockerd. namespaces: options of unshare, besides those of every Engine. start: a shell's program that ends
    with dockerd, whose arguments it has.
    """
    # A socket's path may have 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory() as short:
        socket = f"{short}/docker"
        common = [
            *(f"--data-root={folder / 'data'}", f"--pidfile={folder / 'pid'}", f"--exec-root={short}/exec"),
            *(f"--host=unix://{socket}", "--default-ulimit=nofile=8192:8192"),
            *(f"--cgroup-parent={group}" for group in [_cgroup()] if group),
        ]
        command = ["unshare", *NAMESPACES, *namespaces, "sh", "-c", start, "sh", *common, *options]
        with (folder / "log").open("w") as log:
            environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        docker = Docker(folder, socket, server)
        try:
            until = time.monotonic() + STARTS_IN
            while not _answers(docker):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.2)
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


def _end(server: subprocess.Popen[bytes]) -> None:
    """Lets the Engine end its containers, so that nothing of them is left with the kernel."""
    for child in _children(server):
        os.kill(child, signal.SIGTERM)
    try:
        server.wait(300)
    finally:
        server.kill()
        server.wait()


def _children(server: subprocess.Popen[bytes]) -> list[int]:
    listed = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]
