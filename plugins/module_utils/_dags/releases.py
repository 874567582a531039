# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A source's releases in the DAG storage.

<storage>/<source>/releases/<release>/...                    never changed once it has its name
<storage>/<source>/releases/<release>/.release.json          what it is (for readers)
<storage>/<source>/releases/<release>/.release.manifest      its files (for the next publisher)
<storage>/<source>/current -> releases/<release>             renamed into place, last
<storage>/<source>/.history                                  which release was current when (history.py)
<storage>/<source>/.lock                                     held by the source's publisher

A release's name ends in the beginning of its tree's hash, so that a content is found by it. Where the content is a
commit's, the commit comes first: 3f9c2ab81d04-41c3a0e2b5d9f876.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags import parallel
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import (
    Attributes,
    opened_directory,
    read_file,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before, Revision
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import MANIFEST, METADATA, Entry, tree_hash

SENTINEL = ".airflow-dag-storage"
RELEASES = "releases"
CURRENT = "current"
LOCK = ".lock"
STAGING_PREFIX = ".staging-"
LINK_PREFIX = ".current-"
TRASH_PREFIX = ".trash-"
LEFTOVERS = (STAGING_PREFIX, LINK_PREFIX, TRASH_PREFIX)

TREE_DIGITS = 16
"""Hexadecimal digits of a tree's hash in a release's name: 64 bits, for the few releases that one source ever has."""

COMMIT_DIGITS = 12
"""Those of a commit: as many as git itself shows in a large repository; forges take them in their addresses."""


class PublishError(Exception):
    """Nothing was published, and `current` is as it was."""


class Changes(NamedTuple):
    """Paths by what happened to them from one release to the next, each sorted."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: int


class Recorded(NamedTuple):
    """A file of a release, its modification time when it was published, and its mark at its origin, if it has one."""

    entry: Entry
    mtime_ns: int
    mark: str | None = None


class Base(NamedTuple):
    """A release that the next one takes files over from: its name (None: there is none), and its files."""

    name: str | None
    recorded: Sequence[Recorded]

    @property
    def entries(self) -> list[Entry]:
        return [each.entry for each in self.recorded]

    def before(self, tree: str | None, revision: Revision | None) -> Before:
        """Return it as what was published before.

        :param tree: the hash that its files have to have: else they are not all that it has, or not as they were
        :param revision: what it is of
        """
        entries = self.entries
        marks = {each.entry.path: each.mark for each in self.recorded if each.mark is not None}
        return Before(entries, marks, revision if entries and tree_hash(entries) == tree else None)


@dataclass(frozen=True)
class Directory:
    """One source's directory in the storage."""

    storage: Path
    source: str

    @property
    def path(self) -> Path:
        return self.storage / self.source

    @property
    def link(self) -> Path:
        return self.path / CURRENT

    def release(self, name: str) -> Path:
        return self.path / RELEASES / name

    def current(self) -> str | None:
        """Return the name of the current release, or None before the first.

        :raises PublishError: `current` is something else than a link to a release
        """
        try:
            target = os.readlink(self.link)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:  # readlink(2): it is not a symbolic link
                raise PublishError(f"{self.link} cannot be read: {error.strerror}") from None
            raise PublishError(f"{self.link} is not a symbolic link; nothing but a publisher may make it") from None
        parts = target.split("/")
        if len(parts) != 2 or parts[0] != RELEASES or parts[1] in ("", ".", ".."):
            raise PublishError(f"{self.link} points to {target}, not to {RELEASES}/<release>")
        return parts[1]

    def metadata(self, name: str) -> dict[str, Any] | None:
        """Return what a release says about itself, or None where there is no such release."""
        try:
            metadata = dict(json.loads(read_file(self.release(name) / METADATA)))
            return {**metadata, "tree": str(metadata.get("tree")), "files": int(metadata.get("files", 0))}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            why = f"{self.release(name) / METADATA} cannot be read: {error}. Remove this release when no run needs it"
            raise PublishError(why) from None

    def manifest(self, name: str | None) -> list[Recorded]:
        """Return the files of a release; none where there is no such release or its manifest is unreadable.

        Without a manifest the next release takes nothing over from this one, and is complete all the same.
        """
        if name is None:
            return []
        try:
            listed = json.loads(read_file(self.release(name) / MANIFEST))
            return [Recorded(Entry(*entry), int(mtime_ns), mark) for entry, mtime_ns, mark in listed]
        except (OSError, ValueError, TypeError):
            return []

    def leftovers(self) -> list[Path]:
        """Return what a publisher that was killed left behind."""
        with suppress(FileNotFoundError):
            return sorted(self.path / name for name in os.listdir(self.path) if name.startswith(LEFTOVERS))
        return []

    def require_no_links(self) -> None:
        """Raise `PublishError` where the releases are elsewhere: what a link leads to is not the publisher's."""
        for path in (self.path, self.path / RELEASES):
            if path.is_symlink():
                raise PublishError(f"{path} is a symbolic link, and leads out of the source's directory; remove it")

    def names(self) -> list[str]:
        """Return the names of all releases, sorted; what else lies beside them is left out.

        :raises PublishError: they are somewhere else
        """
        self.require_no_links()
        return self.listed()

    def listed(self) -> list[str]:
        """Return `names()`, wherever they are: for who asks `require_no_links` meanwhile."""
        try:
            with os.scandir(self.path / RELEASES) as found:
                return sorted(each.name for each in found if each.is_dir(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def of_tree(self, tree: str) -> str | None:
        """Return the release that holds this tree, the current one rather than another; None where there is none.

        :raises PublishError: what has such a name was made by no publisher, or says that it is another tree
        """
        digits = tree[:TREE_DIGITS]
        current = self.current()
        for name in sorted(self.names(), key=lambda name: name != current):
            if name.rpartition("-")[2] == digits and is_published(self, name, tree):
                return name
        return None

    def of_revision(self, revision: Revision) -> str | None:
        """Return the release that was made of this revision, the current one rather than another.

        One with unreadable metadata is of no revision that is known.
        """
        current, commit = self.current(), str(revision.get("commit") or "")
        named_so = [name for name in self.names() if name.startswith(commit[:COMMIT_DIGITS])]
        for name in sorted(named_so, key=lambda name: name != current):
            with suppress(PublishError):
                if (self.metadata(name) or {}).get("origin") == revision:
                    return name
        return None

    def base(self) -> Base:
        """Return the current release."""
        name = self.current()
        return Base(name, self.manifest(name))


def require_storage(storage: Path, sentinel: str = SENTINEL) -> None:
    """Raise `PublishError` where the storage's sentinel is missing: a share that is not mounted is not written to."""
    if not (storage / sentinel).is_file():
        raise PublishError(
            f"{storage} is not a DAG storage: {storage / sentinel} is missing."
            " Mount the share, or lay the storage out with airstack.backbone.dag_storage first."
        )


def release_name(tree: str, commit: str | None = None) -> str:
    """Return the name of the release of a tree, as a commit holds it."""
    digits = tree[:TREE_DIGITS]
    return f"{commit[:COMMIT_DIGITS]}-{digits}" if commit else digits


def compare(before: Iterable[Entry], after: Iterable[Entry]) -> Changes:
    old, new = set(before), set(after)
    gone, come = ({entry.path for entry in entries} for entries in (old - new, new - old))
    return Changes(
        added=sorted(come - gone), changed=sorted(come & gone), removed=sorted(gone - come), unchanged=len(old & new)
    )


class Kept(NamedTuple):
    """A file of a release that another one may share: its path in there, and its modification time."""

    path: str
    mtime_ns: int


class Reusable(NamedTuple):
    """What another release may share of one: its open directory, and files by content."""

    root: int
    files: Mapping[tuple[str, str], Kept]


@contextmanager
def reusable(directory: Directory, base: Base, attributes: Attributes) -> Iterator[Reusable]:
    """Give the files of a release that another one may share.

    Left out is what is not as it was published: edited in place, or with another owner or mode than is wanted now.
    """
    recorded = [each for each in base.recorded if each.entry.kind != "l"]
    if base.name is None or not recorded:
        yield Reusable(-1, {})
        return
    modes = {kind: stat.S_IFREG | attributes.mode(kind) for kind in ("f", "x")}
    owner = attributes.uid, attributes.gid
    with opened_directory(directory.release(base.name)) as root, ThreadPoolExecutor(parallel.THREADS) as pool:

        def is_intact(each: Recorded) -> bool:
            entry = each.entry
            try:
                status = os.stat(entry.path, dir_fd=root, follow_symlinks=False)
            except OSError:
                return False
            return (
                status.st_mtime_ns == each.mtime_ns
                and status.st_size == entry.size
                and status.st_mode == modes[entry.kind]
                and (status.st_uid, status.st_gid) == owner
            )

        intact = parallel.each(pool, is_intact, recorded)
        files = {
            each.entry.content: Kept(each.entry.path, each.mtime_ns) for each, usable in zip(recorded, intact) if usable
        }
        yield Reusable(root, files)


def is_published(directory: Directory, name: str, tree: str) -> bool:
    """Whether a complete release of this tree is there.

    :raises PublishError: something else has its name
    """
    metadata = directory.metadata(name)
    if metadata is None:
        if os.path.lexists(directory.release(name)):
            raise PublishError(f"{directory.release(name)} has no {METADATA}: no publisher made it. Remove it.")
        return False
    if metadata.get("tree") != tree:
        raise PublishError(f"{directory.release(name)} says that it is of the tree {metadata.get('tree')}, not {tree}")
    return True
