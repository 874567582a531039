# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQS's queues and their policies, out of the plan, and where the real ones differ from them. Pure: asks nobody.

``seen`` is what the module sqs_broker_info tells: account, queues by name ({attributes, tags}, attributes being SQS's own, as
text), and policies ([{name, environment}]).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model.durations import spell
from ansible_collections.airstack.backbone.plugins.module_utils._model.settings import SQS_WAIT
from ansible_collections.airstack.backbone.plugins.module_utils._model.timeouts import RETENTION

OWNER = "airstack-backbone"
"""What carries it as the tag managed_by, and the environment beside it, may be removed again."""

LONGEST_POLICY = 6144
"""Characters of a managed policy without its white space (IAM, quotas)."""

CONSUME = (
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
)
PUBLISH = ("sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl")
LOOK = ("sqs:GetQueueAttributes", "sqs:GetQueueUrl")

MESSAGES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
"""The attributes that are all 0 where a queue is empty."""

_CONSEQUENCES = {
    "VisibilityTimeout": "a task that runs for longer is delivered again and runs twice",
    "MessageRetentionPeriod": "a task that waits for longer is lost",
    "ReceiveMessageWaitTimeSeconds": "who asks it waits otherwise than planned, and each question costs",
    "RedrivePolicy": "a message that kills its workers comes back for ever, or is given up too early",
    "Policy": "it can be reached without TLS",
    "KmsMasterKeyId": "its messages are encrypted with another key",
    "managed_by": "nobody knows later that it may be removed",
    "environment": "nobody knows later that it may be removed",
}

_BY_HAND = {"KmsMasterKeyId", "SqsManagedSseEnabled"}
"""What the module that makes queues leaves as it is where a queue is there already."""


def tags(plan: Mapping[str, Any]) -> dict[str, str]:
    """What tells whose a queue or a policy is."""
    return {"managed_by": OWNER, "environment": plan["environment"]}


def arn(broker: Mapping[str, Any], name: str, service: str = "sqs") -> str:
    """The resource name of a queue."""
    return f"arn:{partition(broker['region'])}:{service}:{broker['region']}:{broker['account']}:{name}"


def partition(region: str) -> str:
    """The part of AWS that a region belongs to."""
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rsplit("-", 2)[0], "aws")


def queues(plan: Mapping[str, Any], kms_key: str = "") -> list[dict[str, Any]]:
    """The queues as the arguments of community.aws.sqs_queue, the one of the dead letters first.

    kms_key: the resource name of a key in KMS; empty: SQS's own key, with which it encrypts new queues by itself.
    """
    broker, timeouts = plan["broker"], plan["timeouts"]
    dead = broker["dead_letters"]
    key = {"kms_master_key_id": kms_key} if kms_key else {}
    common = {"receive_message_wait_time_seconds": SQS_WAIT, "tags": tags(plan), **key}
    own = {
        "visibility_timeout": timeouts["visibility_timeout"]["seconds"],
        "message_retention_period": timeouts["message_retention"]["seconds"],
        "redrive_policy": {"deadLetterTargetArn": arn(broker, dead), "maxReceiveCount": broker["receives"]},
    }
    # A dead letter's age is counted from when it was first sent: it has to outlast the queue that it comes from.
    made = [{"name": dead, "message_retention_period": RETENTION.seconds, **common}]
    made += [{"name": name, **own, **common} for name in broker["names"].values()]
    return [{**queue, "policy": _only_with_tls(arn(broker, queue["name"]))} for queue in made]


def policies(plan: Mapping[str, Any], kms_key: str = "") -> list[dict[str, Any]]:
    """Who may do what: {name, who, policy} for the central components (who: core) and for each pool.

    A pool consumes from its own queues alone and publishes to none.
    """
    broker = plan["broker"]
    every = [arn(broker, name) for name in broker["names"].values()]
    core = [_allow(PUBLISH, every), _allow(LOOK, [arn(broker, broker["dead_letters"])])]
    made = [("core", core + _key(kms_key, ("kms:GenerateDataKey", "kms:Decrypt")))]
    for pool in broker["pools"]:
        own = [arn(broker, broker["names"][queue]) for queue in pool["queues"]]
        made.append((pool["name"], [_allow(CONSUME, own), *_key(kms_key, ("kms:Decrypt",))]))
    return [
        {
            "name": f"{broker['prefix']}broker-{who}",
            "who": who,
            "policy": {"Version": "2012-10-17", "Statement": statements},
        }
        for who, statements in made
    ]


def problems(plan: Mapping[str, Any], seen: Mapping[str, Any], kms_key: str = "") -> list[str]:
    """Why the queues cannot be made, in words: the wrong account, or more queues than a policy holds."""
    broker = plan["broker"]
    found = []
    if seen["account"] != broker["account"]:
        found.append(
            f"airflow_broker_account is {broker['account']}, and the credentials that would make the queues are those of"
            f" account {seen['account']}: correct the one or give the other (AWS_PROFILE, airflow_broker_aws_profile)"
        )
    for policy in policies(plan, kms_key):
        size = len(json.dumps(policy["policy"], separators=(",", ":")))
        if size > LONGEST_POLICY:
            found.append(
                f"the policy {policy['name']} would have {size} characters, and IAM takes {LONGEST_POLICY}: use fewer or"
                " shorter queue names, or several environments"
            )
    return found


def differences(plan: Mapping[str, Any], seen: Mapping[str, Any], kms_key: str = "") -> list[dict[str, Any]]:
    """Where the real queues are otherwise than planned.

    Each: queue (SQS's name), attribute (None: the queue is not there), said, advice, and message, which is all of it.
    """
    made = []
    for wanted in queues(plan, kms_key):
        queue = seen["queues"].get(wanted["name"])
        if queue is None:
            made.append(_told(wanted["name"], None, "it is not there", "site.yml makes it"))
            continue
        made += [_difference(wanted["name"], *each) for each in _differing(wanted, queue)]
    return made


def timing(plan: Mapping[str, Any], attributes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The differences of the queues that are there, as far as they decide how often a task runs.

    attributes: SQS's own by the queue's name. They are all that Airflow's components may see.
    """
    seen = {"queues": {name: {"attributes": each, "tags": {}} for name, each in attributes.items()}}
    decisive = ("VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy")
    return [each for each in differences(plan, seen) if each["attribute"] in decisive]


def removable(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Names of queues that this environment's description once had, and that are empty."""
    return [name for name in _left(plan, seen) if not waiting(seen["queues"][name])]


def kept(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, int]:
    """Messages by the name of each queue that the description no longer has, where there are any."""
    counted = {name: waiting(seen["queues"][name]) for name in _left(plan, seen)}
    return {name: messages for name, messages in counted.items() if messages}


def stale_policies(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Names of policies of this environment for pools that the description no longer has."""
    wanted = {policy["name"] for policy in policies(plan)}
    return sorted(
        policy["name"] for policy in seen["policies"] if policy["name"] not in wanted and _is_ours(plan, policy["tags"])
    )


def waiting(queue: Mapping[str, Any]) -> int:
    """Messages of a queue: to be delivered, in work, and delayed."""
    return sum(int(queue["attributes"].get(name, 0)) for name in MESSAGES)


def _left(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterable[str]:
    wanted = {queue["name"] for queue in queues(plan)}
    return [
        name for name, queue in sorted(seen["queues"].items()) if name not in wanted and _is_ours(plan, queue["tags"])
    ]


def _is_ours(plan: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    return all(found.get(tag) == value for tag, value in tags(plan).items())


def _differing(wanted: Mapping[str, Any], queue: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    """Attribute, what it is, and what it shall be."""
    attributes = queue["attributes"]
    for key, name in _NUMBERS.items():
        if key in wanted and attributes.get(name) != str(wanted[key]):
            yield name, attributes.get(name), str(wanted[key])
    for key, name in (("redrive_policy", "RedrivePolicy"), ("policy", "Policy")):
        found = json.loads(attributes.get(name) or "{}")
        if key in wanted and _plain(found) != _plain(wanted[key]):
            yield name, found, wanted[key]
    kms_key, found_key = wanted.get("kms_master_key_id"), attributes.get("KmsMasterKeyId")
    if kms_key and found_key != kms_key:
        yield "KmsMasterKeyId", found_key, kms_key
    if not kms_key and not found_key and attributes.get("SqsManagedSseEnabled") == "false":
        yield "SqsManagedSseEnabled", "false", "true"
    for tag, value in wanted["tags"].items():
        if queue["tags"].get(tag) != value:
            yield tag, queue["tags"].get(tag), value


_NUMBERS = {
    "visibility_timeout": "VisibilityTimeout",
    "message_retention_period": "MessageRetentionPeriod",
    "receive_message_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
}


def _difference(queue: str, attribute: str, found: Any, wanted: Any) -> dict[str, Any]:
    advice = (
        f"set it by hand: aws sqs set-queue-attributes --queue-url URL --attributes {attribute}={wanted}"
        if attribute in _BY_HAND
        else "site.yml sets it"
    )
    because = _CONSEQUENCES.get(attribute, "its messages are not encrypted")
    said = f"{attribute} is {_shown(attribute, found)}, and the plan has {_shown(attribute, wanted)}: {because}"
    return _told(queue, attribute, said, advice)


def _told(queue: str, attribute: str | None, said: str, advice: str) -> dict[str, Any]:
    return {
        "queue": queue,
        "attribute": attribute,
        "said": said,
        "advice": advice,
        "message": f"queue {queue}: {said}; {advice}",
    }


def _shown(attribute: str, value: Any) -> str:
    if value in (None, {}):
        return "missing"
    if attribute in _NUMBERS.values():
        return spell(int(value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _plain(document: Any) -> Any:
    """A policy as AWS may write it down: numbers and truths as text."""
    if isinstance(document, Mapping):
        return {key: _plain(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_plain(value) for value in document]
    return str(document)


def _only_with_tls(queue: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyWithTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": queue,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _allow(actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _key(kms_key: str, actions: Iterable[str]) -> list[dict[str, Any]]:
    return [_allow(actions, [kms_key])] if kms_key else []
