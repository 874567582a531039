# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The component model: what runs, without a word of the platform that runs it.

``model`` gives one plain dictionary for each component:

- name, kind (api-server, scheduler, dag-processor, triggerer, worker, setup), pool (None but for workers)
- hosts: of the inventory, on which it runs, or may run where the platform chooses; replicas: how many processes of it run;
  machines: what ``{host}`` stands for in each of them
- team: whose tasks or triggers alone it runs, among Airflow's own teams; None where it serves all
- once: whether it runs to its end before the others start, instead of staying
- program: airflow, or the python of its environment
- command: the program's arguments; ``{host}`` in one of them stands for the name of the machine or container,
  ``{credential:NAME}`` for the path of a credential, ``{queues}`` for the queues, with commas
- settings: Airflow's configuration by section and key, without secrets
- secret_settings: the credential that holds the value, by "section.key"
- secret_commands: variables that hold the command which prints a credential, as airflow.cfg's own *_cmd do
- copied_credentials: the credential that a file holds, by the "section.key" of the file's path: Airflow opens it for writing
- credentials: the names of all credentials (see credentials.values)
- users: who logs in to it with a password of the platform's: {name, secret} and more; [] where its database keeps them
- environment: variables without secrets; environment_files: variables that hold the path of a file or credential
- files: further configuration files, content by name
- sources: the DAG sources that are mounted, read-only
- queues: what a worker consumes
- is_told_queues: whether a running worker can be told other queues (airstack.backbone.worker_queues), so that they are
  no reason to restart it; SQS has no way to tell it
- logs: the component in whose folder it keeps local logs; its own but for the triggerers of teams on a host, whose logs the
  common one of their host serves: the API server knows one port for all
- port: where it listens for the others, or None; health: how its own machine sees that it works
- start_timeout, stop_timeout: seconds that it may take to start and to stop
- resources: what it is promised and what it may take, as resources.of gives it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import brokers, log_store, placement, resources, settings, teams
from .ports import SCHEDULER_HEALTH_PORT, TRIGGERER_LOG_PORT, WORKER_LOG_PORT

START_TIMEOUT = 300
"""Seconds; the slowest component to start is the API server, with 16 s measured on two idle cores."""

STOP_TIMEOUT = 60
"""Seconds; the slowest central component to stop is the triggerer, with 13 s measured."""

MIGRATION_TIMEOUT = 6 * 3600
"""Seconds; Airflow's migrations took over an hour with ten million task instances."""

READERS = ("dag-processor", "worker")
"""The kinds of component that read DAG files."""

CREDENTIALS: dict[str, tuple[str, ...]] = {
    "setup": ("database.sql_alchemy_conn",),
    "api-server": ("database.sql_alchemy_conn", "core.fernet_key", "api_auth.jwt_secret", "api.secret_key"),
    "scheduler": (
        "database.sql_alchemy_conn",
        "core.fernet_key",
        "api_auth.jwt_secret",
        "celery.broker_url",
        "celery.result_backend",
    ),
    "dag-processor": ("database.sql_alchemy_conn", "core.fernet_key"),
    "triggerer": ("database.sql_alchemy_conn", "core.fernet_key", "api.secret_key"),
    "worker": ("api.secret_key", "celery.broker_url", "celery.result_backend"),
}
"""The secret settings of each kind, and no others: a worker has neither the metadata database nor its keys."""

LOG_STORE_USERS = ("api-server", "triggerer", "worker")
"""The kinds of component that write or read the logs of tasks."""


def model(plan: Mapping[str, Any], endpoints: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every component of a platform, in the order in which they may start.

    plan: as plan.make gives it. endpoints: database, broker, dag_storage and log_store, as the services' roles give them.
    """
    pools = {pool["name"]: pool for pool in plan["pools"]}
    return [
        _setup(plan, endpoints),
        *(_component(placed, pools.get(placed["pool"]), plan, endpoints) for placed in plan["components"]),
    ]


def _setup(plan: Mapping[str, Any], endpoints: Mapping[str, Any]) -> dict[str, Any]:
    """The database set-up, which brings the schema, the result tables, and the admin user or the teams to where this core
    wants them."""
    files = {"--database-url-file": "sql_alchemy_conn", "--fernet-key-file": "fernet_key"}
    names = {"--results-role": endpoints["database"]["results_user"]}
    if not plan["teams"]:
        files["--admin-password-file"] = "admin_password"
        names["--admin-user"] = plan["api"]["admin_user"]
    hosts = plan["api"]["hosts"]
    # Where the platform chooses among nodes, it may be any of them.
    hosts = hosts if plan["nodes"] else hosts[:1]
    return {
        "name": "setup",
        "kind": "setup",
        "pool": None,
        "team": None,
        "hosts": hosts,
        "replicas": 1,
        "machines": hosts[:1],
        "once": True,
        "program": "python",
        "command": [
            "-m",
            "airflow_backbone.setup",
            *(word for option, name in files.items() for word in (option, f"{{credential:{name}}}")),
            *(word for option, name in names.items() for word in (option, name)),
            *(word for team in plan["teams"] for word in ("--team", team["name"])),
        ],
        "settings": settings.of("setup", None, plan, endpoints),
        "secret_settings": _secret_settings("setup"),
        "secret_commands": {},
        "copied_credentials": {},
        "credentials": list(files.values()),
        "users": [],
        "environment": {},
        "environment_files": {},
        "files": {},
        "sources": [],
        "queues": [],
        "is_told_queues": False,
        "logs": "setup",
        "port": None,
        "health": {"type": "end"},
        "start_timeout": MIGRATION_TIMEOUT,
        "stop_timeout": STOP_TIMEOUT,
        "resources": resources.of(plan["resources"], {"name": "setup", "kind": "setup"}),
    }


def _component(
    placed: Mapping[str, Any], pool: Mapping[str, Any] | None, plan: Mapping[str, Any], endpoints: Mapping[str, Any]
) -> dict[str, Any]:
    kind = placed["kind"]
    sources = pool["sources"] if pool else [source["name"] for source in plan["sources"]]
    secret_settings = _secret_settings(kind)
    users = plan["api"]["users"] if kind == "api-server" else []
    copied = {"core.simple_auth_manager_passwords_file": teams.PASSWORDS} if users else {}
    identity = log_store.identity(endpoints["log_store"], placed["pool"]) if kind in LOG_STORE_USERS else None
    component = {
        **placed,
        "once": False,
        "program": "airflow",
        "command": _command(placed, pool, plan),
        "settings": settings.of(kind, pool, plan, endpoints),
        "secret_settings": secret_settings,
        "secret_commands": {},
        "copied_credentials": copied,
        "credentials": [*secret_settings.values(), *copied.values()],
        "users": users,
        "environment": {},
        "environment_files": {},
        "files": {},
        "sources": sources if kind in READERS else [],
        "queues": pool["queues"] if pool else [],
        "is_told_queues": pool is not None and endpoints["broker"]["scheme"] != "sqs",
        "logs": placed["name"] if _serves_logs(placed, plan) else kind,
        "port": _port(placed, plan),
        "health": _health(kind, plan),
        "start_timeout": START_TIMEOUT,
        "stop_timeout": plan["timeouts"]["worker_stop"]["seconds"] if kind == "worker" else STOP_TIMEOUT,
        "resources": resources.of(plan["resources"], placed),
    }
    component = brokers.connect(component, endpoints["broker"])
    component = teams.connect(component, teams.served(kind, placed["team"], plan))
    return log_store.connect(component, endpoints["log_store"], identity) if kind in LOG_STORE_USERS else component


def _secret_settings(kind: str) -> dict[str, str]:
    return {setting: setting.split(".")[1] for setting in CREDENTIALS[kind]}


def _serves_logs(placed: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Whether it serves the logs that it keeps: a team's triggerer does where its port is not that of its host's others."""
    return placed["kind"] != "triggerer" or not placed["team"] or placement.PLATFORMS[plan["platform"]].has_addresses


def _command(placed: Mapping[str, Any], pool: Mapping[str, Any] | None, plan: Mapping[str, Any]) -> list[str]:
    team = placed["team"]
    if pool is None:
        served = () if _serves_logs(placed, plan) else ("--skip-serve-logs",)
        return [placed["kind"], *(("--team-name", team) if team else ()), *served]
    return [
        "celery",
        "worker",
        *("--queues", "{queues}"),
        *("--concurrency", str(pool["concurrency"])),
        # With SQS a name of its own would have the worker look for a mailbox that there is not, and die of it.
        *(() if plan["broker"]["kind"] == "sqs" else ("--celery-hostname", f"{pool['name']}@{{host}}")),
        "--without-mingle",
        "--without-gossip",
        *(("--team", team) if team else ()),
    ]


def _port(placed: Mapping[str, Any], plan: Mapping[str, Any]) -> int | None:
    if not _serves_logs(placed, plan):
        return None
    ports = {"api-server": plan["api"]["port"], "triggerer": TRIGGERER_LOG_PORT, "worker": WORKER_LOG_PORT}
    return ports.get(placed["kind"])


def _health(kind: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """http: this answers 200. heartbeat: the API's monitor shows this component's heartbeat, or that of another one of its
    processes. port: something listens. end: it has come to its end without a failure.
    """
    processes = sum(each["replicas"] for each in plan["components"] if each["kind"] == kind)
    return {
        "api-server": {"type": "http", "port": plan["api"]["port"], "path": "/api/v2/version"},
        "scheduler": {"type": "http", "port": SCHEDULER_HEALTH_PORT, "path": "/health"},
        "dag-processor": {"type": "heartbeat", "component": "dag_processor", "processes": processes},
        "triggerer": {"type": "heartbeat", "component": "triggerer", "processes": processes},
        "worker": {"type": "port", "port": WORKER_LOG_PORT},
    }[kind]
