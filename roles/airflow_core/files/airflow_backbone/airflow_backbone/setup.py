# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings the metadata database to where this core wants it: ``python -m airflow_backbone.setup``.

In this order, each only where something is to be done:

- ``schema``: Airflow's and the FAB provider's migrations;
- ``result_tables``: Celery's tables and sequences, owned by Airflow's database role;
- ``result_rights``: exactly what the result backend's role needs, on those alone;
- ``admin``: the admin user, and its password;
- ``teams``: Airflow's own teams (``airflow teams sync``), which a scheduler and a DAG processor that are told of them want
  to find at their start. Those that are there already stay.

Before any of it, a Fernet key that reads nothing of what the database holds encrypted is refused (``--fernet-key-file``).

Prints one line of JSON: ``{"changed": true, "changes": [{"what": "schema", "detail": "..."}]}``. With ``--check``,
``changes`` is what would be done, and nothing is touched.

Exit codes: 0 done, or nothing to do; 3 with ``--check``, something is to be done; 1 failed, with the reason on stderr;
2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql

from airflow_backbone.schema import (
    RESULT_PRIVILEGES,
    RESULT_SEQUENCES,
    RESULT_TABLES,
    Revisions,
    SchemaError,
    migration,
    privilege_changes,
    version_tables,
)

# Neither Airflow nor SQLAlchemy is imported at the top: the check would take seconds instead of tenths.

FAB_AUTH_MANAGER = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SCHEMES = ("postgresql://", "postgresql+psycopg2://")
PENDING = 3
OLDEST = 150000
"""Release of PostgreSQL, as libpq counts: the schema public is nobody's from there on."""

ENCRYPTED = (
    ("connection", "password", "is_encrypted"),
    ("connection", "extra", "is_extra_encrypted"),
    ("variable", "val", "is_encrypted"),
)
"""What Airflow encrypts: table, column, and the column that says so."""

SAMPLES = 20
"""How many values of each are tried: a few may be older than a key that was rotated away."""


class Change(NamedTuple):
    what: str
    detail: str


class Admin(NamedTuple):
    name: str
    email: str
    password: str


class Database:
    """The metadata database as it is."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self.connection = connection
        self.relations = set(
            self._column(
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'S')"
            )
        )

    def _rows(self, statement: str | sql.Composed, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def _column(self, statement: str | sql.Composed, **parameters: Any) -> list[Any]:
        return [row[0] for row in self._rows(statement, **parameters)]

    def schema_changes(self) -> Iterator[Change]:
        for table, scripts in version_tables().items():
            select = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(table))
            found = self._column(select) if table in self.relations else []
            detail = migration(table, frozenset(found), Revisions.in_directory(scripts))
            if detail:
                yield Change("schema", detail)

    def result_table_changes(self) -> Iterator[Change]:
        missing = [name for name in (*RESULT_TABLES, *RESULT_SEQUENCES) if name not in self.relations]
        if missing:
            yield Change("result_tables", f"create {', '.join(missing)}")

    def right_statements(self, role: str) -> list[str]:
        """Return the GRANT and REVOKE statements that leave the role with what it needs and no more.

        :raises SchemaError: there is no such role
        """
        if not self._column("SELECT 1 FROM pg_roles WHERE rolname = %(role)s", role=role):
            raise SchemaError(f"The database role '{role}' for Celery's results does not exist; create it first.")
        if self._column("SELECT current_user = %(role)s", role=role)[0]:
            return []
        [(database, schema, connects, uses)] = self._rows(
            "SELECT current_database(), current_schema(), has_database_privilege(%(role)s, current_database(), 'CONNECT'),"
            " has_schema_privilege(%(role)s, current_schema(), 'USAGE')",
            role=role,
        )
        held: dict[str, set[str]] = {}
        for name, privilege in self._rows(
            "SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a"
            " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'S', 'v', 'm', 'p')"
            " AND a.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)",
            role=role,
        ):
            held.setdefault(name, set()).add(privilege)
        grants, revokes = privilege_changes(held, RESULT_PRIVILEGES)
        statements = [
            *([] if connects else [("GRANT CONNECT ON DATABASE {} TO {}", database)]),
            *([] if uses else [("GRANT USAGE ON SCHEMA {} TO {}", schema)]),
            *((f"GRANT {', '.join(rights)} ON {_kind(name)} {{}} TO {{}}", name) for name, rights in grants.items()),
            *(
                (f"REVOKE {', '.join(rights)} ON {_kind(name)} {{}} FROM {{}}", name)
                for name, rights in revokes.items()
            ),
        ]
        return [
            sql.SQL(template).format(sql.Identifier(name), sql.Identifier(role)).as_string(self.connection)
            for template, name in statements
        ]

    def execute(self, statements: list[str]) -> None:
        with self.connection, self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def admin_changes(self, admin: Admin) -> Iterator[Change]:
        select = "SELECT password FROM ab_user WHERE lower(username) = lower(%(name)s)"
        hashes = self._column(select, name=admin.name) if "ab_user" in self.relations else []
        if not hashes:
            yield Change("admin", f"create user {admin.name}")
        elif not _password_matches(hashes[0], admin.password):
            yield Change("admin", f"set the password of user {admin.name}")

    def team_changes(self, teams: Sequence[str]) -> Iterator[Change]:
        found = self._column("SELECT name FROM team") if "team" in self.relations else []
        missing = [team for team in teams if team not in found]
        if missing:
            yield Change("teams", f"create {', '.join(missing)}")

    def encrypted(self) -> Iterator[bytes]:
        """Some of the values that Airflow encrypted."""
        for table, column, flag in ENCRYPTED:
            if table in self.relations:
                select = "SELECT {} FROM {} WHERE {} AND {} <> '' LIMIT %(samples)s"
                names = (sql.Identifier(name) for name in (column, table, flag, column))
                for value in self._column(sql.SQL(select).format(*names), samples=SAMPLES):
                    yield value.encode()

    def changes(self, results_role: str | None, admin: Admin | None, teams: Sequence[str]) -> list[Change]:
        """Return all that is to be done."""
        changes = [*self.schema_changes()]
        if results_role:
            changes += self.result_table_changes()
            changes += [Change("result_rights", statement) for statement in self.right_statements(results_role)]
        if admin:
            changes += self.admin_changes(admin)
        return [*changes, *self.team_changes(teams)]


def _kind(relation: str) -> str:
    return "SEQUENCE" if relation in RESULT_SEQUENCES else "TABLE"


def refuse_stranger(key: str, values: Sequence[bytes]) -> None:
    """See that a key, or the several of a rotation with commas between them, reads what is encrypted.

    :raises SchemaError: it reads none of the values, or is no key
    """
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet

    try:
        fernet = MultiFernet([Fernet(each) for each in key.split(",")])
    except ValueError:
        raise SchemaError("airflow_secret_fernet_key is no Fernet key: 32 bytes in URL-safe base64.") from None
    for value in values:
        with suppress(InvalidToken):
            fernet.decrypt(value)
            return
    if values:
        raise SchemaError(
            "This database was encrypted with another Fernet key than airflow_secret_fernet_key: no connection and no"
            " variable could be read again. Bring the secrets of this platform, or put its key behind the new one, with a"
            " comma between them."
        )


def _password_matches(stored: str | None, password: str) -> bool:
    from werkzeug.security import check_password_hash

    return stored is not None and check_password_hash(stored, password)


def migrate() -> None:
    """Run every migration that Airflow and its providers have."""
    from airflow.providers_manager import ProvidersManager
    from airflow.utils.db import upgradedb

    ProvidersManager().initialize_providers_configuration()
    upgradedb()


def create_result_tables(url: str) -> None:
    """Make Celery's tables and sequences from Celery's own models."""
    from celery.backends.database.models import ResultModelBase
    from sqlalchemy import NullPool, create_engine

    ResultModelBase.metadata.create_all(create_engine(url, poolclass=NullPool))


def ensure_admin(admin: Admin) -> None:
    """Make the admin user, or set its password, through FAB's own security manager."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        security = builder.sm
        user = security.find_user(username=admin.name)
        if user is not None:
            done = security.reset_password(user.id, admin.password)
        else:
            role = security.find_role("Admin") or security.add_role("Admin")
            done = security.add_user(admin.name, "Airflow", "Admin", admin.email, role, admin.password)
        if not done:
            raise SchemaError(f"FAB would not create or change the user '{admin.name}'; its log says why.")


def sync_teams() -> None:
    """Have Airflow make the teams that its bundles have, and that are not there.

    :raises SchemaError: it would not
    """
    done = subprocess.run([sys.executable, "-m", "airflow", "teams", "sync"], check=False)
    if done.returncode:
        raise SchemaError(f"`airflow teams sync` ended with {done.returncode}; what it wrote above says why.")


def apply(url: str, pending: list[Change], results_role: str | None, admin: Admin | None) -> None:
    """Do what is pending, in the documented order."""
    wanted = {change.what for change in pending}
    if "schema" in wanted:
        migrate()
    if "result_tables" in wanted:
        create_result_tables(url)
    if results_role:
        with connected(url) as database:
            database.execute(database.right_statements(results_role))
    if admin and "admin" in wanted:
        ensure_admin(admin)
    if "teams" in wanted:
        sync_teams()


@contextmanager
def connected(url: str) -> Iterator[Database]:
    """Yield the database behind Airflow's ``sql_alchemy_conn``.

    :raises SchemaError: it is not a PostgreSQL URL, nothing answers there, or it is too old
    """
    scheme = next((scheme for scheme in SCHEMES if url.startswith(scheme)), None)
    if scheme is None:
        raise SchemaError(f"The metadata database's URL must begin with {' or '.join(SCHEMES)}.")
    try:
        connection = psycopg2.connect(f"postgresql://{url.removeprefix(scheme)}", connect_timeout=10)
    except psycopg2.Error as error:
        raise SchemaError(f"The metadata database does not answer: {str(error).strip()}") from None
    with closing(connection):
        if connection.server_version < OLDEST:
            raise SchemaError(
                f"The metadata database is PostgreSQL {connection.server_version // 10000}; {OLDEST // 10000} or newer is"
                " needed: in an older one whoever connects may create tables beside Airflow's own."
            )
        yield Database(connection)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what Airflow's own code writes to stdout to stderr: this module's stdout is one line of JSON."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise SchemaError(f"{path}: {error.strerror}.") from None


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m airflow_backbone.setup", description=__doc__.splitlines()[0])
    parser.add_argument("--database-url-file", type=Path, required=True, help="file with Airflow's sql_alchemy_conn")
    parser.add_argument("--fernet-key-file", type=Path, help="file with the key of what is encrypted in it")
    parser.add_argument("--results-role", help="database role of Celery's result backend")
    parser.add_argument("--admin-user", help="user of the FAB auth manager that is to exist with role Admin")
    parser.add_argument("--admin-email", help="its e-mail address (default: <user>@localhost)")
    parser.add_argument("--admin-password-file", type=Path, help="file with its password")
    parser.add_argument("--team", action="append", default=[], help="a team of the DAG bundles that is to exist")
    parser.add_argument("--check", action="store_true", help="only say what would be done (exit code 3 if anything)")
    parsed = parser.parse_args(arguments)
    if bool(parsed.admin_user) != bool(parsed.admin_password_file):
        parser.error("--admin-user and --admin-password-file go together")
    return parsed


def point_airflow_at(database_url_file: Path) -> None:
    """Set what Airflow's own code reads, before it is imported.

    By the file's name: no environment shows the secret. By sed: Airflow takes a command's output as it is, and a
    trailing newline would become part of the database's name.
    """
    command = shlex.join(["sed", "-z", r"s/\n*$//", str(database_url_file)])
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"] = command
    os.environ["AIRFLOW__CORE__AUTH_MANAGER"] = FAB_AUTH_MANAGER


def find(url: str, results_role: str | None, admin: Admin | None, teams: Sequence[str]) -> list[Change]:
    with connected(url) as database:
        return database.changes(results_role, admin, teams)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        url = read_secret(options.database_url_file)
        admin = None
        if options.admin_user:
            email = options.admin_email or f"{options.admin_user}@localhost"
            admin = Admin(options.admin_user, email, read_secret(options.admin_password_file))
        if options.fernet_key_file:
            with connected(url) as database:
                refuse_stranger(read_secret(options.fernet_key_file), [*database.encrypted()])
        point_airflow_at(options.database_url_file)
        pending = find(url, options.results_role, admin, options.team)
        if pending and not options.check:
            with stdout_to_stderr():
                apply(url, pending, options.results_role, admin)
            left = find(url, options.results_role, admin, options.team)
            if left:
                raise SchemaError(f"Still to be done after the set-up: {'; '.join(change.detail for change in left)}")
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    changes = [change._asdict() for change in pending]
    print(json.dumps({"changed": bool(changes), "changes": changes}))
    return PENDING if options.check and pending else 0


if __name__ == "__main__":
    sys.exit(main())
