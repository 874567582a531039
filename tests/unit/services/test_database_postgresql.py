# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What PostgreSQL needs to know, out of the plan."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._services import postgresql


def test_verifier_accepts_the_proof_of_the_rfcs_example() -> None:
    """RFC 7677, section 3: user, password pencil; and the server's signature as the client expects it."""
    server_nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    exchange = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={server_nonce},s={salt},i=4096,c=biws,r={server_nonce}".encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")

    verifier = postgresql.verifier("pencil", base64.b64decode(salt))

    mechanism, parameters, keys = verifier.split("$")
    assert (mechanism, parameters) == ("SCRAM-SHA-256", f"4096:{salt}")
    stored_key, server_key = (base64.b64decode(key) for key in keys.split(":"))
    signature = hmac.new(stored_key, exchange, hashlib.sha256).digest()
    client_key = bytes(left ^ right for left, right in zip(proof, signature))
    assert hashlib.sha256(client_key).digest() == stored_key
    expected = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert hmac.new(server_key, exchange, hashlib.sha256).digest() == expected


def test_salt_is_the_same_each_time_and_another_for_each_user_and_password() -> None:
    made = [postgresql.scram_sha_256(word, user) for user in ("a", "b") for word in ("one", "two", "one")]
    assert made[0] == made[2]
    assert len({each.split("$")[1] for each in made}) == 4


def test_password_that_would_need_normalising_is_refused_unseen() -> None:
    with pytest.raises(ValueError, match="airflow_local") as refusal:
        postgresql.scram_sha_256("gehëim", "airflow_local")
    assert "gehëim" not in str(refusal.value)


def plan(central: int, *pools: tuple[int, int]) -> dict[str, Any]:
    """Central components, one of each; pools of (concurrency, number of workers)."""
    return {
        "components": [
            *({"name": f"c{at}", "pool": None, "replicas": 1} for at in range(central)),
            *({"name": f"worker-{at}", "pool": "p", "replicas": pool[1]} for at, pool in enumerate(pools)),
        ],
        "pools": [
            {"name": str(at), "concurrency": concurrency, "replicas": workers}
            for at, (concurrency, workers) in enumerate(pools)
        ],
    }


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (plan(1), 100),  # 30 + 10
        (plan(3), 100),  # 90 + 10, on the step
        (plan(4), 200),  # 120 + 10
        (plan(4, (16, 2), (4, 1)), 200),  # 120 + 34 + 5 + 10
        (plan(8, (31, 20)), 900),  # 240 + 640 + 10
    ],
)
def test_connections(described: dict[str, Any], expected: int) -> None:
    assert postgresql.connections(described) == expected


def test_what_is_scaled_counts_as_often_as_it_may_be_there() -> None:
    scaling = {"c1": {"least": 1, "most": 2}, "worker-0": {"least": 0, "most": "8"}}
    assert postgresql.connections(plan(4, (16, 2)), scaling) == 300  # 150 + 136 + 10
