# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The files of a git commit that are published, those of its submodules among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import (
    Address,
    parse_address,
    resolve,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.cache import (
    SUBMODULE,
    Item,
    Repository,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import CacheBroken
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import Selection
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems

DEPTH = 10
"""Submodules within submodules that are followed; those that hold each other have no end."""


class File(NamedTuple):
    """A file or link of a commit: its path among what is published, and the blob that has its content."""

    path: str
    mode: str
    blob: str
    repository: Repository


@dataclass
class Collector:
    """Finds what is published, and keeps what is wrong with it in `problems`.

    selection: what is published of all that is beneath the subdirectory, by its path there.
    with_submodules: whether submodules are published; otherwise each is a problem.
    open: opens a repository at a commit, until the collector's caller is done with the files.
    """

    selection: Selection
    with_submodules: bool
    open: Callable[[Address, str], Repository]
    problems: list[str] = field(default_factory=list)

    def files(self, repository: Repository, subdirectory: str, beneath: str = "", depth: int = 0) -> list[File]:
        """Return the files of a repository's subdirectory.

        :param subdirectory: empty for all of it
        :param beneath: where the repository is among what is published: empty, or with a slash at its end
        :param depth: how many repositories this one is within
        :raises SourceProblems: there is no such directory
        :raises CacheBroken: it cannot be read
        """
        files = []
        modules = []
        for item in repository.tree(subdirectory):
            path = beneath + item.path
            is_module = item.mode == SUBMODULE
            if self.selection.place(path, is_module) is None:
                continue
            if is_module:
                modules.append(item)
            else:
                files.append(File(path, item.mode, item.name, repository))
        if modules and not self.with_submodules:
            self.problems += [f"{beneath}{each.path} is a submodule; set submodules, or exclude it" for each in modules]
        elif modules and depth == DEPTH:
            self.problems += [
                f"{beneath}{each.path} is a submodule within {DEPTH} others; exclude it" for each in modules
            ]
        elif modules:
            addresses = module_addresses(repository.settings(".gitmodules"))
            for item in modules:
                address = addresses.get(f"{subdirectory}/{item.path}".lstrip("/"))
                files += self._of_module(repository, item, address, beneath + item.path, depth)
        return files

    def _of_module(self, parent: Repository, item: Item, url: str | None, path: str, depth: int) -> list[File]:
        try:
            if url is None:
                raise SourceProblems([".gitmodules does not give its address"])
            address = parse_address(resolve(url, parent.git.address.text))
            if address.scheme not in parent.git.protocols:
                raise SourceProblems(["its address is a path of this host, and that of the main repository is not"])
            return self.files(self.open(address, item.name), "", f"{path}/", depth + 1)
        except CacheBroken:
            raise
        except SourceProblems as error:
            self.problems += [f"submodule {path}: {problem}" for problem in error.problems]
            return []


def module_addresses(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the addresses of submodules by their paths, from the settings in .gitmodules.

    A user name in a web address is left out: whom the publisher is known as, `GitAccess` says.
    """
    paths: dict[str, str] = {}
    urls: dict[str, str] = {}
    for key, value in settings:
        section, _dot, rest = key.partition(".")
        name, _dot, variable = rest.rpartition(".")
        if section == "submodule" and variable in ("path", "url"):
            (paths if variable == "path" else urls)[name] = value
    return {
        path.strip("/"): re.sub("^(https?://)[^@/:]*@", r"\1", urls[name])
        for name, path in paths.items()
        if name in urls
    }
