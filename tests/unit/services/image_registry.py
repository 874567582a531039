# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A registry of images on this machine: without TLS and users, or with both."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

USER = "builder"
PASSWORD = "U*U"
_HASH = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Of the password, as bcrypt's own tests have it (crypt_blowfish): Python has no bcrypt."""

LISTENS = "import socket, sys; sys.exit(socket.socket().connect_ex((sys.argv[1], int(sys.argv[2]))))"


@contextmanager
def running(folder: Path, authority: Authority | None = None) -> Iterator[str]:
    """Its host and port, for as long as it runs. What it holds is in the folder.

    With an authority, it speaks TLS, with a certificate of that one, and knows one user.
    """
    address = "127.0.0.1"
    host = f"{address}:{free_port()}"
    settings: dict[str, Any] = {}
    if authority:
        certificate, key = authority.certify(address)
        (folder / "key.pem").write_text(key, encoding="utf-8")
        settings = {"tls": {"certificate": str(certificate), "key": str(folder / "key.pem")}}
    with _serving(folder, host, settings, asks=authority is not None, beside=list):
        yield host


@contextmanager
def beside(docker: Docker, folder: Path) -> Iterator[str]:
    """The same of one that an Engine in a network of its own reaches, which asks who it is."""
    host = "127.0.0.1:5001"
    with _serving(folder, host, {}, asks=True, beside=lambda command: docker.beside(*command)):
        yield host


@contextmanager
def _serving(
    folder: Path, host: str, settings: dict[str, Any], *, asks: bool, beside: Callable[[list[str]], list[str]]
) -> Iterator[None]:
    """For as long as it answers. beside: the command that runs another one where it shall listen."""
    (folder / "users").write_text(f"{USER}:{_HASH}\n", encoding="utf-8")
    auth = {"auth": {"htpasswd": {"realm": "images", "path": str(folder / "users")}}} if asks else {}
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": host, **settings},
        **auth,
    }
    (folder / "config.yml").write_text(json.dumps(config), encoding="utf-8")
    with (folder / "log").open("w") as log:
        command = beside(["docker-registry", "serve", str(folder / "config.yml")])
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 300
        while subprocess.run(beside([sys.executable, "-c", LISTENS, *host.split(":")]), check=False).returncode != 0:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()
