# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the doctor sees of a broker in SQS, for which moto's server stands."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed here")
pytest.importorskip("moto.server", reason="moto's server, which stands for AWS, is not installed here")

from ansible_collections.airstack.backbone.plugins.module_utils import _health
from ansible_collections.airstack.backbone.plugins.module_utils._services import sqs
from ansible_collections.airstack.backbone.plugins.modules import health_info
from ansible_collections.airstack.backbone.tests.unit.services import aws
from ansible_collections.airstack.backbone.tests.unit.services.aws import Aws
from ansible_collections.airstack.backbone.tests.unit.services.sqs_plans import planned


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with aws.running() as found:
        yield found


@pytest.fixture
def plan(server: Aws) -> Iterator[dict[str, Any]]:
    """Its queues are there as planned, and the scheduler has just its rights."""
    made = planned(airflow_broker_endpoint_url=server.url, airflow_broker_users={"core": "AKIACORE"})
    client = server.client("sqs")
    for queue in sqs.queues(made):
        attributes = {"MessageRetentionPeriod": str(queue["message_retention_period"])}
        if "redrive_policy" in queue:
            attributes["RedrivePolicy"] = json.dumps(queue["redrive_policy"])
            attributes["VisibilityTimeout"] = str(queue["visibility_timeout"])
        client.create_queue(QueueName=queue["name"], Attributes=attributes)
    server.policies = {"AKIACORE": sqs.policies(made)[0]["policy"]}
    yield made
    server.clear()


def look(plan: dict[str, Any]) -> dict[str, Any]:
    """The queues as a module would see them."""

    def run_command(command: list[str], data: str) -> tuple[int, str, str]:
        done = subprocess.run(command, input=data, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    params = {
        "plan": plan,
        "broker": plan["broker"],
        "broker_password": aws.SECRET,
        "python": sys.executable,
        "image": None,
    }
    module = types.SimpleNamespace(params=params, run_command=run_command)
    queues = health_info.Look(module, params["plan"])._asked_broker()["queues"]  # type: ignore[arg-type]
    assert queues is not None
    return queues


def findings(plan: dict[str, Any]) -> dict[str, str]:
    seen = {"apis": [], "login": None, "jobs": None, "dags": None, "import_errors": None, "releases": None}
    return {
        each.part: each.found
        for each in _health.examine(plan, {**seen, "queues": look(plan)})
        if each.part[:5] == "queue"
    }


def test_queues_as_planned_are_no_finding_and_their_messages_are_counted(server: Aws, plan: dict[str, Any]) -> None:
    client = server.client("sqs")
    client.send_message(QueueUrl=plan["broker"]["urls"]["ml"], MessageBody="a task")
    queues = look(plan)
    assert {name: (queue["consumers"], queue["messages"]) for name, queue in queues.items()} == {
        "etl": (None, 0),
        "etl_highmem": (None, 0),
        "ml": (None, 1),
        "airflow-local-dead_letters": (None, 0),
    }
    assert findings(plan) == {}


def test_a_timeout_that_is_too_short_is_named(server: Aws, plan: dict[str, Any]) -> None:
    server.client("sqs").set_queue_attributes(
        QueueUrl=plan["broker"]["urls"]["etl"], Attributes={"VisibilityTimeout": "30"}
    )
    assert findings(plan) == {
        "queue airflow-local-etl": "VisibilityTimeout is 30s, and the plan has 8h10m: a task that runs for longer is delivered"
        " again and runs twice"
    }


def test_a_queue_that_is_missing_and_dead_letters_are_named(server: Aws, plan: dict[str, Any]) -> None:
    client = server.client("sqs")
    client.delete_queue(QueueUrl=plan["broker"]["urls"]["ml"])
    dead = client.get_queue_url(QueueName="airflow-local-dead_letters")["QueueUrl"]
    client.send_message(QueueUrl=dead, MessageBody="a task")
    found = findings(plan)
    assert set(found) == {"queue ml", "queue airflow-local-dead_letters"}
    assert found["queue ml"].startswith("the broker says: ")
    assert found["queue airflow-local-dead_letters"].startswith("1 message that 10 deliveries")


def test_sqs_that_does_not_answer_is_one_finding(plan: dict[str, Any]) -> None:
    nowhere = {**plan, "broker": {**plan["broker"], "endpoint_url": "http://127.0.0.1:9"}}
    [finding] = [
        each
        for each in _health.examine(
            nowhere,
            {
                "apis": [],
                "login": None,
                "jobs": None,
                "dags": None,
                "import_errors": None,
                "releases": None,
                "queues": look(nowhere),
            },
        )
        if each.part == "broker"
    ]
    assert finding.found.startswith("SQS in eu-west-1 does not answer (")
    assert aws.SECRET not in str(finding)
