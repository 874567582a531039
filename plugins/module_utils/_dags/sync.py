# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One source brought into the DAG storage: what to do, done unless it is only asked for, and told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import (
    Attributes,
    Contents,
    FromArchive,
    FromDirectory,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import (
    Timer,
    clean,
    locked,
    publish,
    switch,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    SENTINEL,
    Changes,
    Directory,
    PublishError,
    compare,
    is_published,
    require_storage,
    reusable,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.sources import (
    Entry,
    Packed,
    release_name,
    scan,
    tree_hash,
)

LISTED_FILES = 100
"""Paths of each kind that a result names; the counts are complete."""

DIFF_BYTES = 64 * 1024
DIFF_FILES = 50
"""The largest file, and the number of files, whose text a diff shows."""


@dataclass
class Job:
    """Where to, and how."""

    directory: Directory
    attributes: Attributes
    origin: Mapping[str, Any]
    sentinel: str = SENTINEL
    is_check: bool = False
    is_diff: bool = False
    timer: Timer = field(default_factory=Timer)


def from_directory(job: Job, root: Path, exclude: Sequence[str]) -> dict[str, Any]:
    """Publish a directory of this host."""
    with job.timer.phase("read"):
        entries = scan(root, exclude)

    def read(entry: Entry) -> bytes | None:
        return (root / entry.path).read_bytes()

    tree = tree_hash(entries)
    return take_up(job, tree) or _publish(job, tree, entries, FromDirectory(root), read)


def from_archive(job: Job, packed: Packed) -> dict[str, Any]:
    """Publish what the controller sent."""
    tree = tree_hash(packed.entries)
    sent: dict[str, bytes] = {}
    if job.is_check:
        sent = {digest: content.read() for digest, content in packed.contents()}

    def read(entry: Entry) -> bytes | None:
        if job.is_check:
            return sent.get(entry.digest)
        return (job.directory.release(release_name(tree)) / entry.path).read_bytes()

    return take_up(job, tree) or _publish(job, tree, packed.entries, FromArchive(packed), read)


def take_up(job: Job, tree: str) -> dict[str, Any] | None:
    """Make the release of a tree the current one if it is there already, without its content; None if it is not."""
    if not job.is_check:
        require_storage(job.directory.storage, job.sentinel)
    name = release_name(tree)
    current = job.directory.current()
    if not is_published(job.directory, name, tree):
        return None
    if current == name:
        metadata = job.directory.metadata(name) or {}
        changes = Changes([], [], [], int(metadata.get("files", 0)))
        cleaned = _clean_unless_in_use(job)
        return _result(job, tree, current, changes, cleaned, written=0, differences=[])
    new = [each.entry for each in job.directory.manifest(name)]
    root = job.directory.release(name)
    with _turn(job):
        previous = job.directory.current()
        cleaned = _clean(job)
        if not job.is_check:
            switch(job.directory, name, job.attributes)
    old = [each.entry for each in job.directory.manifest(previous)]
    changes = compare(old, new)
    differences = _differences(job, tree, previous, changes, old, new, lambda entry: (root / entry.path).read_bytes())
    return _result(job, tree, previous, changes, cleaned, written=0, differences=differences)


def held(job: Job) -> list[str]:
    """Return what need not be sent because the current release has it, as `wanted` names it."""
    return sorted("".join(content) for content in reusable(job.directory, job.directory.current(), job.attributes))


def wanted(entries: Iterable[Entry], held_there: Collection[str]) -> list[Entry]:
    """Return the files whose content has to be sent. Of what is executable there and is not here, it has to be."""
    return [entry for entry in entries if entry.kind != "l" and "".join(entry.content) not in held_there]


def _publish(
    job: Job, tree: str, entries: Sequence[Entry], contents: Contents, read: Callable[[Entry], bytes | None]
) -> dict[str, Any]:
    written = 0
    with _turn(job):
        previous = job.directory.current()
        cleaned = _clean(job)
        if not job.is_check:
            written = publish(job.directory, entries, contents, job.attributes, job.origin, job.timer)
            with job.timer.phase("switch"):
                switch(job.directory, release_name(tree), job.attributes)
    old = [each.entry for each in job.directory.manifest(previous)]
    changes = compare(old, entries)
    differences = _differences(job, tree, previous, changes, old, entries, read)
    return _result(job, tree, previous, changes, cleaned, written, differences)


def _turn(job: Job) -> AbstractContextManager[None]:
    """Keep other publishers out, so that what is current stays so; in check mode, nothing is locked."""
    return nullcontext() if job.is_check else locked(job.directory, job.attributes)


def _clean(job: Job) -> list[str]:
    """Remove leftovers, and return their names; in check mode, only that. In one's turn."""
    return [path.name for path in job.directory.leftovers()] if job.is_check else clean(job.directory)


def _clean_unless_in_use(job: Job) -> list[str]:
    """Remove leftovers in passing; what another publisher is making at this moment is none."""
    found = [path.name for path in job.directory.leftovers()]
    if not found or job.is_check:
        return found
    try:
        with locked(job.directory, job.attributes, seconds=0):
            return clean(job.directory)
    except PublishError:
        return []


def _result(
    job: Job,
    tree: str,
    previous: str | None,
    changes: Changes,
    cleaned: list[str],
    written: int,
    differences: list[dict[str, str]],
) -> dict[str, Any]:
    name = release_name(tree)
    lists = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    result = {
        "changed": previous != name or bool(cleaned),
        "release": name,
        "previous": previous,
        "directory": str(job.directory.release(name)),
        "tree": tree,
        "counts": {**{kind: len(paths) for kind, paths in lists.items()}, "unchanged": changes.unchanged},
        "files": {kind: paths[:LISTED_FILES] for kind, paths in lists.items()},
        "bytes": written,
        "cleaned": cleaned,
        "seconds": job.timer.seconds,
    }
    return {**result, "diff": differences} if job.is_diff else result


def _differences(
    job: Job,
    tree: str,
    previous: str | None,
    changes: Changes,
    old: Sequence[Entry],
    new: Sequence[Entry],
    read: Callable[[Entry], bytes | None],
) -> list[dict[str, str]]:
    """Return a list of the changed paths, and the text of those that are small."""
    source, name = job.directory.source, release_name(tree)
    if not job.is_diff or previous == name:
        return []
    signs = [*(("+", path) for path in changes.added), *(("~", path) for path in changes.changed)]
    signs += [("-", path) for path in changes.removed]
    lines = [f"source {source}: release {previous or 'none'} -> {name}"]
    lines += [f"{sign} {path}" for sign, path in signs[:LISTED_FILES]]
    lines += [f"... and {len(signs) - LISTED_FILES} more"] if len(signs) > LISTED_FILES else []
    found: list[dict[str, str]] = [{"prepared": "\n".join(lines) + "\n"}]
    before = {entry.path: entry for entry in old}
    after = {entry.path: entry for entry in new}
    for _sign, path in signs[:DIFF_FILES]:
        texts = [
            _text(before.get(path), lambda entry: (job.directory.release(previous or "") / entry.path).read_bytes()),
            _text(after.get(path), read),
        ]
        if texts[0] is not None and texts[1] is not None:
            found.append(
                {
                    "before_header": f"{source}/{previous}/{path}" if path in before else "/dev/null",
                    "after_header": f"{source}/{name}/{path}" if path in after else "/dev/null",
                    "before": texts[0],
                    "after": texts[1],
                }
            )
    return found


def _text(entry: Entry | None, read: Callable[[Entry], bytes | None]) -> str | None:
    """Return an entry's text, empty where there is no entry, and None for what is too large or no text."""
    if entry is None:
        return ""
    if entry.target is not None:
        return f"-> {entry.target}\n"
    if entry.size > DIFF_BYTES:
        return None
    try:
        data = read(entry)
        return None if data is None or b"\0" in data else data.decode()
    except (OSError, UnicodeDecodeError):
        return None
