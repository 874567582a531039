# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the database should hold, compared with what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_backbone.schema import RESULT_PRIVILEGES, Revisions, SchemaError, migration, privilege_changes


@pytest.fixture(name="scripts")
def migration_scripts(tmp_path: Path) -> Path:
    """One line with a branch that was merged, in each of the ways that such scripts are written."""
    for name, text in {
        "1.py": 'import airflow  # is not imported\nrevision = "aa"\ndown_revision = None\n',
        "2.py": 'revision: str = "bb"\ndown_revision: str | None = "aa"\n',
        "3.py": "from __future__ import annotations\nrevision = 'cc'\ndown_revision = 'aa'\nbranch_labels = call()\n",
        "4.py": 'revision = "dd"\ndown_revision = ("bb", "cc")\n',
        "__init__.py": "",
        "env.py": "x = [revision for revision in ()]\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_revisions_are_read_without_running_the_scripts(scripts: Path) -> None:
    assert Revisions.in_directory(scripts) == Revisions(frozenset({"aa", "bb", "cc", "dd"}), frozenset({"dd"}))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"dd"}, None),
        ({"aa"}, "alembic_version: aa -> dd"),
        ({"bb", "cc"}, "alembic_version: bb, cc -> dd"),
        (set(), "alembic_version: empty -> dd"),
    ],
)
def test_a_migration_is_asked_for(scripts: Path, found: set[str], expected: str | None) -> None:
    assert migration("alembic_version", frozenset(found), Revisions.in_directory(scripts)) == expected


def test_a_database_of_a_newer_airflow_is_left_alone(scripts: Path) -> None:
    with pytest.raises(SchemaError, match=r"is at revision ee \(alembic_version\), which this core does not know"):
        migration("alembic_version", frozenset({"ee"}), Revisions.in_directory(scripts))


@pytest.mark.parametrize(
    ("held", "grants", "revokes"),
    [
        ({"t": ["SELECT"]}, {}, {}),
        ({}, {"t": ["SELECT"]}, {}),
        (
            {"t": ["SELECT", "DELETE"], "other": ["SELECT", "UPDATE"]},
            {},
            {"t": ["DELETE"], "other": ["SELECT", "UPDATE"]},
        ),
        ({"t": ["DELETE"]}, {"t": ["SELECT"]}, {"t": ["DELETE"]}),
    ],
)
def test_privileges_are_exactly_the_wanted_ones(
    held: dict[str, list[str]], grants: dict[str, list[str]], revokes: dict[str, list[str]]
) -> None:
    assert privilege_changes(held, {"t": ["SELECT"]}) == (grants, revokes)


def test_the_results_role_touches_no_table_but_celerys() -> None:
    assert set(RESULT_PRIVILEGES) == {
        "celery_taskmeta",
        "celery_tasksetmeta",
        "task_id_sequence",
        "taskset_id_sequence",
    }
    assert not {"DELETE", "TRUNCATE"} & {right for rights in RESULT_PRIVILEGES.values() for right in rights}
