# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A registry of images on this machine, without TLS and without users."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its host and port, for as long as it runs. What it holds is in the folder."""
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": host},
    }
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
    try:
        urlopen(f"http://{host}/v2/").close()
    except URLError:
        return False
    return True
