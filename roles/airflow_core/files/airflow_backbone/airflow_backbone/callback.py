# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A deadline's callback that knows its queue.

The Celery executor sends a ``SyncCallback`` to the queue "default" unless the callback's data names another
(apache-airflow-providers-celery 3.24, ``CeleryExecutor._process_workloads``), and nothing of Airflow 3.3 names one.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions import callback
from airflow.sdk.serde import allow_class


class SyncCallback(callback.SyncCallback):
    """Has the name of Airflow's own, by which Airflow tells that an executor runs it."""

    def __init__(self, *args: Any, queue: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = queue

    @classmethod
    def serialized_fields(cls) -> tuple[str, ...]:
        return (*super().serialized_fields(), "queue")


# Schedulers and API servers make it again from what is in the database.
allow_class(SyncCallback)


def on_queue(given: callback.Callback, queue: str) -> callback.Callback:
    """The callback on a queue, or as it is where no executor runs it (an ``AsyncCallback``: the triggerer does)."""
    if not isinstance(given, callback.SyncCallback):
        return given
    return SyncCallback(given.path, given.kwargs, given.executor, queue=queue)
