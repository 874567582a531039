# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A source's turn: where its releases are, how they are made, what was staged, and what is in the way.

In check mode all of it only says what it would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ansible_collections.airstack.backbone.plugins.module_utils._dags import pruning
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import (
    Attributes,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import (
    Revision,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.pruning import (
    Removed,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import (
    LOCK_SECONDS,
    Timer,
    locked,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    SENTINEL,
    Directory,
    PublishError,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.report import (
    Version,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.seen import (
    LOOKS,
    Seen,
    look,
)


@dataclass
class Job:
    """Where to, and how.

    tree: the hash that the content has to have, if that is known. retention: what stays; None where nothing is pruned.
    """

    directory: Directory
    attributes: Attributes
    publisher: str
    tree: str | None = None
    retention: pruning.Retention | None = None
    sentinel: str = SENTINEL
    lock_timeout: float = LOCK_SECONDS
    is_check: bool = False
    is_diff: bool = False
    timer: Timer = field(default_factory=Timer)

    def turn(self) -> AbstractContextManager[None]:
        """Keep other publishers out, so that what is current stays so; in check mode, nothing is locked."""
        return nullcontext() if self.is_check else locked(self.directory, self.attributes, self.lock_timeout)


@dataclass(frozen=True)
class Staged:
    """A release that is there or, in check mode, would be.

    revision: what it is of, as its origin says now. before: the release that was current then. after: what it is. files:
    how many. is_made: whether it was not there before. is_settled: whether it is the current one already, and nothing has
    to go. cleaned: the leftovers that were removed. left: those that could not be, and why. written: bytes. differences:
    from the one to the other, as a diff shows them.
    """

    name: str
    tree: str
    revision: Revision
    before: Version
    after: Version
    files: int
    is_made: bool = False
    is_settled: bool = False
    cleaned: Sequence[str] = ()
    left: Sequence[str] = ()
    written: int = 0
    differences: tuple[dict[str, str], ...] = ()


def look_around(job: Job) -> Seen:
    """What the source's directory holds now."""
    with ThreadPoolExecutor(LOOKS) as pool:
        return look(pool, job.directory)()


def outdated(job: Job, seen: Seen, current: str) -> list[str]:
    """The releases that need not stay beside the current one."""
    return [] if job.retention is None else pruning.outdated(job.directory, seen, job.retention, current)


def prune(job: Job, current: str) -> Removed:
    """Remove what need not stay beside the current one; in check mode, only name it. In one's turn."""
    names = outdated(job, look_around(job), current)
    return Removed(names, []) if job.is_check else pruning.remove(job.directory, names)


def clean(job: Job) -> Removed:
    """Remove leftovers; in check mode, only name them. In one's turn."""
    return Removed(leftovers(job), []) if job.is_check else pruning.clean(job.directory)


def clean_unless_in_use(job: Job, seen: Seen) -> Removed:
    """Remove leftovers in passing; what another publisher is making at this moment is none."""
    if job.is_check or not seen.leftovers:
        return Removed(list(seen.leftovers), [])
    try:
        with locked(job.directory, job.attributes, seconds=0):
            return pruning.clean(job.directory)
    except PublishError:
        return Removed([], [])


def leftovers(job: Job) -> list[str]:
    """Names of what a publisher that was killed left behind."""
    return [path.name for path in job.directory.leftovers()]
