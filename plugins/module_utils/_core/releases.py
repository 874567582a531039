# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Releases of the core on a host: one virtual environment each, side by side.

<root>/<release>/                a virtual environment at its final path, for its scripts name that path
<root>/<release>/release.json    written last: a directory without it is half-built
<root>/current -> <release>      renamed into place
<root>/.sources/<release>/       what the release was built from
<root>/.uv/uv-<version>          the installer
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.writing import write

RELEASE_FILE = "release.json"
CURRENT = "current"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Release:
    name: str
    is_complete: bool
    built: float
    """When it was completed, in seconds since the epoch; 0 while it is half-built."""


def check_name(release: str) -> None:
    """Refuse what is no name of a release: it becomes the name of a directory, and what a link leads to.

    :raises CoreError: when it is another path, or the link's own name.
    """
    if not _NAME.fullmatch(release) or release == CURRENT:
        raise CoreError(
            f"The release is named {release!r}; give it a name of letters, digits, '.', '_', '+' and '-' that begins with"
            f" a letter or a digit and is not {CURRENT!r}, such as 3.3.2-0a1b2c3d4e5f."
        )


def releases(root: Path) -> list[Release]:
    """All releases under the root, the newest first; half-built ones last."""
    found = []
    with suppress(FileNotFoundError):
        for path in root.iterdir():
            if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
                continue
            marker = path / RELEASE_FILE
            is_complete = marker.is_file()
            found.append(Release(path.name, is_complete, marker.stat().st_mtime if is_complete else 0.0))
    return sorted(found, key=lambda release: (-release.built, release.name))


def current(root: Path) -> str | None:
    """Name of the release that `current` leads to."""
    link = root / CURRENT
    return link.readlink().name if link.is_symlink() else None


def users_of(root: Path, names: Iterable[str], proc: Path = Path("/proc")) -> set[str]:
    """Those of the releases whose files a running process has mapped or was started from.

    The kernel tells what is mapped by its real path, and a command line is as somebody wrote it.
    """
    roots = {str(root), os.path.realpath(root)}
    wanted = {name: [os.fsencode(f"{path}/{name}/") for path in roots] for name in names}
    used: set[str] = set()
    for process in proc.glob("[0-9]*"):
        text = b""
        for file in ("maps", "cmdline"):
            with suppress(OSError):  # it has ended, or is a kernel thread
                text += (process / file).read_bytes()
        used.update(name for name, paths in wanted.items() if any(path in text for path in paths))
    return used


def superfluous(found: list[Release], *, keep: int, current_name: str, in_use: Iterable[str]) -> list[str]:
    """Releases that may go: half-built ones and all complete ones but the newest `keep`.

    `found` is ordered as `releases` gives it. The current release and those in use stay, and count among the kept ones
    only where they are among the newest.
    """
    complete = [release.name for release in found if release.is_complete and release.name != current_name]
    kept = {current_name, *complete[: max(keep - 1, 0)], *in_use}
    return [release.name for release in found if release.name not in kept]


def start(root: Path, release: str) -> Path:
    """Make room at the release's path: whatever stands there without its marker is half-built."""
    path = root / release
    if path.exists():
        shutil.rmtree(path)
    return path


def finish(path: Path, about: Mapping[str, Any]) -> None:
    """Mark a release as complete."""
    write(path / RELEASE_FILE, (json.dumps(about, indent=2, sort_keys=True) + "\n").encode(), 0o644)


def switch(root: Path, release: str) -> None:
    """Let `current` lead to a release."""
    aside = root / f".{CURRENT}"
    with suppress(FileNotFoundError):
        aside.unlink()
    aside.symlink_to(release)
    aside.rename(root / CURRENT)


def remove(root: Path, release: str) -> None:
    """Remove a release: its marker first, so that a removal cut short leaves nothing that looks complete."""
    with suppress(FileNotFoundError):
        (root / release / RELEASE_FILE).unlink()
    shutil.rmtree(root / release)
    shutil.rmtree(root / ".sources" / release, ignore_errors=True)
