# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Wheels: what a lock asks for, what a directory holds, and the hash that names all of it. Pure."""

from __future__ import annotations

import calendar
import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError

_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)(?P<rest>.*)$", re.MULTILINE
)
_WHEEL = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)

GLIBC = 28
"""What the locks are resolved for: uv's platform `linux` stands for glibc 2.28 (`uv pip compile --help`)."""

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names that glibc 2.17, 2.12 and 2.5 had before PEP 600."""

FIRST_ZIP_TIME = 315532800
"""The earliest time that a zip file can hold: 1980-01-01."""


class Wheel(NamedTuple):
    """A wheel of a wheelhouse. The name is normalized as PEP 503 says; the hash is the file's SHA-256."""

    name: str
    version: str
    file: str
    sha256: str


def normalized(name: str) -> str:
    """A project's name, one way to write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel(file: str, sha256: str) -> Wheel:
    """What a wheel's file name says (PEP 427).

    :raises CoreError: it is no wheel's
    """
    parts = _WHEEL.fullmatch(file)
    if parts is None:
        raise CoreError(f"{file} is not named like a wheel, such as hooks-1.0-py3-none-any.whl.")
    return Wheel(normalized(parts["name"]), parts["version"], file, sha256)


def read(directory: Path) -> list[Wheel]:
    """The wheels of a directory, by their names.

    :raises CoreError: one is not named like a wheel
    """
    return sorted(wheel(path.name, file_hash(path)) for path in directory.glob("*.whl"))


def file_hash(path: Path) -> str:
    """A file's SHA-256."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


def wheelhouse_hash(wheels: Iterable[Wheel]) -> str:
    """What names a wheelhouse: SHA-256 over its files' names and hashes, whatever their order."""
    lines = sorted(f"{each.sha256}  {each.file}\n" for each in wheels)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def requirements(wheels: Iterable[Wheel]) -> str:
    """The wheels as requirements with hashes, for an installer and for a list of what is in an image."""
    return "".join(f"{each.name}=={each.version} \\\n    --hash=sha256:{each.sha256}\n" for each in sorted(wheels))


def locked(lock: str) -> dict[str, str]:
    """The versions that a lock pins, by normalized name."""
    return {normalized(found["name"]): found["version"] for found in _PINNED.finditer(lock)}


def lock_problems(lock: str) -> list[str]:
    """Why a lock cannot be downloaded for another Python than the one that downloads."""
    marked = [found["name"] for found in _PINNED.finditer(lock) if ";" in found["rest"]]
    problems = [f"the lock has a condition (after a semicolon) for {', '.join(marked)}"] if marked else []
    return problems + ([] if locked(lock) else ["the lock pins no package (name==version)"])


def wheelhouse_problems(lock: str, downloaded: Sequence[Wheel], own: Sequence[Wheel]) -> list[str]:
    """How wheels differ from what a lock asks for, and what was built from what the lock has, too."""
    wanted = locked(lock)
    found = {each.name: each for each in downloaded}
    missing = sorted(set(wanted) - set(found))
    problems = [f"of {name}=={wanted[name]} there is no wheel" for name in missing]
    problems += [
        f"{each.file} is there, and the lock asks for {each.name} {wanted.get(each.name, 'not at all')}"
        for each in downloaded
        if wanted.get(each.name) != each.version
    ]
    return problems + list(_own_problems(wanted, own))


def _own_problems(wanted: Mapping[str, str], own: Sequence[Wheel]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for each in own:
        if each.name in wanted:
            yield f"{each.file} was built, and the lock has {each.name}=={wanted[each.name]}; take it out of one of them"
        if each.name in seen:
            yield f"{each.file} and {seen[each.name]} are both {each.name}; leave one out"
        seen[each.name] = each.file


def platforms(machine: str, glibc: int = GLIBC) -> list[str]:
    """The platforms whose wheels run on a Linux with a glibc 2.x, the newest first (PEP 600)."""
    tags = []
    for minor in range(glibc, 4, -1):
        tags.append(f"manylinux_2_{minor}_{machine}")
        if minor in _LEGACY:
            tags.append(f"{_LEGACY[minor]}_{machine}")
    return [*tags, f"linux_{machine}"]


def newest(paths: Iterable[Path]) -> int:
    """When the newest file within some wheels was made, in seconds since the epoch.

    It is a time that depends on nothing but the wheels, and so the one that an image made of them bears.
    """
    times = [FIRST_ZIP_TIME]
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            times += [calendar.timegm((*each.date_time, 0, 0, 0)) for each in archive.infolist()]
    return max(times)
