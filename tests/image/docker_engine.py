# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Docker Engine that builds and pushes, and has no network for containers: this machine's firewall is as it was before."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
WITHOUT_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that is to use it, for as long as it runs. What it keeps is in the folder."""
    # A socket's path may have 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory() as short:
        socket = f"unix://{short}/docker"
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [*(f"--{option}={folder / name}" for option, name in places.items()), f"--host={socket}"]
        command = ["unshare", *NAMESPACES, "dockerd", *options, *WITHOUT_NETWORK, "--default-ulimit=nofile=8192:8192"]
        # Debian's client is as old as its server, wherever another one is.
        environment = {**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}", "DOCKER_HOST": socket}
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 120
            while not _answers(environment):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.2)
            yield environment
        finally:
            _end(server)


def _answers(environment: dict[str, str]) -> bool:
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, env=environment, check=False, capture_output=True).returncode == 0


def _end(server: subprocess.Popen[bytes]) -> None:
    """Lets the Engine end what it started."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="utf-8").split()
    for child in children:
        os.kill(int(child), signal.SIGTERM)
    try:
        server.wait(60)
    finally:
        server.kill()
        server.wait()
