# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A team's own packages: where each comes from, what names its content, and a copy of it to build from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheels
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason
from ansible_collections.airstack.backbone.plugins.module_utils._dags import parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import GitAccess
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING, Content, Origin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems, tree_hash

PACKAGE: dict[str, dict[str, Any]] = {
    "path": {"type": "path"},
    "repository": {"type": "str"},
    "version": {"type": "str"},
    "subdirectory": {"type": "str"},
    "username": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "ssh_key": {"type": "str", "no_log": True},
    "known_hosts": {"type": "str"},
}
"""The options of a package: a directory or a wheel at `path`, or a git repository."""

PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")

Package = Mapping[str, Any]


def identities(packages: Sequence[Package], cache: Path) -> list[Any]:
    """What names the content of each package for good. Asks a repository for its commit, and fetches nothing.

    :raises CoreError: with everything that is wrong with any of them
    """
    problems: list[str] = []
    found = [_identity_or_problems(package, cache, problems) for package in packages]
    if problems:
        raise CoreError("Packages for the core cannot be had:\n" + "\n".join(f"- {each}" for each in problems))
    return found


def is_wheel(package: Package) -> bool:
    """Whether a package is built already."""
    return str(package["path"] or "").endswith(".whl")


def fetch(package: Package, cache: Path, target: Path) -> None:
    """Copy a package's source into a directory that is not there yet, so that a build leaves nothing behind elsewhere.

    :raises CoreError: it cannot be had, or is no Python project
    """
    try:
        with _origin(package, cache).open(NOTHING) as content:
            _write(content, target)
    except SourceProblems as error:
        raise CoreError("\n".join(f"{_place(package)}: {problem}" for problem in error.problems)) from None
    if not any((target / name).is_file() for name in PROJECT_FILES):
        raise CoreError(
            f"{_place(package)} holds none of {', '.join(PROJECT_FILES)}, so it is no Python project."
            " Give it one, or say in subdirectory where the project is."
        )


def copy_wheel(package: Package, target: Path) -> None:
    """Copy a package that is a wheel."""
    shutil.copyfile(package["path"], target / Path(package["path"]).name)


def _identity_or_problems(package: Package, cache: Path, problems: list[str]) -> Any:
    try:
        return _identity(package, cache)
    except SourceProblems as error:
        problems += [f"{_place(package)}: {problem}" for problem in error.problems]
    except OSError as error:
        problems.append(f"{_place(package)} cannot be read: {reason(error)}")
    return None


def _identity(package: Package, cache: Path) -> Any:
    if is_wheel(package):
        return [Path(package["path"]).name, wheels.file_hash(Path(package["path"]))]
    origin = _origin(package, cache)
    revision = origin.revision()
    if revision is not None:
        return dict(revision)
    with origin.open(NOTHING) as content:
        return tree_hash(content.entries)


def _origin(package: Package, cache: Path) -> Origin:
    if package["path"]:
        return DirectoryOrigin(Path(package["path"]), package["subdirectory"])
    access = GitAccess(package["ssh_key"], package["token"], package["username"], package["known_hosts"])
    return GitOrigin(package["repository"], cache / "git", package["version"], package["subdirectory"], access=access)


def _place(package: Package) -> str:
    return str(package["path"] or package["repository"])


def _write(content: Content, target: Path) -> None:
    attributes = Attributes(os.geteuid(), os.getegid())
    wanted: dict[str, list[Wanted]] = {}
    for entry in content.entries:
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.target is None:
            wanted.setdefault(entry.digest, []).append(Wanted(place, entry))
        else:
            place.symlink_to(entry.target)
    with ThreadPoolExecutor(parallel.THREADS) as pool:
        content.write(pool, wanted, attributes)
