# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the database and the broker refuse."""

from __future__ import annotations

import json
import shlex

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform

PYTHON = "/opt/airflow/core/current/bin/python"

QUERY = """
import json, sys
import psycopg2

asked = json.load(sys.stdin)
try:
    connection = psycopg2.connect(**asked["connect"], connect_timeout=10)
    cursor = connection.cursor()
    cursor.execute(asked["query"])
    print(cursor.fetchall())  # Nothing is committed.
except psycopg2.Error as error:
    sys.exit(str(error))
"""


def query(platform: Platform, machine: str, user: str, secret: str, statement: str) -> str:
    """The rows as text, or what the database says instead."""
    database = platform.plan["database"]
    connect = {"host": database["host"], "port": database["port"], "dbname": database["name"], "user": user}
    asked = {"connect": {**connect, "password": platform.secrets[secret]}, "query": statement}
    done = platform.run(machine, shlex.join([PYTHON, "-c", QUERY]), stdin=json.dumps(asked), check=False)
    return done.stdout + done.stderr


@pytest.fixture(name="results")
def user_of_the_results(platform: Platform) -> tuple[str, str, str]:
    """Where the workers' database user connects from, its name and its secret."""
    return platform.workers[0][0], platform.plan["database"]["results_user"], "database_results"


def test_the_results_user_reads_the_results(platform: Platform, results: tuple[str, str, str]) -> None:
    assert query(platform, *results, "SELECT count(*) FROM celery_taskmeta").startswith("[(")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM connection",
        "SELECT * FROM dag_run",
        "SELECT * FROM alembic_version",
        "CREATE TABLE planted (a int)",
        "DROP TABLE celery_taskmeta",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_the_results_user_may_do_nothing_else(
    platform: Platform, results: tuple[str, str, str], statement: str
) -> None:
    answer = query(platform, *results, statement)
    assert "permission denied" in answer or "must be owner" in answer, answer


def test_the_metadata_database_is_closed_to_workers_whatever_the_password(platform: Platform) -> None:
    answer = query(platform, platform.workers[0][0], platform.plan["database"]["user"], "database", "SELECT 1")
    assert "no pg_hba.conf entry" in answer


START_UP = """
import json, socket, struct, sys

asked = json.load(sys.stdin)
words = b"".join(word.encode() + bytes(1) for pair in asked["parameters"].items() for word in pair) + bytes(1)
with socket.create_connection((asked["host"], asked["port"]), timeout=10) as connection:
    connection.sendall(struct.pack("!ii", len(words) + 8, 3 << 16) + words)
    print(connection.recv(4096).decode(errors="replace"))
"""
"""Asks to be let in (PostgreSQL's protocol 3.0, StartupMessage): the answer comes before a password is asked for."""


def test_the_database_is_closed_to_hosts_that_have_no_business_there(platform: Platform) -> None:
    database = platform.plan["database"]
    entitled = {client["name"] for client in database["clients"]}
    strangers = [
        host["name"]
        for host in platform.plan["hosts"]
        if host["name"] not in entitled and database["host"] not in (host["name"], host["address"])
    ]
    if not strangers:
        pytest.skip("needs a host of the platform that is no client of the database")
    for user in (database["user"], database["results_user"]):
        asked = {
            "host": database["host"],
            "port": database["port"],
            "parameters": {"user": user, "database": database["name"]},
        }
        done = platform.run(strangers[0], shlex.join(["python3", "-c", START_UP]), stdin=json.dumps(asked), check=False)
        assert "no pg_hba.conf entry" in done.stdout or "refused" in done.stderr, done


def test_no_guest_is_a_user_of_the_broker(platform: Platform) -> None:
    broker = platform.plan["broker"]
    if broker["provider"] != "rabbitmq":
        pytest.skip(f"needs RabbitMQ on a host of the platform; the broker is {broker['provider']}")
    machine = broker["nodes"][0]["name"]
    listed = json.loads(platform.run(machine, "rabbitmqctl --silent --formatter json list_users").stdout)
    assert {user["user"] for user in listed} == {broker["user"], *(pool["user"] for pool in broker["pools"])}
