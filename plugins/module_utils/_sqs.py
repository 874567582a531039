# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks SQS for the attributes of queues. Who consumes them, SQS does not know.

A program for another interpreter than the module's, one that has boto3, as Airflow's own environment has:
``python -c "$(cat _sqs.py)"``, with the queues and the key as JSON on standard input, where no process list shows them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

try:
    import boto3.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    boto3 = None


def ask(asked: dict[str, Any]) -> dict[str, Any]:
    """What SQS says: {"queues": {name: attributes as texts, or {"error"}}}, or {"error"} for all of them.

    asked: region, endpoint_url, user and password (None: the machine's role), seconds (to wait for each answer) and urls, a
    dictionary of names.
    """
    settings = Config(
        connect_timeout=asked["seconds"], read_timeout=asked["seconds"], retries={"total_max_attempts": 2}
    )
    try:
        client = boto3.session.Session().client(
            "sqs",
            region_name=asked["region"],
            endpoint_url=asked["endpoint_url"],
            aws_access_key_id=asked["user"],
            aws_secret_access_key=asked["password"],
            config=settings,
        )
        return {"queues": {name: _queue(client, url) for name, url in asked["urls"].items()}}
    except BotoCoreError as error:
        return {"error": str(error)}


def _queue(client: Any, url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except ClientError as error:
        return {"error": error.response["Error"].get("Message") or error.response["Error"]["Code"]}
    return found


def main() -> None:
    """Read from standard input, write to standard output."""
    missing = {"error": f"{sys.executable} has no boto3"}
    json.dump(ask(json.load(sys.stdin)) if boto3 else missing, sys.stdout)


if __name__ == "__main__":
    main()
