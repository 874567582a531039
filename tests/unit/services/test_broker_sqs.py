# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The broker in SQS: its queues and policies out of the plan. test_broker_sqs_role and test_broker_sqs_workers ask a server."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._services import sqs
from ansible_collections.airstack.backbone.tests.unit.services import aws
from ansible_collections.airstack.backbone.tests.unit.services.sqs_plans import planned

PLAN = planned()
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
NAMES = ["airflow-local-dead_letters", "airflow-local-etl", "airflow-local-etl_highmem", "airflow-local-ml"]


def arn(queue: str) -> str:
    return f"arn:aws:sqs:eu-west-1:123456789012:{queue}"


def real(**changes: Any) -> dict[str, Any]:
    """What is seen where all is as planned, but the attributes of etl's queue that are changed."""
    queues = {}
    for wanted in sqs.queues(PLAN):
        attributes = {
            "ReceiveMessageWaitTimeSeconds": str(wanted["receive_message_wait_time_seconds"]),
            "MessageRetentionPeriod": str(wanted["message_retention_period"]),
            "VisibilityTimeout": str(wanted.get("visibility_timeout", 30)),
            "Policy": json.dumps(wanted["policy"]),
            "SqsManagedSseEnabled": "true",
            "ApproximateNumberOfMessages": "0",
        }
        if "redrive_policy" in wanted:
            attributes["RedrivePolicy"] = json.dumps(wanted["redrive_policy"])
        queues[wanted["name"]] = {"attributes": attributes, "tags": dict(wanted["tags"])}
    queues["airflow-local-etl"]["attributes"].update(changes)
    return {"account": aws.ACCOUNT, "queues": queues, "policies": []}


def test_the_queues_have_the_timeouts_of_the_plan_and_one_place_for_dead_letters() -> None:
    made = {queue["name"]: queue for queue in sqs.queues(PLAN)}
    assert list(made) == NAMES
    assert made["airflow-local-etl"]["visibility_timeout"] == 8 * 3600 + 600
    assert made["airflow-local-etl"]["message_retention_period"] == 4 * 86400
    assert made["airflow-local-etl"]["redrive_policy"] == {
        "deadLetterTargetArn": arn("airflow-local-dead_letters"),
        "maxReceiveCount": 10,
    }
    assert "redrive_policy" not in made["airflow-local-dead_letters"]
    assert made["airflow-local-dead_letters"]["message_retention_period"] == 14 * 86400


def test_nobody_reaches_a_queue_without_tls() -> None:
    for queue in sqs.queues(PLAN):
        [statement] = queue["policy"]["Statement"]
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"] == arn(queue["name"])
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("ap-southeast-2", "aws")],
)
def test_a_queue_is_named_in_its_regions_part_of_aws(region: str, partition: str) -> None:
    assert sqs.arn({"region": region, "account": "1"}, "q") == f"arn:{partition}:sqs:{region}:1:q"


ACTIONS = sorted(
    {*sqs.CONSUME, *sqs.PUBLISH, "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:PurgeQueue", "sqs:SetQueueAttributes"}
)


def allowed(policy: dict[str, Any], queue: str) -> set[str]:
    return {action for action in ACTIONS if aws.allows(policy, action, arn(queue))}


def test_a_pool_consumes_from_its_own_queues_and_does_nothing_else() -> None:
    policies = {policy["who"]: policy["policy"] for policy in sqs.policies(PLAN)}
    assert set(policies) == {"core", "etl", "ml"}
    own = {"ml": ["airflow-local-ml"], "etl": ["airflow-local-etl", "airflow-local-etl_highmem"]}
    for pool, queues in own.items():
        for queue in NAMES:
            assert allowed(policies[pool], queue) == (set(sqs.CONSUME) if queue in queues else set())


def test_the_central_components_publish_and_take_no_message() -> None:
    core = next(policy["policy"] for policy in sqs.policies(PLAN) if policy["who"] == "core")
    assert all(allowed(core, queue) == set(sqs.PUBLISH) for queue in NAMES[1:])
    assert allowed(core, NAMES[0]) == set(sqs.LOOK)


def test_a_pool_that_is_moved_off_a_queue_loses_it() -> None:
    moved = planned(
        airflow_worker_pools=[{"name": "etl", "queues": ["etl"]}, {"name": "ml", "queues": ["ml", "etl_highmem"]}]
    )
    policies = {policy["who"]: policy["policy"] for policy in sqs.policies(moved)}
    assert allowed(policies["etl"], "airflow-local-etl_highmem") == set()
    assert allowed(policies["ml"], "airflow-local-etl_highmem") == set(sqs.CONSUME)


def test_who_reads_an_encrypted_queue_may_use_its_key() -> None:
    actions = {
        policy["who"]: [each["Action"] for each in policy["policy"]["Statement"] if each["Resource"] == [KEY]]
        for policy in sqs.policies(PLAN, KEY)
    }
    assert actions == {
        "core": [["kms:GenerateDataKey", "kms:Decrypt"]],
        "etl": [["kms:Decrypt"]],
        "ml": [["kms:Decrypt"]],
    }
    assert {queue["kms_master_key_id"] for queue in sqs.queues(PLAN, KEY)} == {KEY}


def test_what_is_as_planned_differs_nowhere() -> None:
    assert sqs.differences(PLAN, real()) == []


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("VisibilityTimeout", "30", "VisibilityTimeout is 30s, and the plan has 8h10m: a task that runs for longer"),
        ("MessageRetentionPeriod", "60", "MessageRetentionPeriod is 1m, and the plan has 4d: a task that waits"),
        ("ReceiveMessageWaitTimeSeconds", "0", "ReceiveMessageWaitTimeSeconds is 0s, and the plan has 20s"),
        ("RedrivePolicy", "", "RedrivePolicy is missing, and the plan has {"),
        ("RedrivePolicy", '{"deadLetterTargetArn": "x", "maxReceiveCount": "10"}', "RedrivePolicy is {"),
        ("Policy", "", "Policy is missing, and the plan has {"),
        ("SqsManagedSseEnabled", "false", "aws sqs set-queue-attributes"),
    ],
)
def test_each_difference_is_named_with_what_comes_of_it(attribute: str, value: str, said: str) -> None:
    [difference] = sqs.differences(PLAN, real(**{attribute: value}))
    assert (difference["queue"], difference["attribute"]) == ("airflow-local-etl", attribute)
    assert difference["message"].startswith("queue airflow-local-etl: ")
    assert said in difference["message"]


def test_numbers_in_a_policy_may_have_become_text() -> None:
    redrive = {"maxReceiveCount": "10", "deadLetterTargetArn": arn("airflow-local-dead_letters")}
    assert sqs.differences(PLAN, real(RedrivePolicy=json.dumps(redrive))) == []


def test_a_queue_that_is_missing_or_not_ours_is_named() -> None:
    seen = real()
    del seen["queues"]["airflow-local-ml"]
    seen["queues"]["airflow-local-etl"]["tags"] = {}
    found = [(each["queue"], each["attribute"]) for each in sqs.differences(PLAN, seen)]
    assert found == [
        ("airflow-local-etl", "managed_by"),
        ("airflow-local-etl", "environment"),
        ("airflow-local-ml", None),
    ]


OURS = {"managed_by": "airstack-backbone", "environment": "local"}


@pytest.mark.parametrize(
    ("tags", "messages", "removable", "kept"),
    [
        (OURS, {}, ["airflow-local-old"], {}),
        (OURS, {"ApproximateNumberOfMessages": "2"}, [], {"airflow-local-old": 2}),
        (OURS, {"ApproximateNumberOfMessagesNotVisible": "1"}, [], {"airflow-local-old": 1}),
        (OURS, {"ApproximateNumberOfMessagesDelayed": "1"}, [], {"airflow-local-old": 1}),
        ({}, {}, [], {}),
        ({**OURS, "environment": "local-dr"}, {}, [], {}),
        ({**OURS, "managed_by": "somebody"}, {}, [], {}),
    ],
)
def test_only_an_empty_queue_of_ours_goes(
    tags: dict[str, str], messages: dict[str, str], removable: list[str], kept: dict[str, int]
) -> None:
    seen = real()
    seen["queues"]["airflow-local-old"] = {"attributes": messages, "tags": tags}
    assert sqs.removable(PLAN, seen) == removable
    assert sqs.kept(PLAN, seen) == kept


def test_policies_of_pools_that_are_gone_go_and_others_stay() -> None:
    seen = real()
    seen["policies"] = [
        {"name": "airflow-local-broker-gone", "tags": OURS},
        {"name": "airflow-local-broker-etl", "tags": OURS},
        {"name": "by-hand", "tags": {}},
    ]
    assert sqs.stale_policies(PLAN, seen) == ["airflow-local-broker-gone"]


def test_the_wrong_account_is_refused() -> None:
    seen = copy.deepcopy(real())
    assert sqs.problems(PLAN, seen) == []
    [problem] = sqs.problems(PLAN, {**seen, "account": "999999999999"})
    assert problem.startswith("airflow_broker_account is 123456789012, and the credentials")
    assert "999999999999" in problem


def test_more_queues_than_a_policy_holds_are_refused() -> None:
    queues = [f"q{at}" for at in range(130)]
    many = planned(
        airflow_dag_sources=[{"name": "etl", "path": "/dags/etl", "queues": queues}],
        airflow_worker_pools=[{"name": "etl", "queues": queues}],
    )
    found = sqs.problems(many, {"account": aws.ACCOUNT, "queues": {}, "policies": []})
    assert [problem.split()[2] for problem in found] == ["airflow-local-broker-core", "airflow-local-broker-etl"]
    assert "IAM takes 6144" in found[0]
