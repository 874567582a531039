# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Addresses of git repositories, and what opens them: keys and tokens, which never leave this host for another one."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems, is_plain

PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
"""The protocols that a repository is fetched by, besides `file`, and their ports where an address names none."""

SCRATCH_PREFIX = ".scratch-"

_SCRATCH_LEFT = 10  # s: by then, whoever lives has locked it
_ANY_USER = "x-access-token"  # GitHub asks for this name beside a token of an app; where a token is enough, any will do
_CONNECT = 30  # s; a host that is there answers within a few
_ALIVE = 15  # s between two questions of ssh whether the other end is still there

# What reaches a remote from where the publisher runs, and no more of its environment: git reads much from there.
_PASSED_ON = re.compile(
    r"PATH|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|GIT_SSL_CA(INFO|PATH)|CURL_CA_BUNDLE", re.IGNORECASE
)

_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>\[[^]/]+\]|[^@/:\[\]]+):(?P<path>.+)", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


class Address(NamedTuple):
    """Where a repository is. `scheme` is one of `PORTS` or `file`, which has neither host nor port."""

    text: str
    scheme: str
    host: str = ""
    port: int = 0

    @property
    def endpoint(self) -> tuple[str, str, int]:
        """What a secret is for."""
        return self.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """The host as a message names it; the path of a local repository."""
        if self.scheme == "file":
            return self.text
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class GitAccess:
    """What opens a repository.

    ssh_key: a private key without a passphrase, as text; None: what ssh finds on this machine.
    token: for https; also a password.
    username: what goes with the token where the server minds.
    known_hosts: lines of ssh's known_hosts, as text; None: those files of the machine.
    """

    ssh_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    known_hosts: str | None = field(default=None, repr=False)

    def hidden(self, text: str) -> str:
        """Return the text without the token, which a server may send back."""
        token = (self.token or "").strip()
        return text.replace(token, "***") if token else text


def parse_address(text: str) -> Address:
    """Read an address: a URL, `user@host:path`, or the absolute path of a local repository.

    :raises SourceProblems: it is none that may be fetched from; the message does not repeat it, for it may hold a password
    """
    if not is_plain(text) or not text.strip():
        raise SourceProblems(["the repository's address is empty, or holds a control character"])
    if text.startswith("-") or "ext::" in text or re.match("[A-Za-z0-9+.-]*::", text):
        raise SourceProblems(["the repository's address would have git run a program; give a URL, or user@host:path"])
    if "://" in text:
        return _url(text)
    if text.startswith("/"):
        return Address(text, "file")
    if ":" in text.split("@", 1)[0] and "@" in text.split("/", 1)[0]:
        raise SourceProblems([_PASSWORD])
    scp = _SCP.fullmatch(text)
    if scp is None:
        raise SourceProblems(["the repository's address is neither a URL, nor user@host:path, nor an absolute path"])
    return Address(text, "ssh", _host(scp["host"].strip("[]"), scp["user"]), PORTS["ssh"])


_PASSWORD = "the repository's address holds a password (not shown); remove it there, and give it as the token"


def _url(text: str) -> Address:
    scheme = text.split("://", 1)[0]
    if re.search(r"[?#\\]", text):  # programs differ in where the host ends then
        raise SourceProblems(["the repository's address holds a ?, a # or a backslash, which none needs"])
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise SourceProblems(["the repository's address is no URL: its host or port cannot be read"]) from None
    if scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise SourceProblems(["the repository's address is not of the form file:///path"])
        return Address(text, scheme)
    if scheme not in PORTS:
        raise SourceProblems([f"the repository's address is of none of the protocols {', '.join(PORTS)} and file"])
    if parts.password is not None:
        raise SourceProblems([_PASSWORD])
    if parts.username is not None and scheme != "ssh":
        raise SourceProblems(
            ["the repository's address holds a user name (not shown); remove it there, and give username and token"]
        )
    return Address(text, scheme, _host(host, parts.username), port or PORTS[scheme])


def _host(host: str, user: str | None) -> str:
    if not _HOST.fullmatch(host) or host.startswith("-") or (user or "").startswith("-"):
        raise SourceProblems(["the repository's address has no host that can be read"])
    return host.lower()


def resolve(url: str, parent: str) -> str:
    """Return a submodule's address, which may be relative to its parent's, as gitmodules(5) says.

    :raises SourceProblems: it climbs beyond the parent's address
    """
    if not url.startswith(("./", "../")):
        return url
    base, joint, rest = parent.rstrip("/"), "/", url
    while rest.startswith(("./", "../")):
        up, _slash, rest = rest.partition("/")
        if up == "..":
            cut = base.rfind("/") if "/" in base else base.rfind(":")
            if cut < 0 or base[:cut].endswith((":", ":/")):
                raise SourceProblems([f"the relative address {url} climbs beyond the host"])
            base, joint = base[:cut], base[cut]
    return f"{base}{joint}{rest}".rstrip("/")


class Environments:
    """The environment of git for each address: with the secrets for the main repository's host, without for others.

    They hold the names of files in the scratch directory, never a secret.
    """

    def __init__(self, scratch: Path, main: Address, access: GitAccess, timeout: float) -> None:
        self._main = main
        self._own = _environment(scratch / "own", access, timeout, main)
        self._others = _environment(scratch / "others", GitAccess(known_hosts=access.known_hosts), timeout, main)

    def opens(self, address: Address) -> bool:
        """Whether an address gets the secrets: the main repository's own, and the key also beside a web address.

        A token is for one protocol, host and port in any case.
        """
        if address.scheme == "ssh" != self._main.scheme:
            return address.host == self._main.host
        return address.endpoint == self._main.endpoint

    def of(self, address: Address) -> Mapping[str, str]:
        return self._own if self.opens(address) else self._others


@contextmanager
def environments(cache: Path, main: Address, access: GitAccess, timeout: float) -> Iterator[Environments]:
    """Keep the secrets in files that only this user can read, and remove them afterwards.

    :param cache: a directory of this user's alone
    """
    for left in cache.glob(f"{SCRATCH_PREFIX}*"):
        _remove_if_left(left)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=cache))
    held = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield Environments(scratch, main, access, timeout)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)


def _remove_if_left(scratch: Path) -> None:
    """Remove a scratch directory whose publisher was killed: whoever lives holds a lock on it, but for its first moment."""
    with suppress(OSError):
        directory = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(directory).st_mtime > _SCRATCH_LEFT:
                shutil.rmtree(scratch, ignore_errors=True)
        finally:
            os.close(directory)


def _environment(home: Path, access: GitAccess, timeout: float, main: Address) -> dict[str, str]:
    home.mkdir()
    settings = _settings(home, access, main)
    environment = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    environment.update(
        HOME=str(home),
        LC_ALL="C",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=str(_private(home / ".gitconfig", settings)),
        GIT_ATTR_NOSYSTEM="1",
        GIT_NO_LAZY_FETCH="1",
        GIT_NO_REPLACE_OBJECTS="1",
        GIT_TERMINAL_PROMPT="0",
        GIT_LFS_FORCE_PROGRESS="1",
        GIT_SSH_VARIANT="ssh",
        GIT_SSH_COMMAND=_ssh(home, access, timeout),
    )
    if access.ssh_key is None and "SSH_AUTH_SOCK" in os.environ:
        environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    return environment


def _settings(home: Path, access: GitAccess, main: Address) -> str:
    """Return the only configuration file that git reads besides the cache's own.

    The section that holds the token's helper is for one host: git does not ask it on behalf of another, not even when the
    host redirects to it.

    :raises SourceProblems: the user name or the token cannot be sent
    """
    settings = ""
    if main.scheme == "file":
        # A local repository may be another user's. It was named by whoever publishes, and git only reads it.
        settings += "[safe]\n\tdirectory = *\n"
    token = (access.token or "").strip()
    if token and main.scheme in ("https", "http"):
        user = (access.username or _ANY_USER).strip()
        if not is_plain(token) or not is_plain(user):
            raise SourceProblems(["the user name or the token holds a line break or another control character"])
        answer = _private(home / "answer", f"username={user}\npassword={token}\n")
        helper = f'!f() {{ test "$1" != get || cat {shlex.quote(str(answer))}; }}; f'
        host = f"[{main.host}]" if ":" in main.host else main.host
        quoted = helper.replace("\\", "\\\\").replace('"', '\\"')
        settings += f'[credential "{main.scheme}://{host}:{main.port}"]\n\thelper = "{quoted}"\n'
    return settings


def _ssh(home: Path, access: GitAccess, timeout: float) -> str:
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(max(1, min(_CONNECT, int(timeout)))),
        "ServerAliveInterval": str(max(1, min(_ALIVE, int(timeout)))),
        "ServerAliveCountMax": str(max(1, int(timeout / _ALIVE))),
    }
    command = ["ssh", "-F", "/dev/null"]
    if access.ssh_key is not None:
        key = access.ssh_key.replace("\r\n", "\n").strip()
        command += ["-i", str(_private(home / "key", f"{key}\n"))]
        options["IdentitiesOnly"] = "yes"
    if access.known_hosts is not None:
        options["UserKnownHostsFile"] = f'"{_private(home / "known_hosts", access.known_hosts)}"'
        options["GlobalKnownHostsFile"] = "/dev/null"
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return shlex.join(command)


def _private(path: Path, text: str) -> Path:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", errors="replace") as file:
        file.write(text)
    return path
