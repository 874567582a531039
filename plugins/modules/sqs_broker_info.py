#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sqs_broker_info
short_description: Tell the queues that a platform has in SQS, and its policies in IAM
version_added: 0.1.0
description:
  - Returns every queue whose name begins with a prefix, with its attributes and tags, and the account that they are in.
  - Credentials come from where boto3 looks for them, such as the environment, a profile or the machine's role.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  region:
    description: AWS's region of the queues.
    type: str
    required: true
  endpoint_url:
    description: Where SQS is reached. AWS's own address when left out.
    type: str
  prefix:
    description: What the names of the queues begin with.
    type: str
    required: true
  policy_path:
    description: The path of IAM's managed policies to tell. None is told, and IAM is not asked, when left out.
    type: str
  profile:
    description: The profile that the credentials are taken from.
    type: str
requirements:
  - boto3
author:
  - Airstack Founders (@airstack)
seealso:
  - module: community.aws.sqs_queue
"""

EXAMPLES = r"""
- name: See what production has in SQS
  airstack.backbone.sqs_broker_info:
    region: eu-west-1
    prefix: airflow-prod-
  delegate_to: localhost
  register: broker
"""

RETURN = r"""
account:
  description: The account of the credentials.
  returned: success
  type: str
  sample: "123456789012"
queues:
  description: The queues by name, each with its C(url), C(attributes) as SQS gives them, which are texts, and C(tags).
  returned: success
  type: dict
  sample:
    airflow-prod-etl:
      url: https://sqs.eu-west-1.amazonaws.com/123456789012/airflow-prod-etl
      attributes:
        VisibilityTimeout: "29400"
        ApproximateNumberOfMessages: "3"
      tags:
        environment: prod
policies:
  description: The policies below O(policy_path), each with its C(name), C(arn) and C(tags).
  returned: success
  type: list
  elements: dict
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import boto3.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_BOTO3 = False
    BOTO3_ERROR = traceback.format_exc()
else:
    HAS_BOTO3 = True
    BOTO3_ERROR = ""

CONNECT_SECONDS = 10
READ_SECONDS = 30

GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
"""What SQS says of a queue that it listed and that somebody removed since."""


class Account:
    """What credentials may see."""

    def __init__(self, region: str, endpoint_url: str | None, profile: str | None) -> None:
        session = boto3.session.Session(profile_name=profile, region_name=region)
        settings = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 4, "mode": "standard"},
        )
        self._sts = session.client("sts", config=settings)
        self._sqs = session.client("sqs", endpoint_url=endpoint_url, config=settings)
        self._iam = session.client("iam", config=settings)

    def number(self) -> str:
        """The account's digits."""
        found: str = self._sts.get_caller_identity()["Account"]
        return found

    def queues(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Queues by name."""
        pages = self._sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=prefix, PaginationConfig={"PageSize": 1000}
        )
        urls = [url for page in pages for url in page.get("QueueUrls", [])]
        looked = {url.rsplit("/", 1)[1]: self._queue(url) for url in urls}
        return {name: queue for name, queue in looked.items() if queue is not None}

    def _queue(self, url: str) -> dict[str, Any] | None:
        try:
            return {
                "url": url,
                "attributes": self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"],
                "tags": self._sqs.list_queue_tags(QueueUrl=url).get("Tags", {}),
            }
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return None
            raise

    def policies(self, path: str) -> list[dict[str, Any]]:
        """Managed policies below a path."""
        pages = self._iam.get_paginator("list_policies").paginate(Scope="Local", PathPrefix=path)
        return [
            {"name": policy["PolicyName"], "arn": policy["Arn"], "tags": self._tags(policy["Arn"])}
            for page in pages
            for policy in page["Policies"]
        ]

    def _tags(self, policy: str) -> dict[str, str]:
        pages = self._iam.get_paginator("list_policy_tags").paginate(PolicyArn=policy)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def look(params: dict[str, Any]) -> dict[str, Any]:
    """What there is. Raises boto3's own errors."""
    account = Account(params["region"], params["endpoint_url"], params["profile"])
    path = params["policy_path"]
    return {
        "account": account.number(),
        "queues": account.queues(params["prefix"]),
        "policies": account.policies(path) if path else [],
    }


def main() -> None:
    """Read the arguments, look, say what was found."""
    module = AnsibleModule(
        argument_spec={
            "region": {"type": "str", "required": True},
            "endpoint_url": {"type": "str"},
            "prefix": {"type": "str", "required": True},
            "policy_path": {"type": "str"},
            "profile": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"), exception=BOTO3_ERROR)
    params = module.params
    try:
        found = look(params)
    except (BotoCoreError, ClientError) as error:
        module.fail_json(
            msg=f"The queues {params['prefix']}* in {params['region']} cannot be looked at: {error}. Give credentials that"
            " may list them, where boto3 looks for them: the environment (AWS_PROFILE or AWS_ACCESS_KEY_ID), a profile, or"
            " the role of the machine that asks"
        )
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
