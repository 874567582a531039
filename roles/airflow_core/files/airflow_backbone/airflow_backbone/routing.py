# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which queue a task goes to, decided by the source that its DAG came from. No Airflow in here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any


class RoutingError(Exception):
    """The routing file cannot be used."""


class QueueRefused(Exception):
    """A DAG may not run as it stands."""


@dataclass(frozen=True)
class Source:
    """A DAG source: where its tasks may run, and where they run by default."""

    name: str
    queues: tuple[str, ...]
    default_queue: str


@dataclass(frozen=True)
class Routing:
    """The routing file's content.

    ``mode`` is ``enforce``, or ``assign``, which refuses nothing and only sets what is not set.
    """

    mode: str
    storage: PurePosixPath
    sources: Mapping[str, Source]

    @classmethod
    def parse(cls, data: Any) -> Routing:
        """Build it from the decoded file.

        :raises RoutingError: naming what is wrong
        """
        try:
            mode, storage = data["mode"], PurePosixPath(data["storage"])
            sources = {
                name: Source(name, tuple(entry["queues"]), entry["default_queue"])
                for name, entry in data["sources"].items()
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise RoutingError(f"it lacks mode, storage or sources, or one is of a wrong type ({error!r})") from None
        if mode not in ("assign", "enforce"):
            raise RoutingError(f"mode is {mode!r}, and must be 'assign' or 'enforce'")
        if not storage.is_absolute():
            raise RoutingError(f"storage is {str(storage)!r}, and must be an absolute path")
        return cls(mode, storage, sources)

    def source_of(self, fileloc: str) -> Source | None:
        """The source that a DAG file belongs to.

        :param fileloc: the file's absolute path
        """
        try:
            return self.sources[PurePosixPath(fileloc).relative_to(self.storage).parts[0]]
        except (ValueError, IndexError, KeyError):
            return None

    def assign(self, dag_id: str, fileloc: str, queues: Mapping[str, str], unset: str) -> dict[str, str]:
        """Decide the queues of one DAG.

        :param fileloc: the DAG file's absolute path
        :param queues: task id -> the queue that it names
        :param unset: the queue that a task names which names none (``[operators] default_queue``)
        :return: task id -> its new queue, for those that change
        :raises QueueRefused: in mode ``enforce``: naming all the tasks that name another queue than their source's, or
            a DAG that belongs to no source
        """
        source = self.source_of(fileloc)
        if source is None:
            if self.mode == "assign":
                return {}
            raise QueueRefused(
                f"DAG '{dag_id}' is in {fileloc}, which belongs to no DAG source of this platform "
                f"(sources in {self.storage}: {_listed(self.sources)})."
            )
        allowed = {*source.queues, source.default_queue, unset}
        refused = {task: queue for task, queue in queues.items() if queue not in allowed}
        if refused and self.mode == "enforce":
            named = ", ".join(f"task '{task}' names '{queue}'" for task, queue in refused.items())
            raise QueueRefused(
                f"DAG '{dag_id}' of source '{source.name}' names a queue that this source may not use: {named}. "
                f"Allowed: {_listed(source.queues)}."
            )
        return {task: source.default_queue for task, queue in queues.items() if queue == unset != source.default_queue}


class RoutingFile:
    """The routing file, read again only when it was replaced or changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._routing: Routing | None = None

    def read(self) -> Routing:
        """Return the routing in force.

        :raises RoutingError: the file is missing or wrong. Nothing is routed by guesswork then.
        """
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._routing is None or seen != self._seen:
                self._routing = Routing.parse(json.loads(self.path.read_text(encoding="utf-8")))
                self._seen = seen
        except OSError as error:
            raise RoutingError(f"The routing file {self.path} cannot be read: {error.strerror}.") from None
        except (ValueError, RoutingError) as error:
            raise RoutingError(f"The routing file {self.path} is wrong: {error}.") from None
        return self._routing


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"
