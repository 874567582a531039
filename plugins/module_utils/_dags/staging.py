# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A release made beside the others, or found there: the current one stays what it is until it is switched to."""

from __future__ import annotations

import gc
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history
from ansible_collections.airstack.backbone.plugins.module_utils._dags.jobs import (
    Job,
    Staged,
    clean,
    clean_unless_in_use,
    look_around,
    outdated,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import (
    Content,
    Origin,
    Revision,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import (
    Published,
    publish,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    Base,
    PublishError,
    release_name,
    require_storage,
    reusable,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.report import (
    Version,
    differences,
    released,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.seen import (
    LOOKS,
    Seen,
    look,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    METADATA,
    Entry,
    SourceProblems,
    tree_hash,
)

PATH_MAX = 4095
"""Bytes of a whole path, without its end (limits.h)."""

CHARACTER_MAX = 4
"""Bytes of a character in UTF-8 (RFC 3629)."""


def stage(job: Job, origin: Origin) -> Staged:
    """Have the release of what is at the origin, made unless it is there.

    :raises PublishError: with the storage as it was
    :raises SourceProblems: the same, because of the source
    """
    with job.timer.phase("ask"), ThreadPoolExecutor(LOOKS + 1) as pool:
        storage = pool.submit(_require_storage, job)
        looked = look(pool, job.directory)
        try:
            revision = origin.revision()
        finally:
            storage.result()
        seen = looked()
        if revision is not None and seen.made.get("origin") == revision:
            return _unchanged(job, seen, seen.made, revision)
        there = job.directory.of_revision(revision) if revision is not None else None
    if there is not None:
        return named(job, there)
    with _uncollected(), ExitStack() as stack:
        with job.timer.phase("read"):
            base = job.directory.base()
            made = seen.made if seen.current == base.name else {}
            content = stack.enter_context(origin.open(base.before(made.get("tree"), made.get("origin"))))
        tree = tree_hash(content.entries)
        _require_tree(job, tree)
        there = job.directory.of_tree(tree)
        return found(job, there, revision or {}) if there else _make(job, content, tree, revision, base)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles, which would go through all entries of a tree again and again and find none."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


def taken_up(job: Job, tree: str, revision: Revision | None = None) -> Staged | None:
    """The release of a tree that was read elsewhere; None where its content has to be brought first."""
    _require_storage(job)
    _require_tree(job, tree)
    there = job.directory.of_tree(tree)
    return found(job, there, revision or {}) if there else None


def named(job: Job, name: str) -> Staged:
    """A release that is there already.

    :raises PublishError: it is not
    :raises SourceProblems: it is not of the tree that the job is for
    """
    _require_storage(job)
    if name not in job.directory.names():
        raise PublishError(f"it has no release {name}; there are {listed(job.directory.names())}")
    metadata = job.directory.metadata(name)
    if metadata is None:
        raise PublishError(f"{job.directory.release(name)} has no {METADATA}: no publisher made it. Remove it.")
    _require_tree(job, str(metadata.get("tree")))
    return found(job, name)


def earlier(job: Job, name: str | None = None) -> Staged:
    """The release that was the current one before the one that is now, or the named one of those that were ever.

    :raises PublishError: there is none. One that never was may be what a gate refused
    """
    current, there, events = job.directory.current(), job.directory.names(), history.read(job.directory)
    were = [each for each in there if each != current and any(event.release == each for event in events)]
    if name is None:
        name = history.before(events, current, there)
    elif name in there and name not in (current, *were):
        raise PublishError(
            f"release {name} was never the current one, so nothing says that it is fit to be. Those that were, and are still"
            f" there: {listed(were)}. To have it nevertheless, publish the version that it was made of"
        )
    if name is None:
        also = f". Still there, to be named: {listed(were)}" if were else ""
        raise PublishError(
            f"there is no release to go back to: {current or 'none'} is current, and its history names no earlier one that"
            f" is still there{also}"
        )
    return named(job, name)


def held(job: Job) -> list[str]:
    """Return what need not be sent because the current release has it, as `wanted` names it."""
    with reusable(job.directory, job.directory.base(), job.attributes) as kept:
        return sorted("".join(content) for content in kept.files)


def wanted(entries: Iterable[Entry], held_there: Collection[str]) -> list[Entry]:
    """Return the files whose content has to be sent. Of what is executable there and is not here, it has to be."""
    return [entry for entry in entries if entry.kind != "l" and "".join(entry.content) not in held_there]


def _make(job: Job, content: Content, tree: str, revision: Revision | None, base: Base) -> Staged:
    commit = (revision or {}).get("commit")
    _require_short(job.directory.release(release_name(tree, commit)), content.entries)
    origin = {"commit": commit, "publisher": job.publisher, "origin": revision}
    with job.turn():
        cleaned = clean(job)
        if job.directory.current() != base.name:
            base = job.directory.base()
        before = released(job.directory, base.name, base.entries)
        if job.is_check:
            made = Published(release_name(tree, commit), True, 0)
            after = Version(made.name, content.entries, content.read)
        else:
            made = publish(job.directory, content, tree, job.attributes, base, origin, job.timer)
            after = released(job.directory, made.name, content.entries)
    shown = differences(job.directory.source, before, after) if job.is_diff else []
    return Staged(
        made.name,
        tree,
        revision or {},
        before,
        after,
        len(content.entries),
        is_made=made.is_made,
        cleaned=cleaned.names,
        left=cleaned.problems,
        written=made.written,
        differences=tuple(shown),
    )


def found(job: Job, name: str, revision: Revision | None = None) -> Staged:
    """A release that is there, as it differs from the current one. One that is current is not looked at.

    :param revision: what its origin says now, which another revision of the same content may have said before; None
        stands for what it was made of
    """
    metadata = job.directory.metadata(name) or {}
    tree, files = str(metadata.get("tree")), int(metadata.get("files", 0))
    known = (metadata.get("origin") or {}) if revision is None else revision
    seen = look_around(job)
    if seen.current == name:
        return _unchanged(job, seen, {"tree": tree, "files": files}, known)
    before, after = released(job.directory, seen.current), released(job.directory, name)
    shown = differences(job.directory.source, before, after) if job.is_diff else []
    return Staged(name, tree, known, before, after, files, differences=tuple(shown))


def _unchanged(job: Job, seen: Seen, made: Mapping[str, Any], revision: Revision) -> Staged:
    """A release that is the current one already, and is not looked at."""
    here = Version(seen.current, [], lambda _entry: None)
    cleaned = clean_unless_in_use(job, seen)
    tree = str(made["tree"])
    _require_tree(job, tree)
    return Staged(
        str(seen.current),
        tree,
        revision,
        here,
        here,
        int(made["files"]),
        is_settled=not outdated(job, seen, str(seen.current)),
        cleaned=cleaned.names,
        left=cleaned.problems,
    )


def _require_storage(job: Job) -> None:
    if not job.is_check:
        require_storage(job.directory.storage, job.sentinel)


def _require_tree(job: Job, tree: str) -> None:
    if job.tree is not None and tree != job.tree:
        problem = (
            f"its content has the hash {tree}, and {job.tree} is what is to be deployed: the version was replaced at its"
            " origin, or subdirectory, exclude, submodules or lfs are others than where the hash is from"
        )
        raise SourceProblems([problem])


def _require_short(release: Path, entries: Iterable[Entry]) -> None:
    """Refuse what nobody could open by its whole path."""
    room = PATH_MAX - len(os.fsencode(release)) - 1
    suspects = (entry.path for entry in entries if len(entry.path) * CHARACTER_MAX > room)
    long = [path for path in suspects if len(path.encode()) > room]
    if long:
        raise SourceProblems(
            [f"{path[:100]}... is a path of more than {room} bytes, of which {release} leaves no more" for path in long]
        )


def listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
