# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A registry of images on this machine: without TLS and users, or with both."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

USER = "builder"
PASSWORD = "U*U"
_HASH = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Of the password, as bcrypt's own tests have it (crypt_blowfish): Python has no bcrypt."""


@contextmanager
def running(folder: Path, authority: Authority | None = None) -> Iterator[str]:
    """Its host and port, for as long as it runs. What it holds is in the folder.

    With an authority, it speaks TLS, with a certificate of that one, and knows one user.
    """
    address = "127.0.0.1"
    host = f"{address}:{free_port()}"
    settings: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": host},
    }
    if authority:
        certificate, key = authority.certify(address)
        (folder / "key.pem").write_text(key, encoding="utf-8")
        (folder / "users").write_text(f"{USER}:{_HASH}\n", encoding="utf-8")
        settings["http"]["tls"] = {"certificate": str(certificate), "key": str(folder / "key.pem")}
        settings["auth"] = {"htpasswd": {"realm": "images", "path": str(folder / "users")}}
    (folder / "config.yml").write_text(json.dumps(settings), encoding="utf-8")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 20
        while not _answers(host):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
        yield host
    finally:
        server.terminate()
        server.wait()


def _answers(host: str) -> bool:
    address, _colon, port = host.rpartition(":")
    with socket.socket() as connection:
        return connection.connect_ex((address, int(port))) == 0
