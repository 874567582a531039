# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Locks and the sources that they lock, for tests."""

from __future__ import annotations

import typing as t

Lock = dict[str, t.Any]
Source = dict[str, t.Any]

COMMIT = "3f9c2ab81d04" + 28 * "5"
OTHER_COMMIT = "88ee11ff2233" + 28 * "6"
TREE = "41c3a0e2b5d9" + 52 * "7"
OTHER_TREE = "0f0f0f0f0f0f" + 52 * "8"
SHA256 = 64 * "9"  # nothing but digits, which YAML would read as a number without quotes

SOURCES: list[Source] = [
    {"name": "ml", "path": "/srv/checkouts/ml", "exclude": []},
    {
        "name": "etl",
        "repository": "https://git.example.com/etl/dags.git",
        "version": "main",
        "subdirectory": "dags",
    },
    {"name": "ops", "archive": "/srv/archives/ops.tar.gz", "sha256": SHA256},
    {"name": "lake", "s3": "s3://example-dags/lake/"},
]


def entry(name: str, **changes: t.Any) -> dict[str, t.Any]:
    """What a lock says of one of SOURCES."""
    origins: dict[str, dict[str, t.Any]] = {
        "ml": {"path": "/srv/checkouts/ml", "commit": None},
        "etl": {"repository": "https://git.example.com/etl/dags.git", "commit": COMMIT},
        "ops": {"archive": "/srv/archives/ops.tar.gz", "commit": None, "sha256": SHA256},
        "lake": {"s3": "s3://example-dags/lake/", "commit": None},
    }
    subdirectory = "dags" if name == "etl" else None
    release = f"{COMMIT[:12]}-{TREE[:16]}" if name == "etl" else TREE[:16]
    return {**origins[name], "subdirectory": subdirectory, "release": release, "tree": TREE, **changes}


def locked(environment: str = "acceptance", **sources: dict[str, t.Any]) -> Lock:
    return {"environment": environment, "sources": sources}


def all_locked(environment: str = "acceptance", **changed: dict[str, t.Any]) -> Lock:
    """A lock of all SOURCES."""
    return locked(environment, **{name: changed.get(name, entry(name)) for name in ("etl", "lake", "ml", "ops")})
