# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL of its own, with the roles and the database that airflow_database makes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._services import postgresql
from ansible_collections.airstack.backbone.tests.unit import needs

OWNER = "postgres"
"""The user of Debian's package: the server does not run as root."""


@contextmanager
def running(database: Mapping[str, Any], secrets: Mapping[str, str]) -> Iterator[None]:
    """A server at the host and port of a plan's database, for as long as it is needed. It lets in whoever has a password."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.chown(folder, OWNER)
        _run("initdb", "--pgdata", folder / "data", "--auth-local", "peer", "--auth-host", "scram-sha-256")
        with (folder / "data" / "pg_hba.conf").open("a", encoding="utf-8") as access:
            access.write("host all all all scram-sha-256\n")
        place = f"-h {database['host']} -p {database['port']} -k {folder}"
        control = ("pg_ctl", "--pgdata", folder / "data", "--log", folder / "log", "--wait")
        _run(*control, "--options", place, "start")
        try:
            for statement in _statements(database, secrets):
                _run("psql", "--host", folder, "--port", database["port"], "--quiet", "--command", statement)
            yield
        finally:
            _run(*control, "--mode", "immediate", "stop")


def _statements(database: Mapping[str, Any], secrets: Mapping[str, str]) -> Iterator[str]:
    for user, secret in ((database["user"], "database"), (database["results_user"], "database_results")):
        verifier = postgresql.scram_sha_256(secrets[secret], user)
        yield f"CREATE ROLE {user} LOGIN PASSWORD '{verifier}'"
    yield f"CREATE DATABASE {database['name']} OWNER {database['user']} ENCODING 'UTF8' TEMPLATE template0"
    yield f"REVOKE CONNECT, TEMPORARY ON DATABASE {database['name']} FROM PUBLIC"
    yield f"GRANT CONNECT ON DATABASE {database['name']} TO {database['results_user']}"


def _run(program: str, *words: object) -> None:
    assert needs.POSTGRESQL is not None
    command = ["runuser", "--user", OWNER, "--", str(needs.POSTGRESQL / program), *map(str, words)]
    # Not a pipe, which the server would keep open.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(command, cwd="/", check=False, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        said.seek(0)
        assert done.returncode == 0, said.read()
