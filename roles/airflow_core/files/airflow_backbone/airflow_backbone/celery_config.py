# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Celery's settings: Airflow's own, with what each kind of broker needs to lose no task and to keep pools apart.

On RabbitMQ these are durable queues and one control exchange for each worker pool; on Redis, keys of each pool's own.

``[celery] celery_config_options = airflow_backbone.celery_config.CELERY_CONFIG``. A worker names its pool in
``[airflow_backbone] pool``; the scheduler names none.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from airflow.providers.common.compat.sdk import conf
from kombu.transport import TRANSPORT_ALIASES

from airflow_backbone import celery_control, celery_transport

AMQP_SCHEMES = ("amqp://", "amqps://", "pyamqp://")
REDIS_SCHEMES = ("redis://", "rediss://", "sentinel://")

REDIS_TRANSPORTS = {
    "redis": "airflow_backbone.redis_transport:Transport",
    "rediss": "airflow_backbone.redis_transport:Transport",
    "sentinel": "airflow_backbone.redis_transport:SentinelTransport",
}
"""By the schemes of addresses, which kombu reads anew when it changes to the next Sentinel."""

SENTINEL_SECONDS = 5
"""For an answer of a Sentinel; the next one is asked then."""

REDIS_SECONDS = 30
"""For an answer of Redis. A worker's own wait for a task is 1 s (kombu's brpop_timeout)."""

HEARTBEAT = 30
"""Seconds; a node that went without a word is noticed in about half of it, and another one is taken. Celery's own: 120."""


TO_ANY_NODE = {"connect_retries_timeout": 60, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}
"""Seconds to find a node that answers. kombu's own are the 4 in which it waits for the first one, and tries no other."""

UNTIL_TAKEN = {"max_retries": None, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}


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


def with_failover(config: dict[str, Any]) -> dict[str, Any]:
    """Return ``config`` for a broker of several nodes, if it is one that speaks AMQP.

    A publish goes on until one of them takes it, or until Airflow's [celery] operation_timeout ends it, which Airflow tries
    again; any other end would have Airflow fail the task.
    """
    if not config["broker_url"].startswith(AMQP_SCHEMES) or ";" not in config["broker_url"]:
        return config
    return {
        **config,
        "broker_heartbeat": HEARTBEAT,
        "broker_transport_options": {**TO_ANY_NODE, **config["broker_transport_options"]},
        "task_publish_retry_policy": UNTIL_TAKEN,
    }


def with_pool(config: dict[str, Any], pool: str | None) -> dict[str, Any]:
    """Return ``config`` with the pool's own control and event exchanges and consumer, if its broker speaks AMQP.

    On the shared exchanges that Celery uses otherwise, each worker's broker user would need the right to publish,
    and with it could shut down the workers of every other pool.
    """
    if not pool or not config["broker_url"].startswith(AMQP_SCHEMES):
        return config
    return {
        **config,
        "control_exchange": f"celery-{pool}",
        "event_exchange": f"celeryev-{pool}",
        "event_queue_prefix": f"celeryev-{pool}",
        "worker_consumer": "airflow_backbone.celery_consumer:PoolConsumer",
    }


def with_redis(config: dict[str, Any], pool: str | None) -> dict[str, Any]:
    """Return ``config`` with keys of the pool's own for what its workers hold, if its broker is Redis.

    Names with a dot are no queue's. A queue is one list, without kombu's further ones for priorities, which Airflow
    does not use. What a broker in a failover refuses is sent again until Airflow's own time for sending is over.
    """
    url = config["broker_url"]
    if not url.startswith(REDIS_SCHEMES):
        return config
    TRANSPORT_ALIASES.update(REDIS_TRANSPORTS)
    owner = f"pool.{pool}" if pool else "scheduler"
    tls = _redis_tls(config)
    options = {
        **{f"{key}_key": f"{owner}.{key}" for key in ("unacked", "unacked_index", "unacked_mutex")},
        "priority_steps": [0],
        "socket_connect_timeout": SENTINEL_SECONDS,
        "socket_keepalive": True,
        "socket_timeout": REDIS_SECONDS,
        **(_sentinel_options(url, tls) if url.startswith("sentinel://") else {}),
        **config["broker_transport_options"],
    }
    worker = {"worker_consumer": celery_control.REDIS_CONSUMER} if pool else {}
    return {
        **config,
        **({"broker_use_ssl": tls} if tls else {}),
        "broker_transport_options": options,
        "task_publish_retry_policy": UNTIL_TAKEN,
        **worker,
    }


def _redis_tls(config: dict[str, Any]) -> dict[str, Any]:
    """How connections are encrypted, if they are: by an address that says so, or by Airflow's [celery] ssl_active.

    Where nothing is said kombu looks at no certificate, and older clients of Redis not at whose it is.
    """
    told = config.get("broker_use_ssl") or {}
    if not told and not config["broker_url"].startswith("rediss://"):
        return {}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **told}


def _sentinel_options(url: str, tls: dict[str, Any]) -> dict[str, Any]:
    """How to reach and log in to the Sentinels: as to the servers behind them."""
    place = urlsplit(url.split(";", maxsplit=1)[0])
    given = {"username": place.username, "password": place.password}
    login = {key: unquote(value) for key, value in given.items() if value}
    waits = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
    return {"sentinel_kwargs": {**login, **waits, **({"ssl": True, **tls} if tls else {})}}


def with_sqs(config: dict[str, Any]) -> dict[str, Any]:
    """Return ``config`` with the package's own way to SQS, if that is its broker."""
    if not config["broker_url"].startswith("sqs://"):
        return config
    TRANSPORT_ALIASES["sqs"] = "airflow_backbone.celery_sqs:Transport"
    return {
        **config,
        "worker_consumer": "airflow_backbone.celery_sqs:SqsConsumer",
        "worker_enable_remote_control": False,
    }


def of(config: dict[str, Any], pool: str | None) -> dict[str, Any]:
    """Return ``config`` as a worker of the pool has it, or as the scheduler where there is no pool."""
    return with_sqs(with_redis(with_pool(with_failover(with_quorum_queues(config)), pool), pool))


celery_transport.install()
celery_control.install()

CELERY_CONFIG = {
    **of(DEFAULT_CELERY_CONFIG, conf.get("airflow_backbone", "pool", fallback=None)),
    "imports": ["airflow_backbone.readiness"],
}
