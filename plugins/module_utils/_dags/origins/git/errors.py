# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What went wrong with git, in words that say what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import (
    PORTS,
    Address,
    GitAccess,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems


class GitFailed(SourceProblems):
    """git refused for a reason that the caller may know better about; the message is for where it does not."""


class CacheBroken(SourceProblems):
    """The cache of a repository does not hold what it should."""

    def __init__(self, directory: Path, what: str) -> None:
        super().__init__([f"the cache {directory} {what}"])
        self.directory = directory


class Reason(NamedTuple):
    """What git's output says, and the message for it. It is made of the address, what was given, and git's last line."""

    pattern: re.Pattern[str]
    message: Callable[[Address, GitAccess, str], str]


def _credentials(address: Address, access: GitAccess, line: str) -> str:
    if "could not read" in line and access.token:
        return f"{address.shown} sends git on to another host, and the token is for {address.shown} alone ({line})"
    given, other = ("ssh_key", "token") if address.scheme == "ssh" else ("token", "ssh_key")
    if getattr(access, given):
        return f"{address.shown} refuses the {given} that was given, or it does not open this repository"
    but = f"; the {other} that was given is not for this protocol" if getattr(access, other) else ""
    return (
        f"{address.shown} asks for credentials: give {given}, which is sent to the repository's own host alone{but}"
        f" (a description says credential: {given})"
    )


def _scan(address: Address) -> str:
    port = "" if address.port == PORTS.get(address.scheme) else f"-p {address.port} "
    return f"ssh-keyscan {port}{address.host}"


_REFUSED = re.compile("not our ref|unadvertised object|want [0-9a-f]+ not valid|couldn't find remote ref|shallow")
"""What servers say of a commit that they do not send by its name, or not by itself."""

_REASONS = [
    Reason(
        re.compile("^(?!remote:).*(No space left on device|Disk quota exceeded)", re.MULTILINE),
        lambda address, access, line: f"the cache of git repositories has no space left ({line})",
    ),
    Reason(
        re.compile("REMOTE HOST IDENTIFICATION HAS CHANGED"),
        lambda address, access, line: (
            f"the host key of {address.shown} is another than known_hosts says: if its owner renewed it, replace its line"
            f" there with what `{_scan(address)}` prints; if not, another machine answers in its place"
        ),
    ),
    Reason(
        re.compile("Host key verification failed|No .* host key is known for"),
        lambda address, access, line: (
            f"the host key of {address.shown} is not in known_hosts: add what `{_scan(address)}` prints, after"
            " comparing it with what the host's owner publishes"
        ),
    ),
    Reason(
        re.compile('Load key "'),
        lambda address, access, line: "ssh cannot read the ssh_key: it is no private key, or it has a passphrase",
    ),
    Reason(
        re.compile("cannot run ssh"),
        lambda address, access, line: "ssh is not installed on this host; install the package openssh-client(s)",
    ),
    Reason(
        re.compile("'lfs' is not a git command"),
        lambda address, access, line: (
            "git-lfs is not installed on this host; install the package git-lfs, or set lfs: false"
        ),
    ),
    Reason(
        re.compile(
            r"could not read (Username|Password)|Authentication failed|Authentication required|Permission denied \("
            r"|returned error: 40[13]|Bad credentials"
        ),
        _credentials,
    ),
    Reason(
        re.compile(
            r"repository .*not found|does not appear to be a git repository|returned error: 404|not exported"
            r"|could not be found or you don't have permission",
            re.IGNORECASE,
        ),
        lambda address, access, line: (
            f"there is no repository {address.text}, or {address.shown} does not show it to whoever asks"
        ),
    ),
    Reason(
        re.compile("certificate"),
        lambda address, access, line: (
            f"the certificate of {address.shown} is not one that this host trusts ({line}): put its authority's among the"
            " system's certificates (/usr/local/share/ca-certificates and update-ca-certificates on Debian)"
        ),
    ),
    Reason(
        re.compile(
            r"Could not resolve host|unable to look up|Failed to connect|unable to connect|Connection (refused|timed out|reset)"
            r"|No route to host|Network is unreachable|Operation too slow|returned error: 5\d\d|SSL"
            r"|Connection closed by|kex_exchange_identification|early EOF|hung up unexpectedly|Empty reply"
        ),
        lambda address, access, line: f"{address.shown} cannot be reached: {line}",
    ),
]

_NOISE = re.compile(
    r"(remote: )?(Enumerating|Counting|Compressing|Receiving|Resolving|Unpacking|Total|Fetching|Downloading)\b.*"
    r"|hint:.*|warning:.*|From .*|remote:\s*=*|error: failed to fetch some objects from .*"
    r"|Please make sure you have the correct access rights|and the repository exists\."
    r"|fatal: (Could not read from remote repository\.|the remote end hung up unexpectedly)"
)


def explain(output: str, address: Address, access: GitAccess) -> SourceProblems:
    """Say in one line what went wrong: a `SourceProblems` where that is known, a `GitFailed` where it is not."""
    plain = re.sub(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", access.hidden(output.replace("\r", "\n")))
    lines = [line.strip() for line in plain.split("\n") if line.strip()]
    said = [line for line in lines if not _NOISE.fullmatch(line)] or lines or ["git gave no reason"]
    line = re.sub("^((fatal|error|remote|ERROR): *)+", "", said[-1])
    for reason in [] if _REFUSED.search(plain) else _REASONS:
        if reason.pattern.search(plain):
            return SourceProblems([reason.message(address, access, line)])
    return GitFailed([f"git failed with {address.shown}: {line}"])
