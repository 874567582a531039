# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a task of one team reaches of another's, with nothing but what any task has: docs/isolation.md, tried (intruder.py)."""

from __future__ import annotations

import json
import pathlib
import typing as t
import uuid

import pytest

from ansible_collections.airstack.backbone.tests.integration import deployed
from ansible_collections.airstack.backbone.tests.integration.deployed import Airflow, Platform, wait_for

pytestmark = pytest.mark.disturbs

INTRUDER = pathlib.Path(__file__).with_name("intruder.py").read_text(encoding="utf-8")
CONNECTION = f"of-another-team-{uuid.uuid4()}"
PASSWORD = "given-to-whoever-asks"

Ended = dict[str, dict[str, t.Any]]


@pytest.fixture(name="other", scope="module")
def what_another_team_has(platform: Platform) -> dict[str, t.Any]:
    """Of a pool that shares nothing with the first source's."""
    plan = platform.plan
    mine = set(plan["sources"][0]["pools"])
    pool = next((each for each in plan["pools"] if each["name"] not in mine), None)
    if pool is None:
        pytest.skip("needs a pool that does not run the first source")
    source = pool["sources"][0]
    database = plan["database"]
    return {
        "files": f"{plan['dag_storage']['path']}/{source}",
        "queue": pool["queues"][0],
        "connection": CONNECTION,
        "database": {
            "host": database["host"],
            "port": database["port"],
            "dbname": database["name"],
            "user": database["user"],
        },
        "bucket": plan["log_store"]["bucket"],
        "logs": f"{plan['log_store']['prefix']}/queue={pool['queues'][0]}/",
    }


@pytest.fixture(name="told", scope="module")
def how_each_attempt_ended(
    platform: Platform, airflow: Airflow, other: dict[str, t.Any], tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    source, folder = platform.plan["sources"][0], tmp_path_factory.mktemp("source")
    airflow.ask("POST", "connections", {"connection_id": CONNECTION, "conn_type": "generic", "password": PASSWORD})
    try:
        with deployed.further_dags(platform, folder, {source["name"]: {"intruder": INTRUDER}}):
            assert wait_for(lambda: airflow.knows("intruder"), 600)
            run = airflow.trigger("intruder", conf={"other": other})
            assert airflow.ended(run, 900) == "success", airflow.log(airflow.tasks(run)[0])
            told: Ended = json.loads(airflow.returned(run, "reach"))
            return told
    finally:
        airflow.ask("DELETE", f"connections/{CONNECTION}")


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        ("files", "No such file or directory"),
        ("files_of_the_host", "Permission denied"),
        ("metadata_through_airflow", "not allowed"),
        ("metadata_with_its_own_credential", "permission denied for table connection"),
        ("metadata_as_its_owner", "no pg_hba.conf entry"),
    ],
)
def test_a_task_is_refused(told: Ended, attempt: str, words: str) -> None:
    assert words in told[attempt].get("refused", ""), told[attempt]


@pytest.mark.parametrize("attempt", ["take", "put"])
def test_a_task_is_refused_by_the_broker(platform: Platform, told: Ended, attempt: str) -> None:
    if platform.plan["broker"]["kind"] != "amqp":
        pytest.skip(f"needs RabbitMQ; the broker is {platform.plan['broker']['provider']}")
    assert "ACCESS_REFUSED" in told[attempt].get("refused", ""), told[attempt]


def test_a_task_has_no_key_but_its_workers(told: Ended) -> None:
    assert told["keys_of_airflow"] == {"got": []}


def test_a_task_is_given_whatever_connection_it_names(told: Ended) -> None:
    """Airflow knows no owner of a connection; docs/isolation.md says what to do."""
    assert told["connection_of_others"] == {"got": PASSWORD}


def test_a_bucket_of_swift_has_no_wall_by_prefix(platform: Platform, told: Ended) -> None:
    """Where the store has rights by prefix, they are what log_store_policies says."""
    if platform.plan["log_store"]["object_store"] is None:
        pytest.skip("needs the platform's own object store; elsewhere its policies decide")
    assert (told["read_logs"], told["write_logs"]) == ({"got": "listed"}, {"got": "written"})
