# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Wheelhouses on a build host: all wheels of a core, in a directory that bears their hash.

<root>/wheelhouses/<hash>/*.whl              with <hash> as `wheels.wheelhouse_hash` makes it
<root>/wheelhouses/<hash>/requirements.txt   the same as requirements with hashes
<root>/wheelhouses/<hash>/wheelhouse.json    what they were made of, and when the newest file in them was
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheels
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.writing import write

ABOUT = "wheelhouse.json"
REQUIREMENTS = "requirements.txt"
FOLDER = "wheelhouses"


class Wheelhouse(NamedTuple):
    """A wheelhouse: its hash, what it was made of, the Python it is for, and the time that images of it bear."""

    path: Path
    hash: str
    inputs: str
    python: str
    timestamp: int
    made: float

    @property
    def wheels(self) -> list[wheels.Wheel]:
        """What is in it, as its own list says."""
        return [wheels.Wheel(**each) for each in json.loads((self.path / ABOUT).read_text(encoding="utf-8"))["wheels"]]


def read(path: Path) -> Wheelhouse:
    """A wheelhouse.

    :raises CoreError: the directory is none
    """
    file = path / ABOUT
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return Wheelhouse(
            path, about["hash"], about["inputs"], about["python"], about["timestamp"], file.stat().st_mtime
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise CoreError(f"{path} is no wheelhouse, for {file} does not say what is in it; make one first.") from None


def there(root: Path) -> list[Wheelhouse]:
    """All wheelhouses, the newest first."""
    found = []
    for file in (root / FOLDER).glob(f"[!.]*/{ABOUT}"):
        with suppress(CoreError):
            found.append(read(file.parent))
    return sorted(found, key=lambda each: (-each.made, each.hash))


def keep(root: Path, aside: Path, found: Sequence[wheels.Wheel], inputs: str, python: str) -> Wheelhouse:
    """Let a directory with wheels become a wheelhouse. The same wheels are the same wheelhouse, whatever they came from."""
    name = wheels.wheelhouse_hash(found)
    timestamp = wheels.newest(aside / each.file for each in found)
    about = {
        "hash": name,
        "inputs": inputs,
        "python": python,
        "timestamp": timestamp,
        "wheels": [each._asdict() for each in sorted(found)],
    }
    write(aside / REQUIREMENTS, wheels.requirements(found).encode(), 0o644)
    write(aside / ABOUT, (json.dumps(about, indent=2, sort_keys=True) + "\n").encode(), 0o644)
    target = root / FOLDER / name
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)
    return read(target)


def prune(root: Path, count: int, current: str) -> list[str]:
    """Remove all but the newest wheelhouses and the current one, and return the hashes of those that went."""
    others = [each for each in there(root) if each.hash != current]
    gone = others[max(count - 1, 0) :]
    for each in gone:
        (each.path / ABOUT).unlink()
        shutil.rmtree(each.path)
    return [each.hash for each in gone]
