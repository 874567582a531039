# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The secret values of a component, each under the name of the credential that holds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from . import log_store, teams


@dataclass(frozen=True)
class _Wanted:
    """What a credential is made from: the component that reads it, the services' endpoints, the secrets by name."""

    component: Mapping[str, Any]
    endpoints: Mapping[str, Any]
    secrets: Mapping[str, str]


def values(component: Mapping[str, Any], endpoints: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, str]:
    """Content by name, for each of component["credentials"].

    secrets: the platform's secrets by name. Raises KeyError where one is missing, which the plan makes impossible.
    """
    wanted = _Wanted(component, endpoints, secrets)
    return {name: _MAKERS[name](wanted) for name in component["credentials"]}


def database_url(endpoint: Mapping[str, Any], user: str, password: str) -> str:
    """An SQLAlchemy address; the driver is always named, since what a bare one means changes with SQLAlchemy 2.1."""
    return _url(endpoint, user, password, endpoint["name"])


def broker_url(endpoint: Mapping[str, Any], user: str, password: str) -> str:
    """Celery's address of the broker: that of each node, or of Redis behind Sentinels, that of each Sentinel."""
    nodes = (endpoint.get("sentinel") or endpoint).get("nodes")
    if not nodes:
        return _url(endpoint, user, password, endpoint["vhost"])
    places = [{**endpoint, "host": node["address"], "port": node["port"]} for node in nodes]
    return ";".join(_url(place, user, password, endpoint["vhost"]) for place in places)


def sqs_url(user: str | None, secret: str, endpoint_url: str | None) -> str:
    """Celery's address of SQS: with the keys, or without any where the machine's role serves; AWS's own has no place."""
    keys = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user else ""
    return f"sqs://{keys}{endpoint_url.partition('://')[2] if endpoint_url else ''}"


def _url(endpoint: Mapping[str, Any], user: str, password: str, path: str) -> str:
    place = f"{endpoint['host']}:{endpoint['port']}/{quote(path, safe='')}"
    return f"{endpoint['scheme']}://{quote(user, safe='')}:{quote(password, safe='')}@{place}"


def _metadata(wanted: _Wanted) -> str:
    endpoint = wanted.endpoints["database"]
    return database_url(endpoint, endpoint["user"], wanted.secrets[endpoint["secret"]])


def _results(wanted: _Wanted) -> str:
    endpoint = wanted.endpoints["database"]
    return "db+" + database_url(endpoint, endpoint["results_user"], wanted.secrets[endpoint["results_secret"]])


def _broker(wanted: _Wanted) -> str:
    endpoint = wanted.endpoints["broker"]
    user = next((pool for pool in endpoint["pools"] if pool["name"] == wanted.component["pool"]), endpoint)
    secret = wanted.secrets[user["secret"]] if user["secret"] else ""
    if endpoint["scheme"] == "sqs":
        return sqs_url(user["user"], secret, endpoint["endpoint_url"])
    return broker_url(endpoint, user["user"] or "", secret)


def _log_store(wanted: _Wanted) -> str:
    user = log_store.identity(wanted.endpoints["log_store"], wanted.component["pool"])
    if user is None:
        raise KeyError(f"no log store identity for {wanted.component['name']}")
    return log_store.credentials(user, wanted.secrets[user["secret"]])


def _passwords(wanted: _Wanted) -> str:
    return json.dumps({user["name"]: wanted.secrets[user["secret"]] for user in wanted.component["users"]})


_MAKERS: dict[str, Callable[[_Wanted], str]] = {
    "sql_alchemy_conn": _metadata,
    "result_backend": _results,
    "broker_url": _broker,
    "fernet_key": lambda wanted: wanted.secrets["fernet_key"],
    "jwt_secret": lambda wanted: wanted.secrets["jwt"],
    "secret_key": lambda wanted: wanted.secrets["api"],
    "admin_password": lambda wanted: wanted.secrets["admin"],
    log_store.CREDENTIAL: _log_store,
    teams.PASSWORDS: _passwords,
}
