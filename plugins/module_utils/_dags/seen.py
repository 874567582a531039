# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a source's directory holds besides the content of its releases, read at one time.

A network filesystem answers each call in milliseconds, so all that does not need another's answer is asked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory

LOOKS = 5
"""Threads that a look takes."""


class Seen(NamedTuple):
    """The current release (None before the first), all releases, what became current when, and leftovers, by name."""

    current: str | None
    names: Sequence[str]
    events: Sequence[history.Event]
    leftovers: Sequence[str]

    @property
    def made(self) -> Mapping[str, Any]:
        """What the current release was made of, as `history.Event` has it; empty where nothing tells, or it is gone."""
        last = self.events[-1] if self.events else None
        is_known = last is not None and last.release == self.current and self.current in self.names
        return (last.made or {}) if last is not None and is_known else {}


def look(pool: ThreadPoolExecutor, directory: Directory) -> Callable[[], Seen]:
    """Begin to look, and return what gives the answer.

    :raises PublishError: by the answer: `current` or the releases are not what a publisher made
    """
    current: Future[str | None] = pool.submit(directory.current)
    no_links = pool.submit(directory.require_no_links)
    names: Future[list[str]] = pool.submit(directory.listed)
    events: Future[list[history.Event]] = pool.submit(history.read, directory)
    leftovers = pool.submit(lambda: [path.name for path in directory.leftovers()])

    def seen() -> Seen:
        no_links.result()
        return Seen(current.result(), names.result(), events.result(), leftovers.result())

    return seen
