# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Celery's settings: Airflow's own, with durable RabbitMQ queues and one control exchange for each worker pool.

``[celery] celery_config_options = airflow_backbone.celery_config.CELERY_CONFIG``. A worker names its pool in
``[airflow_backbone] pool``; the scheduler names none.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from airflow.providers.common.compat.sdk import conf

AMQP_SCHEMES = ("amqp://", "amqps://", "pyamqp://")


def with_quorum_queues(config: dict[str, Any]) -> dict[str, Any]:
    """Return ``config`` with every queue a quorum queue and every publish confirmed, if its broker speaks AMQP."""
    if not config["broker_url"].startswith(AMQP_SCHEMES):
        return config
    return {
        **config,
        "task_default_queue_type": "quorum",
        "task_create_missing_queue_type": "quorum",
        "worker_detect_quorum_queues": True,
        "broker_transport_options": {"confirm_publish": True, **config["broker_transport_options"]},
    }


def with_pool(config: dict[str, Any], pool: str | None) -> dict[str, Any]:
    """Return ``config`` with the worker's consumer, and the pool's own control and event exchanges for an AMQP broker.

    On the shared exchanges that Celery uses otherwise, each worker's broker user would need the right to publish,
    and with it could shut down the workers of every other pool.
    """
    if not pool:
        return config
    if not config["broker_url"].startswith(AMQP_SCHEMES):
        return {**config, "worker_consumer": "airflow_backbone.celery_consumer:SteadyConsumer"}
    return {
        **config,
        "control_exchange": f"celery-{pool}",
        "event_exchange": f"celeryev-{pool}",
        "event_queue_prefix": f"celeryev-{pool}",
        "worker_consumer": "airflow_backbone.celery_consumer:PoolConsumer",
    }


CELERY_CONFIG = {
    **with_pool(with_quorum_queues(DEFAULT_CELERY_CONFIG), conf.get("airflow_backbone", "pool", fallback=None)),
    "imports": ["airflow_backbone.readiness"],
}
