# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Large files of a git repository (git-lfs): the commit has a pointer, and another server the content."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import Address, parse_address
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.cache import Repository, locked
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import GitFailed
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.process import LONGEST, GitFor
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK, SourceProblems

POINTER_SIZE = 1024
"""Bytes that a pointer is smaller than (git-lfs, docs/spec.md)."""

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:(?P<digest>[0-9a-f]{64})\nsize (?P<size>[0-9]+)\n?"
)
_NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "publisher", "EMAIL": "publisher@localhost", "DATE": "2000-01-01T00:00:00Z"}.items()
}


class Pointer(NamedTuple):
    """The SHA-256 and the bytes of a large file's content."""

    digest: str
    size: int


def read_pointer(data: bytes) -> Pointer | None:
    found = _POINTER.fullmatch(data)
    return Pointer(found["digest"].decode(), int(found["size"])) if found else None


def fetched(
    repository: Repository, pointers: Mapping[str, Pointer], paths: Mapping[str, str], git_for: GitFor
) -> dict[str, Path]:
    """Return where on this host the contents are, after fetching those that are not.

    :param pointers: by the names of their blobs
    :param paths: those of the blobs, for messages
    :param git_for: git with what opens an address
    :raises SourceProblems: git-lfs is not installed, or a content cannot be fetched
    """
    places = {name: _place(repository.path, pointer) for name, pointer in pointers.items()}
    with locked(repository.path, ".lfs", fcntl.LOCK_EX, repository.git.timeout * LONGEST) as lock:
        missing = [name for name, pointer in pointers.items() if not _is_there(places[name], pointer)]
        if missing:
            reason = _fetch(repository, missing, git_for, lock)
            lacking = [name for name in missing if not places[name].is_file()]
            if lacking:
                raise SourceProblems(
                    [f"the content of the large file {paths[name]} is missing: {reason}" for name in lacking]
                )
    return places


def _place(repository: Path, pointer: Pointer) -> Path:
    return repository / "lfs" / "objects" / pointer.digest[:2] / pointer.digest[2:4] / pointer.digest


def _is_there(place: Path, pointer: Pointer) -> bool:
    """Whether the content is there and whole; one that is not is removed."""
    try:
        os.utime(place)  # it is in use: `LFS_KEPT`
        with place.open("rb", buffering=0) as file:
            sha = hashlib.sha256()
            while chunk := file.read(CHUNK):
                sha.update(chunk)
    except FileNotFoundError:
        return False
    if sha.hexdigest() != pointer.digest:
        place.unlink()
        return False
    return True


def _fetch(repository: Repository, blobs: Sequence[str], git_for: GitFor, lock: int) -> str:
    """Fetch the contents of these pointers, and return the reason why one may be missing.

    git-lfs fetches what a commit has. One is made that has nothing else: no file that is excluded, and no name that its
    patterns would have to quote.
    """
    server = _server(repository)
    git = git_for(server or repository.git.address)
    git = replace(git, locks=(*repository.git.locks, lock), environment={**git.environment, **_NOBODY})
    listing = "".join(f"100644 blob {name}\t{name}\0" for name in blobs)
    tree = git.run(repository.path, "mktree", "-z", data=listing.encode(), is_local=True).decode().strip()
    commit = git.run(repository.path, "commit-tree", "-m", "large files", tree, is_local=True).decode().strip()
    settings = {"remote.origin.url": repository.git.address.text, "lfs.ssh.autoMultiplex": "false"}
    if server is not None:
        settings["lfs.url"] = server.text
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    try:
        git.run(repository.path, *options, "lfs", "fetch", "origin", commit)
    except GitFailed as failed:
        return str(failed)
    except SourceProblems as error:
        raise SourceProblems([f"its large files cannot be fetched: {problem}" for problem in error.problems]) from None
    return "git-lfs gives no reason"


def _server(repository: Repository) -> Address | None:
    """Return the server that the repository's `.lfsconfig` names, if it does."""
    url = dict(repository.settings(".lfsconfig")).get("lfs.url")
    if url is None:
        return None
    try:
        return parse_address(url)
    except SourceProblems as error:
        raise SourceProblems([f"lfs.url in .lfsconfig: {problem}" for problem in error.problems]) from None
