# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The set-up of the database together with Airflow itself, in a schema of its own: run by the core's own Python.

    <core>/bin/python setup_probe.py URL_FILE [RESULTS_ROLE]

URL_FILE holds the sql_alchemy_conn of a PostgreSQL database, whose user may make a schema there and removes it in the end.
It needs no platform, and touches none. On a platform, test_core.py runs it.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import typing as t
import unittest
from pathlib import Path

import psycopg2
from cryptography.fernet import Fernet

PLACE = Path(tempfile.mkdtemp(prefix="setup-probe-"))
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)
SCHEMA = f"setup_probe_{os.getpid()}"
URL_FILE = PLACE / "url"
GIVEN = Path(sys.argv[1]).read_text(encoding="utf-8").strip()
ROLE = ["--results-role", sys.argv[2]] if len(sys.argv) > 2 else []

TEAMS = ["etl", "machines"]
NAMED = [word for team in TEAMS for word in ("--team", team)]
BUNDLES = [
    {
        "name": team,
        "classpath": "airflow_backbone.bundle.ReleaseDagBundle",
        "kwargs": {"storage": str(PLACE)},
        "team_name": team,
    }
    for team in TEAMS
]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
    "AIRFLOW_HOME": str(PLACE / "home"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__MULTI_TEAM": "True",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(BUNDLES),
}


class Ended(t.NamedTuple):
    """How a run ended: code, what its changes are about, the report as it is, and what it wrote besides."""

    code: int
    whats: set[str]
    report: dict[str, t.Any]
    errors: str


def setup(*arguments: str, **environment: str) -> Ended:
    command = [sys.executable, "-m", "airflow_backbone.setup", "--database-url-file", str(URL_FILE), *arguments]
    done = subprocess.run(
        command, env={**ENVIRONMENT, **environment}, cwd=PLACE, capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout) if done.stdout else {}
    return Ended(done.returncode, {change["what"] for change in report.get("changes", ())}, report, done.stderr)


def execute(statement: str) -> list[t.Any]:
    """The first column of what a statement answers, in the schema."""
    connection = psycopg2.connect(GIVEN.replace("postgresql+psycopg2://", "postgresql://", 1))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {SCHEMA}")
            cursor.execute(statement)
            return [row[0] for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


class TestSetup(unittest.TestCase):
    """Begins with an empty schema, which is set up once."""

    empty: t.ClassVar[Ended]
    nothing: t.ClassVar[list[str]]
    first: t.ClassVar[Ended]

    @classmethod
    def setUpClass(cls) -> None:
        sign = "&" if "?" in GIVEN else "?"
        URL_FILE.touch(mode=0o600)
        URL_FILE.write_text(f"{GIVEN}{sign}options=-csearch_path%3D{SCHEMA}", encoding="utf-8")
        execute(f"CREATE SCHEMA {SCHEMA}")
        cls.addClassCleanup(execute, f"DROP SCHEMA {SCHEMA} CASCADE")
        cls.empty = setup(*ROLE, *NAMED, "--check")
        cls.nothing = execute(f"SELECT relname FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace")
        cls.first = setup(*ROLE, *NAMED)

    def test_an_empty_database_gets_all_and_its_teams_last(self) -> None:
        assert (self.empty.code, self.first.code) == (3, 0), self.first.errors
        assert self.nothing == []
        assert self.first.report == self.empty.report
        assert {"schema", "teams"} <= self.first.whats
        assert self.first.report["changes"][-1] == {"what": "teams", "detail": "create etl, machines"}
        assert set(execute("SELECT name FROM team")) >= set(TEAMS)

    def test_a_second_time_there_is_nothing_to_do(self) -> None:
        again = setup(*ROLE, *NAMED)
        assert (again.code, again.report) == (0, {"changed": False, "changes": []}), again.errors

    def test_what_is_missing_is_made_or_said_and_what_nobody_names_stays(self) -> None:
        execute("INSERT INTO team (name) VALUES ('former')")
        execute("DELETE FROM team WHERE name = 'etl'")
        told = setup(*NAMED, "--team", "stranger")
        assert (told.code, told.report) == (1, {})
        assert "Still to be done after the set-up: create stranger" in told.errors
        assert set(execute("SELECT name FROM team")) == {*TEAMS, "former"}

    def test_a_key_of_another_platform_is_refused_and_one_behind_it_is_not(self) -> None:
        ours, other = (Fernet.generate_key().decode() for _key in range(2))
        execute(
            "INSERT INTO connection (conn_id, conn_type, is_encrypted, is_extra_encrypted, password)"
            f" VALUES ('probe', 'http', true, false, '{Fernet(ours).encrypt(b'p').decode()}')"
        )
        self.addCleanup(execute, "DELETE FROM connection WHERE conn_id = 'probe'")
        file = PLACE / "fernet_key"
        file.touch(mode=0o600)
        said = {}
        for key in (ours, f"{other},{ours}", other, "no key"):
            file.write_text(key, encoding="utf-8")
            said[key] = setup(*NAMED, "--check", "--fernet-key-file", str(file))
        assert [said[key].code for key in said] == [said[ours].code, said[ours].code, 1, 1]
        assert said[ours].code in (0, 3), said[ours].errors
        assert "encrypted with another Fernet key" in said[other].errors
        assert "is no Fernet key" in said["no key"].errors
        assert not any(key in ended.errors for key in (ours, other) for ended in said.values())

    def test_what_airflow_says_of_bundles_that_are_wrong_is_shown(self) -> None:
        wrong = json.dumps([{**BUNDLES[0], "team_name": 5}])
        told = setup("--team", "stranger", AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=wrong)
        assert (told.code, told.report) == (1, {})
        assert "`airflow teams sync` ended with 1" in told.errors
        assert "dag_bundle_config_list" in told.errors


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "--verbose"])
