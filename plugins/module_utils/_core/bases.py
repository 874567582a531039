# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an image of the core is built on: an image of a registry, or a root filesystem that mmdebstrap makes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python of each release of Debian that a base can be made of."""

MADE = "mmdebstrap:"
"""What the name of a base begins with that is made, and not pulled."""

REPOSITORY = "localhost/airstack-core-base"

_OFFICIAL = re.compile(r"(?:^|/)python:(?P<version>3\.\d+)(?=[.\-@]|$)")


@dataclass(frozen=True)
class Base:
    """A base. `release`: of Debian, where the base is made; None where it is pulled. `python`: "" where nobody knows."""

    name: str
    release: str | None
    python: str


def base(name: str, python: str = "") -> Base:
    """Read the name of a base. The Python is the one that is given, or the one that the name tells."""
    if name.startswith(MADE):
        release = name[len(MADE) :]
        return Base(name, release, python or PYTHONS.get(release, ""))
    found = _OFFICIAL.search(name)
    return Base(name, None, python or (found["version"] if found else ""))


def base_problems(name: str, python: str) -> list[str]:
    """What is wrong with a base, in words."""
    asked = base(name, python)
    if asked.release is not None and asked.release not in PYTHONS:
        known = " or ".join(f"{MADE}{release}" for release in PYTHONS)
        return [f"airflow_core_image_base is {name}; of what mmdebstrap makes it should be {known}."]
    if asked.release is not None and asked.python != PYTHONS[asked.release]:
        text = f"airflow_core_image_python is {python}, and {name} brings Python {PYTHONS[asked.release]}."
        return [f"{text} Leave airflow_core_image_python out, or take another airflow_core_image_base."]
    if not asked.python:
        text = f"airflow_core_image_base is {name}, which does not tell its Python."
        return [f'{text} Say in airflow_core_image_python which one it has, such as "3.12".']
    return []


def reference(asked: Base, *recipe: str) -> str:
    """The image that a build begins with; of one that is made, another recipe gives another name."""
    if asked.release is None:
        return asked.name
    digest = sha256("\0".join([asked.release, *recipe]).encode()).hexdigest()
    return f"{REPOSITORY}:{asked.release}-{digest[:12]}"


def packages(asked: Base, system_packages: Sequence[str]) -> list[str]:
    """The system's packages that the build itself has to install: those of a base that is made are in it."""
    return [] if asked.release is not None else sorted(set(system_packages))
