# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the database should hold, without importing Airflow or connecting to anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

RESULT_TABLES = ("celery_taskmeta", "celery_tasksetmeta")
RESULT_SEQUENCES = ("task_id_sequence", "taskset_id_sequence")
"""Celery's names for them (celery.backends.database.models)."""

RESULT_PRIVILEGES: Mapping[str, frozenset[str]] = {
    **{table: frozenset({"SELECT", "INSERT", "UPDATE"}) for table in RESULT_TABLES},
    **{sequence: frozenset({"USAGE"}) for sequence in RESULT_SEQUENCES},
}
"""All that a worker's and the scheduler's result backend do."""


class SchemaError(Exception):
    """The database and this core do not go together."""


@dataclass(frozen=True)
class Revisions:
    """One line of migrations, as a directory of Alembic's scripts describes it."""

    known: frozenset[str]
    heads: frozenset[str]

    @classmethod
    def in_directory(cls, directory: Path) -> Revisions:
        """Read the scripts' ``revision`` and ``down_revision`` without executing them: they import all of Airflow."""
        known: set[str] = set()
        before: set[str] = set()
        for script in directory.glob("*.py"):
            assigned = _constants(script)
            revision = assigned.get("revision")
            if isinstance(revision, str):
                known.add(revision)
                down = assigned.get("down_revision")
                before.update(map(str, down) if isinstance(down, tuple) else {str(down)} - {"None"})
        return cls(frozenset(known), frozenset(known - before))


def version_tables() -> dict[str, Path]:
    """Return Alembic's version tables and the directories with their scripts: Airflow's and the FAB provider's."""
    spec = find_spec("airflow")
    if spec is None or spec.origin is None:
        raise SchemaError("Airflow is not installed in this Python environment.")
    root = Path(spec.origin).parent
    return {
        "alembic_version": root / "migrations" / "versions",
        "alembic_version_fab": root / "providers" / "fab" / "migrations" / "versions",
    }


def migration(table: str, found: frozenset[str], wanted: Revisions) -> str | None:
    """Say what migration a version table asks for, or None.

    :raises SchemaError: the database is at a revision that this core does not know
    """
    unknown = found - wanted.known
    if unknown:
        raise SchemaError(
            f"The database is at revision {', '.join(sorted(unknown))} ({table}), which this core does not know: a newer "
            f"Airflow migrated it. Deploy that version again, or downgrade the database with the newer core first."
        )
    if found == wanted.heads:
        return None
    return f"{table}: {', '.join(sorted(found)) or 'empty'} -> {', '.join(sorted(wanted.heads))}"


def privilege_changes(
    held: Mapping[str, Iterable[str]], wanted: Mapping[str, Iterable[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Compare privileges by object.

    :return: object -> privileges to grant, and object -> privileges to revoke; objects without any are left out
    """

    def missing(have: Mapping[str, Iterable[str]], need: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        lacking = {name: sorted(set(need[name]) - set(have.get(name, ()))) for name in sorted(need)}
        return {name: privileges for name, privileges in lacking.items() if privileges}

    return missing(held, wanted), missing(wanted, held)


def _constants(script: Path) -> dict[str, object]:
    """Return the module-level names of a script that are assigned a literal."""
    found: dict[str, object] = {}
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(value)
                except ValueError:
                    continue
    return found
