# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What PostgreSQL needs to know, out of the plan."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

ITERATIONS = 4096
"""PostgreSQL's own number (scram_iterations)."""
SALT_BYTES = 16
"""PostgreSQL's own length (SCRAM_DEFAULT_SALT_LEN)."""

POOL = 15
"""Connections that SQLAlchemy opens at most by Airflow's defaults: sql_alchemy_pool_size 5, sql_alchemy_max_overflow 10."""
POOLS = 2
"""A component has one pool for its synchronous code and one for its asynchronous code."""
RESERVE = 10
"""For people and for maintenance."""
STEP = 100
"""max_connections moves in steps, since each change of it restarts the database."""


def scram_sha_256(password: str, user: str) -> str:
    """The verifier of a password, as PostgreSQL stores it: so that the password itself never reaches the database's host.

    The salt is derived from user and password instead of chance, so that the same secret always gives the same verifier
    and a second run changes nothing. It costs as many iterations as the verifier does, so that it is no shorter way to
    the password. Raises ValueError where the password is not ASCII: others would have to be normalised first (RFC 4013).
    """
    if not password.isascii():
        raise ValueError(f"the password of the database role {user} holds characters that are not ASCII")
    own = f"postgresql salt of {user}".encode()
    return verifier(password, hashlib.pbkdf2_hmac("sha256", password.encode(), own, ITERATIONS)[:SALT_BYTES])


def verifier(password: str, salt: bytes) -> str:
    """The verifier of an ASCII password with the given salt (RFC 5802 and 7677), as pg_authid.rolpassword holds it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def connections(plan: Mapping[str, Any], scaling: Mapping[str, Mapping[str, Any]] | None = None) -> int:
    """How many connections the platform may open, rounded up: PostgreSQL's max_connections.

    A central component takes its pools; a worker takes one for each task that it runs, and one itself, for Celery's
    results. scaling: what has most of its processes at times ({"most": 8}), by a component's name.
    """

    def most(name: str, counted: Mapping[str, Any]) -> int:
        return max(counted["replicas"], int((scaling or {}).get(name, {}).get("most", 0)))

    central = sum(most(each["name"], each) for each in plan["components"] if each["pool"] is None)
    slots = sum((pool["concurrency"] + 1) * most(f"worker-{pool['name']}", pool) for pool in plan["pools"])
    needed = central * POOL * POOLS + slots + RESERVE
    return -(-needed // STEP) * STEP
