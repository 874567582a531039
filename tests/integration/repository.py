# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Git repository on this machine, served to a platform's hosts by git's own daemon."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import socket
import subprocess
import typing as t

from ansible_collections.airstack.backbone.tests.integration.deployed import wait_for

AUTHOR = ["-c", "user.name=test", "-c", "user.email=test@localhost"]


class Repository:
    """A team's repository: `root` is a checkout, `url` is what the hosts fetch it from."""

    def __init__(self, root: pathlib.Path, url: str) -> None:
        self.root = root
        self.url = url
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.root), *AUTHOR, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **files: str | None) -> str:
        """Write files of dags/ by their names without .py, or remove those that are None, and return the commit."""
        folder = self.root / "dags"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            if text is None:
                (folder / f"{name}.py").unlink()
            else:
                (folder / f"{name}.py").write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change")
        return self.git("rev-parse", "HEAD")


@contextlib.contextmanager
def served(folder: pathlib.Path, address: str) -> t.Iterator[Repository]:
    """A repository that hosts reach at an address of this machine."""
    assert shutil.which("git"), "needs git on this machine"
    with socket.socket() as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    (folder / "team").mkdir()
    repository = Repository(folder / "team", f"git://{address}:{port}/team/.git")
    options = [f"--listen={address}", f"--port={port}", f"--base-path={folder}", "--export-all", "--reuseaddr"]
    with subprocess.Popen(["git", "daemon", *options], stderr=subprocess.PIPE) as daemon:
        try:
            assert wait_for(lambda: _answers(address, port), 10, every=0.1)
            yield repository
        finally:
            daemon.terminate()


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
