# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A staged release becomes the current one, what need not stay goes, and what happened is told."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history, pruning
from ansible_collections.airstack.backbone.plugins.module_utils._dags.jobs import (
    Job,
    Staged,
    clean,
    prune,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import (
    set_current,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    PublishError,
    require_storage,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.report import (
    counted,
    unchanged,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.staging import (
    found,
    listed,
)


def switch(job: Job, staged: Staged, action: str = history.PUBLISHED) -> dict[str, Any]:
    """Make a release the current one, prune, and tell what happened.

    :raises PublishError: and the current one is as it was
    """
    name = staged.name
    if staged.is_settled:
        return told(job, staged)
    with job.turn(), job.timer.phase("switch"):
        previous = job.directory.current()
        cleaned = clean(job)
        if previous != name and not job.is_check:
            if name not in job.directory.names():
                raise PublishError(f"release {name} went while it was to become the current one; run this again")
            made = {"tree": staged.tree, "files": staged.files, "origin": dict(staged.revision) or None}
            event = history.Event(name, action, history.now().isoformat(), job.publisher, made)
            set_current(job.directory, event, job.attributes)
        pruned = prune(job, name)
    if previous != staged.before.name and not job.is_check:
        staged = found(job, name, staged.revision)
    result = told(job, staged)
    return {
        **result,
        "changed": result["changed"] or previous != name or bool(cleaned.names or pruned.names),
        "is_current": True,
        "previous": previous,
        "cleaned": sorted({*staged.cleaned, *cleaned.names}),
        "pruned": pruned.names,
        "left": [*cleaned.problems, *pruned.problems],
    }


def told(job: Job, staged: Staged) -> dict[str, Any]:
    """A staged release as a result: what it is, and how it differs from the current one."""
    is_current = staged.name == staged.before.name
    result = {
        "changed": staged.is_made or bool(staged.cleaned),
        "release": staged.name,
        "previous": staged.before.name,
        "directory": str(job.directory.release(staged.name)),
        "tree": staged.tree,
        "commit": staged.revision.get("commit"),
        "sha256": staged.revision.get("sha256"),
        "is_current": is_current,
        **(unchanged(staged.files) if is_current else counted(staged.before, staged.after)),
        "bytes": staged.written,
        "cleaned": list(staged.cleaned),
        "pruned": [],
        "left": list(staged.left),
        "seconds": job.timer.seconds,
    }
    return {**result, "diff": list(staged.differences)} if job.is_diff else result


def remove(job: Job, in_use: Collection[str] = ()) -> dict[str, Any]:
    """Remove a source and all its releases from the storage.

    :raises PublishError: unfinished runs use one of them, or something else is in its directory
    """
    if not job.is_check:
        require_storage(job.directory.storage, job.sentinel)
    current, names = job.directory.current(), job.directory.names()
    used = sorted(set(in_use) & set(names))
    if used:
        raise PublishError(f"unfinished DAG runs use its releases {listed(used)}; let them end, or end them, before")
    is_there = job.directory.path.is_dir()
    if is_there and job.is_check:
        pruning.require_nothing_else(job.directory)
    elif is_there:
        with job.turn(), job.timer.phase("remove"):
            pruning.remove_source(job.directory)
    return {"changed": is_there, "release": None, "previous": current, "pruned": names, "seconds": job.timer.seconds}
