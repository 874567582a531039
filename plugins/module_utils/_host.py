# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Linux host has to offer, read from /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

LISTEN = "0A"
"""TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp writes it."""


def listening(table: str) -> dict[int, set[str]]:
    """Inodes of listening sockets by port, from the text of /proc/net/tcp or tcp6."""
    ports: dict[int, set[str]] = {}
    for line in table.splitlines()[1:]:
        _slot, local, _remote, state, _queues, _timer, _retransmits, _uid, _timeout, inode, *_rest = line.split()
        if state == LISTEN:
            ports.setdefault(int(local.rsplit(":", 1)[1], 16), set()).add(inode)
    return ports


def unit_of(cgroups: str) -> str | None:
    """The innermost systemd service of a process, from the text of its /proc/<pid>/cgroup."""
    units = re.findall(r"/([^/\n]+\.service)(?=[/\n]|\Z)", cgroups)
    return units[-1] if units else None


def owners(inodes: Iterable[str], proc: Path = Path("/proc")) -> Iterator[tuple[int, str, str | None]]:
    """(process id, name, systemd service) of the processes that hold one of the sockets."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if process.name.isdigit() and _holds(process, wanted):
            yield int(process.name), read(process / "comm").strip(), unit_of(read(process / "cgroup"))


def ours(unit: str | None, patterns: Iterable[str]) -> bool:
    """Whether a systemd service is one of those that the patterns name."""
    return unit is not None and any(fnmatch(unit, pattern) for pattern in patterns)


def read(path: Path) -> str:
    """A file's text; empty where it is gone, as files of a process that ended are."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def nearest_existing(path: Path) -> Path:
    """The path, or its nearest parent that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def free_bytes(path: Path) -> int:
    """Bytes that may be written to the file system of a path that exists."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(_target(link) in wanted for link in (process / "fd").iterdir())
    except OSError:
        return False


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
