# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Owner, group and mode of a path, as they are and as they shall be."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._files.wanted import Attributes, read_number

_UNKNOWN = -1


@dataclass(frozen=True)
class Ownership:
    """Owner, group and mode of a path. The numbers count; the names are for people."""

    uid: int
    """-1, which is nobody's, where the host does not know the wanted user yet."""
    gid: int
    mode: int
    owner: str = field(compare=False)
    group: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


def ownership_of(status: os.stat_result) -> Ownership:
    return _ownership(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def wanted_ownership(
    path: Path, wanted: Attributes, before: Ownership | None, problems: list[str], *, is_check: bool
) -> Ownership:
    if before is None:
        before = _ownership(os.geteuid(), os.getegid(), 0)
    uid = before.uid if wanted.owner is None else _uid(wanted.owner)
    gid = before.gid if wanted.group is None else _gid(wanted.group)
    if not is_check:
        for name, number, kind in ((wanted.owner, uid, "user"), (wanted.group, gid, "group")):
            if number == _UNKNOWN:
                problems.append(f"{path}: there is no {kind} {name!r} on this host")
    owner = _user_name(uid) if wanted.owner is None or read_number(wanted.owner) is not None else wanted.owner
    group = _group_name(gid) if wanted.group is None or read_number(wanted.group) is not None else wanted.group
    return Ownership(uid, gid, wanted.mode, owner, group)


def _ownership(uid: int, gid: int, mode: int) -> Ownership:
    return Ownership(uid, gid, mode, _user_name(uid), _group_name(gid))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _uid(name: str) -> int:
    number = read_number(name)
    if number is not None:
        return number
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # a name with a null byte is no value for C
        return _UNKNOWN


def _gid(name: str) -> int:
    number = read_number(name)
    if number is not None:
        return number
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return _UNKNOWN
