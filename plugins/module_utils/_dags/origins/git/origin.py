# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A commit of a git repository, as an origin."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import describe
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import (
    PORTS,
    Address,
    GitAccess,
    environments,
    parse_address,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.cache import (
    SUBMODULE,
    Cache,
    Change,
    Repository,
    mark_broken,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.content import (
    GitContent,
    Streams,
    changed_content,
    read_content,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import CacheBroken, GitFailed
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.modules import Collector
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.process import Git, GitFor
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import (
    Selection,
    nothing_to_publish,
    select,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems, is_plain

_COMMIT = re.compile("[0-9a-fA-F]{40}")
_PART_OF_COMMIT = re.compile("[0-9a-fA-F]{6,39}")
_COMPARED = 5000  # names at most that a missing one is compared with


class Found(NamedTuple):
    """A commit, and the ref that it was found by; None where it was asked for by its own name."""

    commit: str
    ref: str | None


@dataclass
class GitOrigin:
    """A commit of a git repository, or a subdirectory of it, without what `exclude` covers (`tree.is_excluded`).

    repository: a URL, `user@host:path`, or the absolute path of a local repository.
    cache: a directory of this host, for this user alone, where what was fetched stays.
    version: a branch, a tag, a name that begins with `refs/`, or all 40 digits of a commit; None: the default branch.
    submodules: whether they are published too.
    lfs: whether the contents of large files are published, instead of the pointers that the commit has.
    timeout: seconds without any progress after which a server is given up.
    """

    repository: str
    cache: Path
    version: str | None = None
    subdirectory: str | None = None
    exclude: Sequence[str] = ()
    submodules: bool = False
    lfs: bool = False
    access: GitAccess = field(default_factory=GitAccess)
    timeout: float = 120
    _found: Found | None = field(default=None, init=False, repr=False)

    def revision(self) -> dict[str, Any]:
        """Return the commit, and which part of it is published: one question to the server, and none for a commit."""
        selection = self._selection()
        return {
            "repository": self.repository,
            "commit": self._resolved().commit,
            "subdirectory": selection.subdirectory,
            "exclude": list(self.exclude),
            "submodules": self.submodules,
            "lfs": self.lfs,
        }

    @contextmanager
    def open(self, before: Before) -> Iterator[GitContent]:
        """Fetch what the cache lacks, and read what is not known. A cache that is broken is made anew, once."""
        selection = self._selection()
        found = self._resolved()
        with ExitStack() as stack:
            with self._explained():
                git_for = stack.enter_context(self._git())
                try:
                    content = self._read(stack, git_for, found, selection, before)
                except CacheBroken:
                    content = self._read(stack, git_for, found, selection, before)
            yield content

    def _selection(self) -> Selection:
        address = parse_address(self.repository)
        return select(address.text, self.subdirectory, self.exclude)

    def _resolved(self) -> Found:
        if self._found is None:
            with self._explained(), self._git() as git_for:
                self._found = self._find(git_for(parse_address(self.repository)))
        return self._found

    def _read(
        self, stack: ExitStack, git_for: GitFor, found: Found, selection: Selection, before: Before
    ) -> GitContent:
        """Read the commit, and put what has to stay open meanwhile onto the stack."""
        cache = Cache(self.cache)
        main = parse_address(self.repository)
        with ExitStack() as opened:

            def repository(address: Address, commit: str, ref: str | None = None) -> Repository:
                return opened.enter_context(cache.open(git_for(address), commit, ref))

            # Paths are from the subdirectory here, which git lists by itself.
            collector = Collector(replace(selection, prefix=""), self.submodules, repository)
            streams = Streams(git_for if self.lfs else None)
            try:
                top = repository(main, found.commit, found.ref)
                changes = self._changes(top, collector.selection, selection.subdirectory or "", before)
                if changes is not None:
                    content = changed_content(top, changes, before, streams)
                if changes is None or not content.entries:
                    files = collector.files(top, selection.subdirectory or "")
                    if not files and not collector.problems:
                        covered = collector.selection.covered
                        raise SourceProblems([nothing_to_publish(self.repository, selection, (), covered)])
                    content = read_content(files, before.known, streams, collector.problems)
            except CacheBroken as broken:
                mark_broken(broken.directory)
                raise
            stack.enter_context(opened.pop_all())
            return content

    def _changes(
        self, repository: Repository, selection: Selection, subdirectory: str, before: Before
    ) -> list[Change] | None:
        """Return what is published and different from what was published before; None where that is not known.

        What was published has to be of a commit that is here, and the same part of it; submodules are read as a whole.
        """
        since = str((before.revision or {}).get("commit"))
        if before.revision != {**self.revision(), "commit": since} or not repository.has(since):
            return None
        try:
            changes = repository.changes(since, subdirectory)
        except GitFailed:
            return None
        if any(SUBMODULE in (change.before, change.item.mode) for change in changes) or self.submodules:
            return None
        return [change for change in changes if selection.place(change.item.path) is not None]

    @contextmanager
    def _git(self) -> Iterator[GitFor]:
        """Give git with what opens an address, for as long as the secrets are at hand."""
        main = parse_address(self.repository)
        Cache(self.cache)
        protocols = (*PORTS, "file") if main.scheme == "file" else tuple(PORTS)
        with environments(self.cache, main, self.access, self.timeout) as given:

            def git(address: Address) -> Git:
                access = self.access if given.opens(address) else GitAccess()
                return Git(given.of(address), address, access, protocols, self.timeout)

            yield git

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say where an error of the filesystem comes from."""
        try:
            yield
        except OSError as error:
            raise SourceProblems([f"the cache {self.cache} cannot be used: {describe(error)}"]) from None

    def _find(self, git: Git) -> Found:
        """Ask the server for the commit."""
        version = self.version
        if version is not None and _COMMIT.fullmatch(version):
            return Found(version.lower(), None)
        if version is not None and (not version or not is_plain(version)):
            raise SourceProblems(["the version is empty, or holds a control character"])
        refs = _refs(git, version)
        if version is None:
            return _the(refs, "HEAD", f"{self.repository} has no commit on a default branch; name a version")
        if version.startswith("refs/"):
            return _the(refs, version, f"{self.repository} has no {version}{_near(version, refs)}")
        names = [f"refs/heads/{version}", f"refs/tags/{version}"]
        there = [name for name in names if name in refs]
        if len(there) == 2:
            raise SourceProblems(
                [f"{self.repository} has both a branch and a tag {version}: write {names[0]} or {names[1]}"]
            )
        short = [ref.split("/", 2)[-1] for ref in refs]
        digits = "; a commit is named with all of its 40 digits" if _PART_OF_COMMIT.fullmatch(version) else ""
        why = f"{self.repository} has no branch or tag {version}{_near(version, short)}{digits}"
        return _the(refs, there[0] if there else names[0], why)


def _refs(git: Git, version: str | None) -> dict[str, str]:
    """Ask for the refs among which a version is, no more of them than needed: there may be very many others."""
    asked = ["--heads", "--tags"]
    pattern = []
    if version is None or version.startswith("refs/"):
        asked = [f"--{kind}" for kind in ("heads", "tags") if (version or "").startswith(f"refs/{kind}/")]
        pattern = [] if asked else [version or "HEAD"]
    printed = git.run(None, "ls-remote", *asked, "--", git.address.text, *pattern).decode("utf-8", "replace")
    return {ref: commit for commit, _tab, ref in (line.partition("\t") for line in printed.split("\n"))}


def _the(refs: Mapping[str, str], ref: str, otherwise: str) -> Found:
    """Return the commit of a ref; of an annotated tag, the one that it is for."""
    if ref not in refs:
        raise SourceProblems([otherwise])
    return Found(refs.get(f"{ref}^{{}}", refs[ref]), ref)


def _near(name: str, others: Iterable[str]) -> str:
    plain = [other for other in others if not other.endswith("^{}")][:_COMPARED]
    near = difflib.get_close_matches(name, plain)
    return f"; near it are {', '.join(near)}" if near else ""
