# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Real git servers on loopback: git's own daemon, its HTTP backend, sshd, and a small one for large files.

Each is what `serving` yields, and has ended when its `with` has.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Tree, make

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{role}_{what}": "t@t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(directory: Path, *arguments: str, data: bytes | None = None) -> str:
    """Run git as a developer does, and return what it prints."""
    settings = ["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", "-c", "safe.directory=*"]
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=directory, env=ENVIRONMENT, input=data, check=True, capture_output=True
    )
    return done.stdout.decode().strip()


@dataclass(frozen=True)
class Upstream:
    """A bare repository that servers show, and a working copy that is pushed to it."""

    bare: Path
    work: Path

    @classmethod
    def make(cls, root: Path, name: str) -> Upstream:
        bare, work = root / f"{name}.git", root.parent / "work" / name
        for directory, options in ((bare, ["--bare"]), (work, [])):
            directory.mkdir(parents=True)
            git(directory, "init", "--quiet", *options)
        return cls(bare, work)

    def commit(self, tree: Tree, branch: str = "main") -> str:
        """Make a tree the whole content of a branch's next commit, and return the commit."""
        for each in self.work.iterdir():
            if each.name != ".git":
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        make(self.work, tree)
        git(self.work, "add", "--all", "--force")
        return self.commit_index(branch)

    def commit_index(self, branch: str = "main") -> str:
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "next")
        self.push(f"HEAD:refs/heads/{branch}")
        return git(self.work, "rev-parse", "HEAD")

    def push(self, *refs: str) -> None:
        git(self.work, "push", "--quiet", "--force", str(self.bare), *refs)

    def add_module(self, path: str, address: str, commit: str) -> None:
        """Put a submodule into the index."""
        git(self.work, "config", "--file", ".gitmodules", f"submodule.{path}.path", path)
        git(self.work, "config", "--file", ".gitmodules", f"submodule.{path}.url", address)
        git(self.work, "add", ".gitmodules")
        git(self.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    """Serve in a thread, and yield the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield int(server.server_address[1])  # type: ignore[index]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _PerConnection(socketserver.ThreadingTCPServer):
    """Hands each connection to a process of its own, as inetd does; those that are left end with the server."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, command: list[str], on_connection: Callable[[], None] = lambda: None) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                on_connection()
                process = subprocess.Popen(command, stdin=self.request, stdout=self.request, env=ENVIRONMENT)
                outer.processes.append(process)
                self.request.close()
                process.wait()

        super().__init__(("127.0.0.1", 0), Handler)

    def shutdown_request(self, request: Any) -> None:
        request.close()

    def server_close(self) -> None:
        super().server_close()
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def daemon(root: Path) -> Iterator[str]:
    """Serve the repositories of a directory by git's own protocol, and yield their common address."""
    command = ["git", "-c", "safe.directory=*", "daemon", "--inetd", "--export-all", f"--base-path={root}", str(root)]
    with serving(_PerConnection(command)) as port:
        yield f"git://127.0.0.1:{port}"


class Silent(socketserver.ThreadingTCPServer):
    """Accepts, and never answers. `accepted` is set when somebody waits."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.accepted = threading.Event()
        self._over = threading.Event()
        accepted, over = self.accepted, self._over

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                accepted.set()
                over.wait()

        super().__init__(("127.0.0.1", 0), Handler)

    def server_close(self) -> None:
        self._over.set()
        super().server_close()


@dataclass
class Site:
    """What a web server does. It changes while the server runs.

    root: the repositories. token: what it asks for, with any user name; None: nothing. version_2: whether git's newer
    protocol is spoken, which alone sends every commit by its name. redirect: where it sends all who ask on to. large:
    contents by digest, for git-lfs. on_request: called while a client waits. asked, authorizations: what came in. sent:
    the bytes of all answers.
    """

    root: Path
    token: str | None = None
    version_2: bool = True
    redirect: str | None = None
    large: dict[str, bytes] = field(default_factory=dict)
    on_request: Callable[[], None] = lambda: None
    asked: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    sent: int = 0

    def store(self, data: bytes) -> bytes:
        """Keep a large file, and return its pointer."""
        digest = hashlib.sha256(data).hexdigest()
        self.large[digest] = data
        return pointer(digest, len(data))


def pointer(digest: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode()


@contextmanager
def web(site: Site) -> Iterator[str]:
    """Serve a site, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.body())

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def answer(self, body: bytes) -> None:
            site.asked.append(f"{self.command} {self.path}")
            site.on_request()
            authorization = self.headers.get("Authorization")
            if authorization:
                site.authorizations.append(authorization)
            if site.token is not None and self.password(authorization) != site.token:
                self.send(401, b"", {"WWW-Authenticate": 'Basic realm="git"', "LFS-Authenticate": 'Basic realm="git"'})
            elif site.redirect is not None:
                self.send(302, b"", {"Location": f"{site.redirect}{self.path}"})
            elif self.path.startswith("/large/"):
                self.send(200, site.large[self.path.rsplit("/", 1)[1]], {})
            elif self.path.endswith("/info/lfs/objects/batch"):
                self.send(200, self.batch(json.loads(body)), {"Content-Type": "application/vnd.git-lfs+json"})
            elif "/info/lfs/" in self.path:
                self.send(404, b"{}", {"Content-Type": "application/vnd.git-lfs+json"})
            else:
                self.backend(body)

        def password(self, authorization: str | None) -> str | None:
            if authorization is None or not authorization.startswith("Basic "):
                return None
            return base64.b64decode(authorization[6:]).decode().partition(":")[2]

        def batch(self, asked: dict[str, Any]) -> bytes:
            objects = []
            for each in asked["objects"]:
                href = f"http://{self.headers['Host']}/large/{each['oid']}"
                there = each["oid"] in site.large
                answer = (
                    {"actions": {"download": {"href": href}}} if there else {"error": {"code": 404, "message": "gone"}}
                )
                objects.append({**each, "authenticated": False, **answer})
            return json.dumps({"transfer": "basic", "objects": objects}).encode()

        def backend(self, body: bytes) -> None:
            path, _mark, query = self.path.partition("?")
            variables = {
                "GIT_PROJECT_ROOT": str(site.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", "") if site.version_2 else "",
            }
            done = subprocess.run(
                ["git", "-c", "safe.directory=*", "http-backend"],
                env={**ENVIRONMENT, **variables},
                input=body,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            head, _break, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
            self.send(int(headers.pop("Status", "200").split()[0]), content, headers)

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            site.sent += len(content)
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with serving(Server(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class Ssh:
    """An sshd of its own: the common address of what it serves, the key that opens it, and its line of known_hosts."""

    address: str
    key: str
    known_hosts: str


@contextmanager
def ssh(root: Path, scratch: Path, on_connection: Callable[[], None] = lambda: None) -> Iterator[Ssh]:
    """Serve the repositories of a directory by ssh, to this user."""
    scratch.mkdir()
    for name in ("host", "user"):
        new = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(scratch / name)]
        subprocess.run(new, check=True)
    settings = {
        "HostKey": scratch / "host",
        "AuthorizedKeysFile": scratch / "user.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PidFile": "none",
        "LogLevel": "QUIET",
        "PrintMotd": "no",
        "PrintLastLog": "no",
        "PermitUserEnvironment": "no",
    }
    (scratch / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd(8): where it confines itself; a service makes it otherwise
    command = [str(needs.SSHD), "-i", "-f", str(scratch / "config")]
    with serving(_PerConnection(command, on_connection)) as port:
        line = " ".join((scratch / "host.pub").read_text().split()[:2])
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{root}"
        yield Ssh(address, (scratch / "user").read_text(), f"[127.0.0.1]:{port} {line}\n")


def free_port() -> int:
    """Return a port on which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
