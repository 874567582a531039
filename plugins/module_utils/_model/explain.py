# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import placement
from .durations import spell

WORDS = {
    "worker_stop": "a stopping worker is given",
    "consumer_timeout": "the broker waits for an acknowledgement",
    "visibility_timeout": "the broker waits for an acknowledgement",
    "message_retention": "the broker keeps a message for",
    "task_queued": "a task may wait in its queue",
    "task_heartbeat": "a silent task is given up after",
}


def text(plan: Mapping[str, Any]) -> str:
    """Services and endpoints, the way from sources to hosts, and every timeout with its reason."""
    longest = spell(plan["longest_task"])
    title = (
        f"Airflow {plan['airflow_version']}, environment {plan['environment']}, on {plan['platform']};"
        f" the longest task takes {longest}"
    )
    return "\n\n".join(
        [
            title,
            section("Services", ("service", "provider", "endpoint"), _services(plan)),
            section("Components", ("component", "hosts"), _components(plan)),
            section("DAGs", ("source", "queue", "pool", "reads", "hosts"), _routes(plan)),
            *_teams(plan),
            section("Timeouts", ("what", "value", "at most", "because"), _timeouts(plan)),
        ]
    )


def section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A heading and a table whose columns are as wide as their longest cell."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
    return "\n".join([title.upper(), *(f"  {line}" for line in lines)])


def _services(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    database, broker, storage, logs = (plan[name] for name in ("database", "broker", "dag_storage", "log_store"))
    through = f" through {logs['endpoint_url']}" if logs["endpoint_url"] else ""
    return [
        ("database", database["provider"], f"{database['host']}:{database['port']}/{database['name']}"),
        ("broker", broker["provider"], _broker(broker)),
        ("DAG storage", storage["provider"], f"{storage['path']}, published from {storage['publisher']}"),
        ("log store", logs["provider"], logs["url"] + through),
        ("UI and API", "-", plan["api"]["url"]),
    ]


def _broker(broker: Mapping[str, Any]) -> str:
    if broker["kind"] == "sqs":
        through = f" through {broker['endpoint_url']}" if broker["endpoint_url"] else ""
        return f"{broker['prefix']}* of the account {broker['account']} in {broker['region']}{through}"
    if sentinel := broker.get("sentinel"):
        nodes = ", ".join(f"{node['address']}:{node['port']}" for node in sentinel["nodes"])
        return f"{sentinel['master_name']}, as the Sentinels {nodes} tell"
    places = broker["nodes"] or [{"address": broker["host"], "port": broker["port"]}]
    return ", ".join(f"{place['address']}:{place['port']}" for place in places) + f"/{broker['vhost']}"


def _components(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(component["name"], placement.where(component)) for component in plan["components"]]


def _routes(plan: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """A row for each source, each of its queues, and each pool that consumes it."""
    return [
        (
            source["name"],
            queue + (" (default)" if queue == source["default_queue"] else ""),
            pool["name"],
            ", ".join(pool["sources"]),
            placement.where(pool),
        )
        for source in plan["sources"]
        for queue in source["queues"]
        for pool in plan["pools"]
        if queue in pool["queues"]
    ]


def _teams(plan: Mapping[str, Any]) -> list[str]:
    """Airflow's own teams, where it knows of any, with who may log in."""
    if not plan["teams"]:
        return []
    users = [
        (user["name"], user["role"], ", ".join(user["teams"]) or "all", f"airflow_secret_{user['secret']}")
        for user in plan["api"]["users"]
    ]
    return [
        section(
            "Teams (experimental in Airflow 3.3)",
            ("team", "pools", "sources"),
            [(team["name"], ", ".join(team["pools"]), ", ".join(team["sources"])) for team in plan["teams"]],
        ),
        section("Users", ("user", "role", "teams", "password"), users),
    ]


def _timeouts(plan: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (
            WORDS.get(name, name),
            spell(timeout["seconds"]),
            spell(timeout["most"]) if timeout["most"] else "",
            timeout["reason"] + (f". {timeout['source']}" if timeout["source"] else ""),
        )
        for name, timeout in plan["timeouts"].items()
    ]
