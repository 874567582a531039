# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What was fetched of git repositories, kept on this host so that only what is new is sent.

<cache>/<repository>/               a bare repository without history: the commits that were published last, and no branch
<cache>/<repository>/kept-commits   those that are there as a whole, the last used at the end
<cache>/<repository>.lock           held by who fetches
<cache>/<repository>.readers        shared by who reads; nothing is removed meanwhile
<cache>/<repository>.broken         says that the repository is to be made anew
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.blobs import Blobs
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import CacheBroken, GitFailed
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.process import LONGEST, Git
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import LISTED_NAMES, shown
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems

KEPT = 16
"""Commits of a repository that stay: of each source that is published from it the last, and some to go back to."""

LFS_KEPT = 7 * 86_400
"""Seconds after its last use that the content of a large file stays; a release has its own."""

SUBMODULE = "160000"
"""The mode of a submodule."""

ABSENT = "000000"
"""The mode of what a commit does not have (git-diff-tree(1))."""

_WHOLE_HISTORY = "2147483647"  # git-fetch(1): the depth that stands for no limit
_LOOSE = 1000  # objects, and packs, beyond which git puts them together and drops what no kept commit has
_PACKS = 20
_POLL = 0.05  # s between two looks at a lock that another process has


class Item(NamedTuple):
    """A line of git's listing: `mode` in octal digits, `name` of the blob or, of a submodule, its commit."""

    mode: str
    name: str
    path: str


class Change(NamedTuple):
    """What is at a path now, and its mode in another commit; the mode of what is not there is ABSENT."""

    before: str
    item: Item


@dataclass(frozen=True)
class Repository:
    """A commit of a repository, as the cache has it while this is open."""

    path: Path
    commit: str
    git: Git
    blobs: Blobs

    def tree(self, subdirectory: str) -> list[Item]:
        """List everything beneath a subdirectory, or beneath the root where it is empty.

        :raises SourceProblems: there is no such directory; which there are
        :raises CacheBroken: the listing cannot be made
        """
        try:
            listed = self._list("-r", f"{self.commit}:{subdirectory}")
        except GitFailed as failed:
            if subdirectory:
                raise self._lacks(subdirectory) from None
            raise self._broken(failed) from None
        items = []
        for line in listed:
            fields, path = line.split("\t", 1)
            mode, _kind, name = fields.split(" ")
            items.append(Item(mode, name, path))
        return items

    def has(self, commit: str) -> bool:
        """Whether another commit is here as a whole."""
        return commit in _kept(self.path)

    def changes(self, since: str, subdirectory: str) -> list[Change]:
        """List what is different beneath a subdirectory since another commit that is here.

        :raises GitFailed: one of them has no such directory
        """
        trees = [f"{commit}:{subdirectory}" for commit in (since, self.commit)]
        printed = self.git.run(self.path, "diff-tree", "-r", "-z", "--no-renames", *trees, is_local=True)
        words = printed.decode("utf-8", "surrogateescape").split("\0")
        changes = []
        for fields, path in zip(words[::2], words[1::2]):
            before, mode, _old, name, _status = fields.lstrip(":").split(" ")
            changes.append(Change(before, Item(mode, name, path)))
        return changes

    def settings(self, path: str) -> list[tuple[str, str]]:
        """Return the keys and values of a file of git's configuration format; none where there is no such file."""
        try:
            printed = self.git.run(
                self.path, "config", f"--blob={self.commit}:{path}", "--null", "--list", is_local=True
            )
        except GitFailed:
            return []
        lines = printed.decode("utf-8", "surrogateescape").split("\0")
        return [(key, value) for key, _break, value in (line.partition("\n") for line in lines if line)]

    def _list(self, *arguments: str) -> list[str]:
        printed = self.git.run(self.path, "ls-tree", "-z", *arguments, is_local=True)
        return printed.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def _lacks(self, subdirectory: str) -> SourceProblems:
        parts = subdirectory.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        try:
            directories = self._list("-d", self.commit)
            on_the_way = self._list(self.commit, "--", *above)
        except GitFailed as failed:
            return self._broken(failed)
        for line in on_the_way:
            fields, path = line.split("\t", 1)
            if fields.startswith(SUBMODULE) and path in above:
                why = f"{path} is a submodule; make its repository a source, instead of {subdirectory}"
                return SourceProblems([why])
        names = [shown(line.split("\t", 1)[1]) for line in directories if not line.startswith(SUBMODULE)]
        listed = ", ".join([*names[:LISTED_NAMES], *(["..."] if len(names) > LISTED_NAMES else [])])
        there = f"at the top it has {listed}" if names else "it has none at all"
        return SourceProblems([f"commit {self.commit} has no directory {subdirectory}; {there}"])

    def _broken(self, failed: GitFailed) -> CacheBroken:
        return CacheBroken(self.path, f"cannot be read: {failed}")


class Cache:
    """The repositories that were fetched to this host.

    :param directory: on a local filesystem; made for this user alone
    :raises SourceProblems: it cannot be made, or belongs to another user
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
        if status.st_uid != os.geteuid():
            raise SourceProblems(
                [f"the cache {directory} belongs to another user; name another directory, or remove it"]
            )
        if status.st_mode & 0o077:
            directory.chmod(0o700)

    def place(self, address: str) -> Path:
        """Return a repository's place: its last name, for a person, and what tells its address from all others."""
        name = re.sub("[^A-Za-z0-9._-]+", "-", address.rstrip("/").rsplit("/", 1)[-1])[-40:].lstrip(".-")
        return self.directory / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"

    @contextmanager
    def open(self, git: Git, commit: str, ref: str | None) -> Iterator[Repository]:
        """Fetch a commit unless it is here, and keep it here until this is closed.

        :param ref: the branch or tag that it was found by, for servers that send no commit by its name
        :raises SourceProblems: it cannot be fetched
        """
        path = self.place(git.address.text)
        patience = git.timeout * LONGEST
        with ExitStack() as stack:
            with locked(path, ".lock", fcntl.LOCK_EX, patience) as turn:
                mine = replace(git, locks=(turn,))
                self._make_ready(path, mine)
                if commit not in _kept(path):
                    self._fetch_or_heal(path, mine, commit, ref)
                    self._drop_old(path, mine)
                _keep(path, mine, commit)
                reader = stack.enter_context(locked(path, ".readers", fcntl.LOCK_SH, patience))
            reading = replace(git, locks=(reader,))
            blobs = Blobs(reading, path)
            stack.callback(blobs.close)
            yield Repository(path, commit, reading, blobs)

    def _make_ready(self, path: Path, git: Git) -> None:
        """Make what is missing, and remove what a git that was killed left behind. In one's turn."""
        marker = _beside(path, ".broken")
        if marker.exists() or not path.is_dir():
            self._remove(path, git.timeout)
            marker.unlink(missing_ok=True)
            for left in self.directory.glob(f"{path.name}.new-*"):
                shutil.rmtree(left, ignore_errors=True)
            new = Path(tempfile.mkdtemp(prefix=f"{path.name}.new-", dir=self.directory))
            git.run(new, "init", "--quiet", "--bare", "--template=", is_local=True)
            new.rename(path)
        left_behind = [
            *path.glob("*.lock"),
            *path.glob("gc.pid"),
            *(path / "refs").rglob("*.lock"),
            *(path / "objects" / "pack").glob("tmp_*"),
        ]
        for each in left_behind:
            each.unlink()

    def _remove(self, path: Path, patience: float) -> None:
        with locked(path, ".readers", fcntl.LOCK_EX, patience):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _fetch_or_heal(self, path: Path, git: Git, commit: str, ref: str | None) -> None:
        try:
            _fetch(path, git, commit, ref)
        except GitFailed:
            if _is_whole(path, git):
                raise
            self._remove(path, git.timeout)
            self._make_ready(path, git)
            _fetch(path, git, commit, ref)

    def _drop_old(self, path: Path, git: Git) -> None:
        """Remove what no kept commit has, where enough of it came together and nobody reads."""
        with suppress(SourceProblems), locked(path, ".readers", fcntl.LOCK_EX, 0):
            for each in (path / "lfs" / "objects").glob("*/*/*"):
                if time.time() - each.stat().st_mtime > LFS_KEPT:
                    each.unlink()
            settings = {"gc.auto": _LOOSE, "gc.autoPackLimit": _PACKS, "gc.pruneExpire": "now", "gc.packRefs": "true"}
            options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            git.run(path, *options, "gc", "--auto", "--quiet", is_local=True)


def mark_broken(path: Path) -> None:
    """Have a repository made anew by who opens it next."""
    _beside(path, ".broken").touch()


def _fetch(path: Path, git: Git, commit: str, ref: str | None) -> None:
    """Fetch one commit: by its name, or by the ref that it was found by, or with all of the history that has it.

    :raises SourceProblems: it cannot be had
    """
    address = git.address.text
    options = ["fetch", "--progress", "--no-tags", "--force", "--update-shallow", "--no-recurse-submodules"]
    try:
        git.run(path, *options, "--depth", "1", address, f"+{commit}:refs/kept/{commit}")
    except GitFailed:
        pass
    else:
        return
    depth = ["--depth", _WHOLE_HISTORY] if (path / "shallow").exists() else []
    if ref:
        ways = [["--depth", "1", address, f"+{ref}:refs/fetched"], [*depth, address, f"+{ref}:refs/fetched"]]
    else:
        ways = [["--prune", *depth, address, "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"]]
    for way in ways:
        refused: SourceProblems | None = None
        try:
            git.run(path, *options, *way)
        except GitFailed as failed:
            refused = failed
            continue
        with suppress(GitFailed):
            git.run(path, "update-ref", f"refs/kept/{commit}", commit, is_local=True)
            return
    has = f"moved {ref} on while it was read; publish again" if ref else f"has no commit {commit}"
    raise refused or SourceProblems([f"{address} {has}"])


def _is_whole(path: Path, git: Git) -> bool:
    try:
        git.run(path, "fsck", "--connectivity-only", "--no-dangling", "--no-progress", is_local=True)
    except GitFailed:
        return False
    return True


def _kept(path: Path) -> list[str]:
    """Return the commits that are there as a whole. git's refs cost a process to read."""
    with suppress(FileNotFoundError):
        return re.findall("^[0-9a-f]{40}$", (path / "kept-commits").read_text("latin-1"), re.MULTILINE)
    return []


def _keep(path: Path, git: Git, commit: str) -> None:
    """Note that a commit is there and was used last, and let go of those that were not used for long."""
    before = _kept(path)
    after = [each for each in before if each != commit] + [commit]
    if after == before:
        return
    dropped, after = after[:-KEPT], after[-KEPT:]
    new = path / "kept-commits.lock"
    new.write_text("\n".join(after), encoding="utf-8")
    new.replace(path / "kept-commits")
    if dropped:
        commands = "".join(f"delete refs/kept/{each}\n" for each in dropped)
        git.run(path, "update-ref", "--stdin", data=commands.encode(), is_local=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def locked(path: Path, suffix: str, kind: int, patience: float) -> Iterator[int]:
    """Hold a lock beside a repository, which ends with this process and those that it handed the descriptor to.

    :param kind: `fcntl.LOCK_EX` or `fcntl.LOCK_SH`
    :raises SourceProblems: others held it for as many seconds
    """
    descriptor = os.open(_beside(path, suffix), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        begun = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - begun >= patience:
                    why = f"another publisher has been using the cache {path} for {patience:g} s"
                    raise SourceProblems([f"{why}; publish again when it is done"]) from None
                time.sleep(_POLL)
        yield descriptor
    finally:
        os.close(descriptor)
