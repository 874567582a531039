# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Airflow's configuration of each kind of component, by section and key, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from . import placement, teams, timeouts
from .log_store import CONNECTION
from .ports import SCHEDULER_HEALTH_PORT, TRIGGERER_LOG_PORT, WORKER_LOG_PORT
from .problems import NOT_SHOWN, Problem

Settings = dict[str, dict[str, str]]

UNASSIGNED = "unassigned"
"""The queue of a task that names none. The policy sends it to its source's first queue; no worker consumes this one."""

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
BUNDLE = "airflow_backbone.bundle.ReleaseDagBundle"
LOG_NAME = (
    "queue={{ ti.queue }}/dag_id={{ ti.dag_id }}/run_id={{ ti.run_id }}/task_id={{ ti.task_id }}/"
    "{% if ti.map_index >= 0 %}map_index={{ ti.map_index }}/{% endif %}"
    "attempt={{ try_number|default(ti.try_number) }}.log"
)
"""Airflow's own name of a log after the queue's: a store can give a pool rights to the logs of its queues alone."""

SQS_WAIT = 20
"""Seconds that one question to SQS waits for a message; the most there is, and each question costs."""

PUBLISH_ATTEMPTS = 60
"""Of sending a task, a second each ([celery] operation_timeout). A failover of Redis or its restart must fit in; Airflow's
own 3 attempts fail the task before."""
PUBLISH_TIMEOUT = 15
"""Seconds that a scheduler gives one task's way to a broker of several nodes, or to SQS. Airflow's own, 1, is less than it
takes to find that a node is gone (1 s until the kernel says so) and to try others (4 s for each that does not answer), and
less than boto3 takes to begin on a busy machine; after three such timeouts Airflow fails the task."""

ENCRYPTED = ("amqps", "rediss")
"""Schemes of a broker with TLS. Where it is somebody else's the machine's own authorities know it, unless the user says so."""

ONE_WAY_TLS = {"ssl_active": "True", "ssl_mutual_tls": "False"}
"""The broker proves who it is, and clients do by their password."""

BUNDLE_REFRESH = 30
"""Seconds until a new release is noticed where nobody announces it. Looking costs one readlink."""


def of(kind: str, pool: Mapping[str, Any] | None, plan: Mapping[str, Any], endpoints: Mapping[str, Any]) -> Settings:
    """The settings of a component: the platform's own over the user's, so that none of them can be undone unseen.

    Below both stands what the user may set otherwise.
    """
    made = merged(_defaults(kind, plan), plan["settings"], own(kind, pool, plan, endpoints))
    return merged(made, teams.repeated(made, teams.served(kind, pool["team"] if pool else None, plan)))


def _defaults(kind: str, plan: Mapping[str, Any]) -> Settings:
    return merged(_of_platform(plan["platform"]), _of_broker(kind, plan["broker"]))


def _of_platform(platform: str) -> Settings:
    callable_name = placement.PLATFORMS[platform].hostname_callable
    return {"core": {"hostname_callable": callable_name}} if callable_name else {}


def _of_broker(kind: str, broker: Mapping[str, Any]) -> Settings:
    if kind == "scheduler" and (len(broker["nodes"]) > 1 or broker["kind"] == "sqs"):
        return {"celery": {"operation_timeout": str(PUBLISH_TIMEOUT)}}
    if kind in ("scheduler", "worker") and not broker["nodes"] and broker["scheme"] in ENCRYPTED:
        return {"celery": dict(ONE_WAY_TLS)}
    return {}


def own(kind: str, pool: Mapping[str, Any] | None, plan: Mapping[str, Any], endpoints: Mapping[str, Any]) -> Settings:
    """What the plan decides for a component of this kind."""
    sources = [source for source in plan["sources"] if not pool or source["name"] in pool["sources"]]
    common: Settings = {
        "api": {"base_url": plan["api"]["url"]},
        "core": {"executor": teams.executors(_teams(pool, plan)), "load_examples": "False", "auth_manager": FAB},
        # A worker holds the key that signs sessions; those in the database it cannot forge.
        "fab": {"session_backend": "database"},
        "operators": {"default_queue": UNASSIGNED},
        "dag_processor": {
            "dag_bundle_config_list": bundles(sources, endpoints["dag_storage"]["path"], kind == "dag-processor"),
            # The worker's cleaner knows only bundles that keep their versions in Airflow's own directory.
            "stale_bundle_cleanup_interval": "0",
        },
        "logging": {
            "remote_logging": "True",
            "remote_base_log_folder": endpoints["log_store"]["url"],
            "remote_log_conn_id": CONNECTION,
            "log_filename_template": LOG_NAME,
            "delete_local_logs": "True",
            "trigger_log_server_port": str(TRIGGERER_LOG_PORT),
            "worker_log_server_port": str(WORKER_LOG_PORT),
        },
    }
    of_pool = _of_pool(pool, plan["broker"]) if pool else {}
    return merged(common, teams.common(plan), _OF_KIND[kind](plan), of_pool)


def _teams(pool: Mapping[str, Any] | None, plan: Mapping[str, Any]) -> list[str]:
    """The teams that a component knows: a worker its own alone, so that another one's coming is no reason to restart it."""
    return [team["name"] for team in plan["teams"] if not pool or team["name"] == pool["team"]]


def bundles(sources: Iterable[Mapping[str, Any]], storage: str, has_links: bool) -> str:
    """[dag_processor] dag_bundle_config_list: one bundle for each source of the plan.

    has_links: whether it says where commits are seen. The DAG processor writes that into the database, where all others
    read it, so that another address is no reason to restart them.
    """
    return json.dumps([_bundle(source, storage, has_links) for source in sources])


def _bundle(source: Mapping[str, Any], storage: str, has_links: bool) -> dict[str, Any]:
    name, view_url = source["name"], source["view_url"]
    link = {"view_url_template": view_url} if has_links and view_url else {}
    kwargs = {"storage": storage, "source": name, "refresh_interval": BUNDLE_REFRESH, **link}
    team = {"team_name": source["team"]} if source["team"] else {}
    return {"name": name, "classpath": BUNDLE, "kwargs": kwargs, **team}


def merged(*layers: Mapping[str, Mapping[str, str]]) -> Settings:
    """One configuration out of several; a later one wins."""
    result: Settings = {}
    for layer in layers:
        for section, keys in layer.items():
            result.setdefault(section, {}).update(keys)
    return result


def problems(settings: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """The user's settings that contradict what every plan decides, or that are secrets."""
    decided = _decided()
    return [
        Problem(f"airflow_settings.{section}.{key}", NOT_SHOWN if "secret" in reason else value, "left out: " + reason)
        for section, keys in settings.items()
        for key, value in keys.items()
        for reason in [_taken(section, key, decided)]
        if reason
    ]


def sections(settings: Mapping[str, Any]) -> list[str]:
    """The sections of Airflow's configuration that are known here: the user's, and those of what the plan decides."""
    return sorted({*settings, *_decided(), *_SECRETS, *PLACES})


def _decided() -> Settings:
    """What plans decide, with teams or without."""
    pool: dict[str, Any] = {"name": "", "sources": [], "team": None}
    return merged(
        *(
            own(kind, pool if kind == "worker" else None, {**_ANY_PLAN, "teams": named}, _ANY_ENDPOINTS)
            for named in ([], [{"name": ""}])
            for kind in _OF_KIND
        )
    )


def _taken(section: str, key: str, decided: Settings) -> str | None:
    names = {key, key.removesuffix("_cmd"), key.removesuffix("_secret")}
    if names.intersection(_SECRETS.get(section, ())):
        return "it is a secret, which the platform keeps out of its configuration files"
    if section == "core" and key == "multi_team":
        return "airflow_multi_team decides it"
    if names.intersection(PLACES.get(section, ())):
        return "the platform decides where the components keep their files"
    return "the plan decides it from the description" if names.intersection(decided.get(section, {})) else None


def _api_server(plan: Mapping[str, Any]) -> Settings:
    return merged({"api": {"port": str(plan["api"]["port"])}}, teams.log_in(plan))


def _of_pool(pool: Mapping[str, Any], broker: Mapping[str, Any]) -> Settings:
    """What a pool's workers alone are told. Of SQS they know their own queues, and others' queues restart none of them."""
    own: Settings = {"airflow_backbone": {"pool": pool["name"]}}
    if broker["kind"] != "sqs":
        return own
    return {**own, "celery_broker_transport_options": {"predefined_queues": _predefined(broker, pool["queues"])}}


def _scheduler(plan: Mapping[str, Any]) -> Settings:
    return {
        "scheduler": {
            "enable_health_check": "True",
            "scheduler_health_check_server_host": "127.0.0.1",
            "scheduler_health_check_server_port": str(SCHEDULER_HEALTH_PORT),
            "task_queued_timeout": str(plan["timeouts"]["task_queued"]["seconds"]),
            "task_instance_heartbeat_timeout": str(plan["timeouts"]["task_heartbeat"]["seconds"]),
        },
        **_celery(plan),
    }


def _worker(plan: Mapping[str, Any]) -> Settings:
    return {
        "core": {"execution_api_server_url": plan["api"]["execution_url"]},
        **_celery(plan),
        "workers": {"max_failed_heartbeats": str(timeouts.MAX_FAILED_HEARTBEATS)},
    }


def _celery(plan: Mapping[str, Any]) -> Settings:
    """What clients of the broker are told; its own side the broker's role sees to."""
    broker = plan["broker"]
    common: Settings = {
        "celery": {
            "celery_config_options": CELERY_CONFIG,
            **({"worker_enable_remote_control": "False"} if broker["kind"] == "sqs" else {}),
        },
    }
    return merged(common, _TRANSPORT[broker["kind"]](broker, plan["timeouts"]))


def _amqp_transport(broker: Mapping[str, Any], _known: Mapping[str, Any]) -> Settings:
    return {"celery": _tls(broker)}


def _tls(broker: Mapping[str, Any]) -> dict[str, str]:
    return dict(ONE_WAY_TLS) if broker.get("tls") else {}


def _redis_transport(broker: Mapping[str, Any], known: Mapping[str, Any]) -> Settings:
    options = {"visibility_timeout": str(known["visibility_timeout"]["seconds"])}
    if broker["sentinel"]:
        options["master_name"] = broker["sentinel"]["master_name"]
    return {
        "celery": {"task_publish_max_retries": str(PUBLISH_ATTEMPTS), **_tls(broker)},
        "celery_broker_transport_options": options,
    }


def _sqs_transport(broker: Mapping[str, Any], known: Mapping[str, Any]) -> Settings:
    """Every queue by its address: a worker then needs no right to make queues, nor to list those of others."""
    options = {
        "region": broker["region"],
        "visibility_timeout": str(known["visibility_timeout"]["seconds"]),
        "wait_time_seconds": str(SQS_WAIT),
        "predefined_queues": _predefined(broker, broker["urls"]),
    }
    if broker["endpoint_url"]:
        options["is_secure"] = str(broker["endpoint_url"].startswith("https://"))
    return {"celery_broker_transport_options": options}


def _predefined(broker: Mapping[str, Any], queues: Iterable[str]) -> str:
    return json.dumps({queue: {"url": broker["urls"][queue]} for queue in queues})


_TRANSPORT = {"amqp": _amqp_transport, "redis": _redis_transport, "sqs": _sqs_transport}

_ANY_PLAN: dict[str, Any] = {
    "broker": {"kind": "amqp"},
    "api": {"url": "", "port": 0, "execution_url": "", "users": []},
    "sources": [],
    "timeouts": {"task_queued": {"seconds": 0}, "task_heartbeat": {"seconds": 0}},
}
_ANY_ENDPOINTS = {"dag_storage": {"path": ""}, "log_store": {"url": ""}}
"""Which settings are decided is the same in every plan, whatever their values."""

CELERY_CONFIG = "airflow_backbone.celery_config.CELERY_CONFIG"

_OF_KIND = {
    "api-server": _api_server,
    "scheduler": _scheduler,
    "dag-processor": lambda _plan: {
        # Else a DAG that changes twice within this time shows the new release with the tasks of the old one.
        "core": {"min_serialized_dag_update_interval": "0"},
    },
    "triggerer": lambda _plan: {},
    "setup": lambda _plan: {},
    "worker": _worker,
}

PLACES: dict[str, tuple[str, ...]] = {
    "core": ("simple_auth_manager_passwords_file",),
    "dag_processor": ("dag_bundle_storage_path",),
    "logging": ("base_log_folder", "dag_processor_child_process_log_directory"),
}
"""Settings that the renderer of a platform gives, by section."""

_SECRETS: dict[str, tuple[str, ...]] = {
    "api": ("secret_key",),
    "api_auth": ("jwt_secret",),
    "celery": ("broker_url", "result_backend", "flower_basic_auth"),
    "core": ("fernet_key",),
    "database": ("sql_alchemy_conn", "sql_alchemy_conn_async"),
    "secrets": ("backend_kwargs",),
    "workers": ("secrets_backend_kwargs",),
}
"""Settings that hold secrets, as Airflow 3.3's own reference marks them, by section."""
