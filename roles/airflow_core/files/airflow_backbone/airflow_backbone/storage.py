# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading the DAG storage: ``<storage>/<source>/releases/<release>`` and ``<storage>/<source>/current``.

Nothing here writes: the storage is mounted read-only wherever this code runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

SENTINEL = ".airflow-dag-storage"
"""Stands in the storage's root. Where it is missing, the share is not mounted and the directory is only a mount point."""

METADATA = ".release.json"


class StorageAbsent(Exception):
    """The storage's sentinel is missing."""


class ReleaseAbsent(Exception):
    """The storage is there, the wanted release is not."""


class Release(NamedTuple):
    name: str
    path: Path
    metadata: dict[str, Any]


def require_storage(storage: Path) -> None:
    """Raise :class:`StorageAbsent` unless the storage is mounted here."""
    if not (storage / SENTINEL).is_file():
        raise StorageAbsent(
            f"The DAG storage {storage} is not available here: {storage / SENTINEL} does not exist. "
            f"Mount the share (or, on a worker, give its unit the sentinel file beside its sources)."
        )


def current_release(storage: Path, source: str) -> Release:
    """Return the release that ``<source>/current`` names at this moment, by its own path and not through the link.

    A reader that keeps the link in its path sees parts of two releases while the link is switched.
    """
    require_storage(storage)
    link = storage / source / "current"
    try:
        name = link.readlink().name
    except OSError as error:
        raise ReleaseAbsent(
            f"Source '{source}' has no current release in {storage}: {link}: {error.strerror}."
        ) from None
    path = storage / source / "releases" / name
    if not path.is_dir():
        raise ReleaseAbsent(f"Source '{source}': {link} names the release {name}, and {path} does not exist.")
    return Release(name, path, read_metadata(path))


def pinned_release(storage: Path, source: str, name: str) -> Release:
    """Return the release ``name``, which a DagRun began with."""
    require_storage(storage)
    releases = storage / source / "releases"
    path = releases / name
    if "/" in name or name in (".", "..") or not path.is_dir():
        raise ReleaseAbsent(
            f"Release {name} of source '{source}' is gone from {releases}: it was pruned after this DagRun began. "
            f"Publish it again, or clear the run with the newest bundle version."
        )
    return Release(name, path, read_metadata(path))


def read_metadata(release: Path) -> dict[str, Any]:
    """Return what the publisher wrote about a release; empty where it cannot be read, since no DAG depends on it."""
    try:
        metadata = json.loads((release / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}
