# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which worker pool reads which source: a pool reads the sources that may use one of its queues, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .dag_sources import Source
from .description import Description, Pool
from .problems import Problem


class Routing:
    """The way from sources over queues to pools, both directions."""

    def __init__(self, sources: Sequence[Source], pools: Sequence[Pool]) -> None:
        self._sources = sources
        self._pools = pools
        self.pools_of_queue: dict[str, list[str]] = {}
        self.sources_of_queue: dict[str, list[str]] = {}
        for pool in pools:
            for queue in pool.queues:
                self.pools_of_queue.setdefault(queue, []).append(pool.name)
        for source in sources:
            for queue in source.queues:
                self.sources_of_queue.setdefault(queue, []).append(source.name)

    @property
    def queues(self) -> list[str]:
        """Every queue that a pool consumes."""
        return sorted(self.pools_of_queue)

    def pools_of(self, source: Source) -> list[str]:
        """The pools that may run a source's tasks."""
        return sorted({pool for queue in source.queues for pool in self.pools_of_queue.get(queue, [])})

    def sources_of(self, pool: Pool) -> list[str]:
        """The sources that a pool reads."""
        return sorted({source for queue in pool.queues for source in self.sources_of_queue.get(queue, [])})

    def problems(self) -> list[Problem]:
        """Queues that lead nowhere, and pools that nothing leads to."""
        known = ", ".join(self.queues[:20])
        dead_ends = [
            Problem(f"airflow_dag_sources[{at}].queues[{index}]", queue, f"a queue of a worker pool ({known})")
            for at, source in enumerate(self._sources)
            for index, queue in enumerate(source.queues)
            if queue not in self.pools_of_queue
        ]
        idle = [
            Problem(
                f"airflow_worker_pools[{at}].queues",
                list(pool.queues),
                f"at least one queue that a source may use, or no pool {pool.name} at all",
            )
            for at, pool in enumerate(self._pools)
            if not self.sources_of(pool)
        ]
        return dead_ends + idle

    def file(self, description: Description) -> dict[str, Any]:
        """What the queue policy inside Airflow reads."""
        return {
            "mode": description.routing_mode,
            "storage": description.dag_storage_path,
            "sources": {
                source.name: {"queues": list(source.queues), "default_queue": source.queues[0]}
                for source in self._sources
            },
        }
