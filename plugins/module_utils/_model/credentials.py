# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The secret values of a component, each under the name of the credential that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from . import log_store

Endpoints = Mapping[str, Any]
Secrets = Mapping[str, str]


def values(component: Mapping[str, Any], endpoints: Endpoints, secrets: Secrets) -> dict[str, str]:
    """Content by name, for each of component["credentials"].

    secrets: the platform's secrets by name. Raises KeyError where one is missing, which the plan makes impossible.
    """
    return {name: _MAKERS[name](component, endpoints, secrets) for name in component["credentials"]}


def database_url(endpoint: Mapping[str, Any], user: str, password: str) -> str:
    """An SQLAlchemy address; the driver is always named, since what a bare one means changes with SQLAlchemy 2.1."""
    place = f"{endpoint['host']}:{endpoint['port']}/{quote(endpoint['name'], safe='')}"
    return f"{endpoint['scheme']}://{quote(user, safe='')}:{quote(password, safe='')}@{place}"


def broker_url(endpoint: Mapping[str, Any], user: str, password: str) -> str:
    """Celery's address of the broker."""
    place = f"{endpoint['host']}:{endpoint['port']}/{quote(endpoint['vhost'], safe='')}"
    return f"{endpoint['scheme']}://{quote(user, safe='')}:{quote(password, safe='')}@{place}"


def _metadata(component: Mapping[str, Any], endpoints: Endpoints, secrets: Secrets) -> str:
    endpoint = endpoints["database"]
    return database_url(endpoint, endpoint["user"], secrets[endpoint["secret"]])


def _results(component: Mapping[str, Any], endpoints: Endpoints, secrets: Secrets) -> str:
    endpoint = endpoints["database"]
    return "db+" + database_url(endpoint, endpoint["results_user"], secrets[endpoint["results_secret"]])


def _broker(component: Mapping[str, Any], endpoints: Endpoints, secrets: Secrets) -> str:
    endpoint = endpoints["broker"]
    pools = {pool["name"]: pool for pool in endpoint["pools"]}
    user = pools.get(component["pool"], endpoint)
    return broker_url(endpoint, user["user"], secrets[user["secret"]])


def _log_store(component: Mapping[str, Any], endpoints: Endpoints, secrets: Secrets) -> str:
    user = log_store.identity(endpoints["log_store"], component["pool"])
    if user is None:
        raise KeyError(f"no log store identity for {component['name']}")
    return log_store.credentials(user, secrets[user["secret"]])


def _of(name: str) -> Callable[[Mapping[str, Any], Endpoints, Secrets], str]:
    return lambda component, endpoints, secrets: secrets[name]


_MAKERS: dict[str, Callable[[Mapping[str, Any], Endpoints, Secrets], str]] = {
    "sql_alchemy_conn": _metadata,
    "result_backend": _results,
    "broker_url": _broker,
    "fernet_key": _of("fernet_key"),
    "jwt_secret": _of("jwt"),
    "secret_key": _of("api"),
    log_store.CREDENTIAL: _log_store,
}
