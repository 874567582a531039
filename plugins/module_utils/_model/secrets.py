# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which secrets a platform needs, and how one is made where none was given. The values never enter the plan."""

from __future__ import annotations

import base64
import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import brokers
from .dag_sources import Source
from .fields import CONTROL

JWT_BYTES = 64
"""HS512, which Airflow signs with, wants a key as long as its hash (RFC 7518, section 3.2)."""

FERNET_BYTES = 32
"""The length that the Fernet specification gives its keys."""

_PRIVATE_KEY = re.compile(r"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\x21-\x7e]+-----END [A-Z ]*PRIVATE KEY-----\s*")

PASSWORD_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits


def _password() -> str:
    return "".join(secrets.choice(_ALPHABET) for _index in range(PASSWORD_LENGTH))


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(FERNET_BYTES)).decode()


def _key() -> str:
    return secrets.token_urlsafe(JWT_BYTES)


MAKERS: dict[str, Callable[[], str]] = {"password": _password, "fernet_key": _fernet_key, "key": _key}
"""How a secret of each kind is made."""

GIVEN = ("given", "ssh_key", "tls_key")
"""The kinds of secrets that belong to somebody else, and cannot be made here."""


def flaw(kind: str, value: Any) -> str | None:
    """What is wrong with a secret that was given, in words that do not show it; None where nothing is.

    A Fernet key may be several, the newest first and with commas between them, as Airflow rotates them.
    """
    if not isinstance(value, str):
        return f"it is no text but {type(value).__name__}: put it in quotes"
    if not value:
        return "it is empty"
    if kind in ("ssh_key", "tls_key"):
        return (
            None if _PRIVATE_KEY.fullmatch(value) else "it is no private key: lines from -----BEGIN ... to -----END ..."
        )
    if CONTROL.search(value) or value != value.strip():
        return "it has a line break, a control character or white space at an end"
    if kind == "fernet_key" and not all(_is_fernet_key(key) for key in value.split(",")):
        return "it is no Fernet key: 32 bytes in URL-safe base64, as cryptography's Fernet.generate_key() makes it"
    if kind == "key" and len(value.encode()) < JWT_BYTES:
        return f"it is shorter than {JWT_BYTES} bytes, which its signatures need"
    return None


def _is_fernet_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == FERNET_BYTES
    except ValueError:
        return False


def needed(
    sources: Iterable[Source],
    database: Mapping[str, Any],
    broker: Mapping[str, Any],
    log_store: Mapping[str, Any],
    users: Iterable[Mapping[str, Any]],
) -> list[dict[str, str]]:
    """The secrets of a platform: name (the variable is airflow_secret_<name>), kind (one of MAKERS or GIVEN), purpose.

    database, broker, log_store: the plan's; the broker with its pools, the log store with its identities and its object store.
    users: of the API, with the names of their passwords; the admin, who is in no team, has one in any case.
    """
    kept = "given" if database["provider"] == "external" else "password"
    listed = [
        ("database", kept, "the database role that owns Airflow's metadata"),
        ("database_results", kept, "the database role that keeps Celery's results"),
        ("fernet_key", "fernet_key", "encrypts connections and variables in the metadata database"),
        ("jwt", "key", "signs the tokens of the execution API and the REST API"),
        ("api", "key", "signs the UI's sessions and the requests for logs that are still on a worker"),
        ("admin", "password", "the first user of the UI"),
        *_of_broker(broker),
        *((user["secret"], "password", f"the user {user['name']} of the UI") for user in users if user["teams"]),
    ]
    for source in sources:
        if source.secret:
            kind = "ssh_key" if source.secret_option == "ssh_key" else "given"
            listed.append((source.secret, kind, f"the {source.secret_option} of the DAG source {source.name}"))
    for identity in log_store["identities"]:
        kind = "given" if identity["given"] else "password"
        listed.append((identity["secret"], kind, f"the log store identity {identity['name']}"))
    if log_store["object_store"]:
        admin = log_store["object_store"]["admin"]
        listed.append((admin["secret"], "password", "the object store's administrator, who makes the bucket"))
    return [{"name": name, "kind": kind, "purpose": purpose} for name, kind, purpose in listed]


def _of_broker(broker: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Those of the broker's users: made here where the users are, and given where they are somebody else's."""
    kind = "password" if broker["provider"] in brokers.OWN else "given"
    users = {broker["secret"]: "the broker user of the scheduler"}
    for pool in broker["pools"]:
        users.setdefault(pool["secret"], f"the broker user of the pool {pool['name']}")
    if "operator_secret" in broker:
        users[broker["operator_secret"]] = "the broker's own users: the operator, the replicas and the Sentinels"
    listed = [(secret, kind, purpose) for secret, purpose in users.items() if secret]
    if cluster := broker.get("cluster"):
        listed.append((cluster["secret"], "password", "the cookie with which the broker's nodes know each other"))
    if tls := broker.get("tls"):
        listed.append((tls["secret"], "tls_key", "the private key of the broker's certificate"))
    return listed
