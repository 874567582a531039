# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The role airflow_broker on SQS, run by ansible-playbook as a person runs it, at moto's server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed here")
pytest.importorskip("moto.server", reason="moto's server, which stands for AWS, is not installed here")
pytest.importorskip(
    "ansible_collections.community.aws", reason="community.aws, which makes queues, is not installed here"
)

from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port
from ansible_collections.airstack.backbone.tests.unit.services import aws
from ansible_collections.airstack.backbone.tests.unit.services.aws import Aws
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer
from ansible_collections.airstack.backbone.tests.unit.services.sqs_plans import DESCRIPTION

PLAYBOOK = [
    {
        "hosts": "airflow_control",
        "gather_facts": False,
        "tasks": [
            {"airstack.backbone.plan": {}, "register": "planned"},
            {"ansible.builtin.set_fact": {"airflow_plan": "{{ planned.airflow_plan }}", "airflow_secrets": {}}},
            {
                "ansible.builtin.include_role": {
                    "name": "airstack.backbone.airflow_broker",
                    "tasks_from": "preflight",
                }
            },
            {"ansible.builtin.include_role": {"name": "airstack.backbone.airflow_broker"}},
            {"ansible.builtin.include_role": {"name": "airstack.backbone.airflow_broker", "tasks_from": "leftovers"}},
        ],
    }
]

ONE_POOL = {
    **DESCRIPTION,
    "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
    "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
    "airflow_broker_manage_policies": True,
}
GROUPS = {
    f"airflow_{name}": [name.replace("_", "-")] for name in ("database", "control", "object_store", "workers_etl")
}
OURS = {"managed_by": "airstack-backbone", "environment": "local"}
POLICIES = "arn:aws:iam::123456789012:policy/airflow/local/"


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with aws.running() as found:
        yield found


@pytest.fixture
def deploy(server: Aws, tmp_path: Path) -> Iterator[Deployer]:
    """With credentials of an administrator."""
    server.clear()
    yield Deployer(tmp_path, PLAYBOOK, GROUPS, ONE_POOL, server.environment())
    server.clear()


def policies(server: Aws) -> dict[str, Any]:
    iam = server.client("iam")
    found = {}
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
        found[policy["PolicyName"]] = version["PolicyVersion"]["Document"]
    return found


def test_a_fresh_account_gets_the_queues_once(deploy: Deployer, server: Aws) -> None:
    foretold = deploy("--check", "--diff")
    assert (foretold.failed, foretold.changed) == (0, 2), foretold.said
    assert "queue airflow-local-etl: it is not there" in foretold.said
    assert server.queues() == []

    made = deploy()
    assert (made.failed, made.changed) == (0, 2), made.said
    assert server.queues() == ["airflow-local-dead_letters", "airflow-local-etl"]
    attributes = server.attributes("airflow-local-etl")
    assert attributes["VisibilityTimeout"] == "29400"
    assert attributes["MessageRetentionPeriod"] == "345600"
    assert attributes["ReceiveMessageWaitTimeSeconds"] == "20"
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith(":airflow-local-dead_letters")
    assert "aws:SecureTransport" in attributes["Policy"]
    assert server.attributes("airflow-local-dead_letters")["MessageRetentionPeriod"] == "1209600"
    assert set(policies(server)) == {"airflow-local-broker-core", "airflow-local-broker-etl"}

    again = deploy()
    assert (again.failed, again.changed) == (0, 0), again.said
    assert aws.SECRET not in foretold.said + made.said + again.said


def test_what_is_there_is_corrected_and_what_is_others_stays(deploy: Deployer, server: Aws, tmp_path: Path) -> None:
    sqs, iam = server.client("sqs"), server.client("iam")
    sqs.create_queue(QueueName="airflow-local-etl", Attributes={"VisibilityTimeout": "30"}, tags={"team": "x"})
    sqs.create_queue(QueueName="airflow-local-strangers")
    sqs.create_queue(QueueName="airflow-local-old", tags=OURS)
    full = sqs.create_queue(QueueName="airflow-local-full", tags=OURS)["QueueUrl"]
    sqs.send_message(QueueUrl=full, MessageBody="a task")
    statement = {"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    for name, tags in (("airflow-local-broker-gone", OURS), ("by-hand", {})):
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        iam.create_policy(PolicyName=name, Path="/airflow/local/", PolicyDocument=document, Tags=listed)

    foretold = deploy("--check")
    assert "queue airflow-local-etl: VisibilityTimeout is 30s, and the plan has 8h10m" in foretold.said
    assert server.attributes("airflow-local-etl")["VisibilityTimeout"] == "30"
    assert "airflow-local-old" in server.queues()
    assert "airflow-local-broker-gone" in policies(server)

    directory = tmp_path / "policies"
    corrected = deploy("-e", f"airflow_broker_policies_directory={directory}")
    assert corrected.failed == 0, corrected.said
    assert server.attributes("airflow-local-etl")["VisibilityTimeout"] == "29400"
    assert sqs.list_queue_tags(QueueUrl=sqs.get_queue_url(QueueName="airflow-local-etl")["QueueUrl"])["Tags"] == {
        "team": "x",
        **OURS,
    }
    assert server.queues() == [f"airflow-local-{name}" for name in ("dead_letters", "etl", "full", "strangers")]
    assert "airflow-local-full: the plan no longer has these queues" in corrected.said
    assert set(policies(server)) == {"airflow-local-broker-core", "airflow-local-broker-etl", "by-hand"}
    written = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in directory.iterdir()}
    assert written == {name: policy for name, policy in policies(server).items() if name != "by-hand"}


def test_queues_that_cannot_be_looked_at_are_a_problem(server: Aws, tmp_path: Path) -> None:
    nobody = {**server.environment(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    refused = Deployer(tmp_path, PLAYBOOK, GROUPS, ONE_POOL, nobody)()
    assert refused.failed == 1
    assert "The queues airflow-local-* in eu-west-1 cannot be looked at: Could not connect" in " ".join(
        refused.said.split()
    )
    assert "Refuse what cannot be" in refused.said


def test_a_look_that_fails_before_queues_go_is_told(server: Aws, tmp_path: Path) -> None:
    nobody = {**server.environment(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    seen = {"removable": ["airflow-local-gone"], "stale_policies": [], "kept": {}, "problems": []}
    plan, facts, *_preflight_and_main, leftovers = PLAYBOOK[0]["tasks"]
    found = {"ansible.builtin.set_fact": {"__airflow_broker_state": seen}}
    play = {**PLAYBOOK[0], "tasks": [plan, facts, found, leftovers]}
    refused = Deployer(tmp_path, [play], GROUPS, ONE_POOL, nobody)()
    assert refused.failed == 1
    assert "cannot be looked at: Could not connect" in " ".join(refused.said.split())
    assert "Refuse to go on where that look failed" in refused.said


def test_the_wrong_account_gets_nothing(deploy: Deployer, server: Aws) -> None:
    refused = deploy(airflow_broker_account="999999999999")
    assert refused.failed == 1
    assert "airflow_broker_account is 999999999999" in refused.said
    assert server.queues() == []
