# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A source as it stands in the DAG storage: its releases, its history, and what is damaged. Changes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history, parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    TREE_DIGITS,
    Directory,
    PublishError,
    Recorded,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK, RESERVED, tree_hash

TOLD = ("tree", "commit", "files", "bytes", "published", "publisher")
"""What `.release.json` says that is told."""


def inspect(directory: Directory, *, verify: bool) -> dict[str, Any]:
    """What there is of a source: {current, previous, releases, history, leftovers, problems}.

    :param verify: whether every file of every release is read, and compared with what was published
    """
    problems: list[str] = []
    try:
        current = directory.current()
    except PublishError as error:
        current = None
        problems.append(str(error))
    names, events = directory.names(), history.read(directory)
    if current is not None and current not in names:
        problems.append(
            f"{directory.link} names the release {current}, which is not there; roll back, or publish again"
        )
    releases = [_release(directory, name, current, verify=verify) for name in names]
    problems += [f"release {each['release']}: {problem}" for each in releases for problem in each["problems"]]
    return {
        "current": current,
        "previous": history.before(events, current, names),
        "releases": sorted(releases, key=lambda each: (each["published"] or "", each["release"]), reverse=True),
        "history": [event._asdict() for event in events],
        "leftovers": [path.name for path in directory.leftovers()],
        "problems": problems,
    }


def _release(directory: Directory, name: str, current: str | None, *, verify: bool) -> dict[str, Any]:
    problems: list[str] = []
    try:
        metadata = directory.metadata(name)
    except PublishError as error:
        metadata = None
        problems.append(str(error))
    else:
        if metadata is None:
            problems.append("it has no .release.json: no publisher made it")
    known = metadata or {}
    if verify and metadata is not None:
        problems += damage(directory.release(name), directory.manifest(name), str(known.get("tree")))
    return {
        "release": name,
        "is_current": name == current,
        **{key: known.get(key) for key in TOLD},
        "problems": problems,
    }


def damage(root: Path, recorded: list[Recorded], tree: str) -> list[str]:
    """How a release differs from what was published.

    :param recorded: what its manifest lists
    :param tree: the hash of its tree, as its metadata say
    """
    entries = [each.entry for each in recorded]
    if not entries:
        return ["its manifest is missing or cannot be read"]
    if tree_hash(entries) != tree:
        return ["its manifest is not of the tree that .release.json names"]
    if root.name.rpartition("-")[2] != tree[:TREE_DIGITS]:
        return [f"its name is not that of its tree, {tree[:TREE_DIGITS]}"]
    with ThreadPoolExecutor(parallel.THREADS) as pool:
        found = [problem for problem in parallel.each(pool, lambda each: _wrong(root, each), recorded) if problem]
    known = {entry.path for entry in entries} | RESERVED
    return found + [f"{path} was added" for path in sorted(_paths(root)) if path not in known]


def _wrong(root: Path, each: Recorded) -> str | None:
    path, entry = root / each.entry.path, each.entry
    try:
        if entry.target is not None:
            return None if os.readlink(path) == entry.target else f"{entry.path} is another link"
        if path.is_symlink() or not path.is_file():
            return f"{entry.path} is no file any more" if os.path.lexists(path) else f"{entry.path} is gone"
        sha = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                sha.update(chunk)
        if sha.hexdigest() != entry.digest:
            return f"{entry.path} has another content"
        is_executable = bool(path.stat().st_mode & 0o100)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        return f"{entry.path} is gone" if gone else f"{entry.path} cannot be read: {error.strerror}"
    return None if is_executable == (entry.kind == "x") else f"{entry.path} has another mode"


def _paths(root: Path) -> Iterator[str]:
    """The relative paths of all that is not a directory."""
    for folder, directories, names in os.walk(root):
        links = [name for name in directories if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *links]:
            yield os.path.relpath(os.path.join(folder, name), root)
