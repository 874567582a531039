# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a component reaches the log store: a connection without a secret, and an AWS profile of its own.

The profile has a name, so that the default profile and the machine's role stay free for the DAGs' own use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PROFILE = "airflow-logs"
CONNECTION = "airflow_logs"
CONFIG_FILE = "aws_config"
CREDENTIAL = "aws_credentials"


def identity(endpoint: Mapping[str, Any], pool: str | None) -> Mapping[str, Any] | None:
    """The keys that a pool's workers, or the central components (None), use; None where the machine's role is used."""
    return next((each for each in endpoint["identities"] if each["pool"] == pool), None)


def connect(component: dict[str, Any], endpoint: Mapping[str, Any], user: Mapping[str, Any] | None) -> dict[str, Any]:
    """The component with all that it needs to reach the log store as ``user``."""
    extra = {"region_name": endpoint["region"]} if user is None else {"profile_name": PROFILE}
    if user is None and endpoint["endpoint_url"]:
        extra["endpoint_url"] = endpoint["endpoint_url"]
    connection = json.dumps({"conn_type": "aws", "extra": extra}, sort_keys=True)
    connected = {
        **component,
        "environment": {**component["environment"], f"AIRFLOW_CONN_{CONNECTION.upper()}": connection},
    }
    if user is None:
        return connected
    return {
        **connected,
        "credentials": [*component["credentials"], CREDENTIAL],
        "files": {**component["files"], CONFIG_FILE: profile(endpoint)},
        "environment_files": {
            **component["environment_files"],
            "AWS_CONFIG_FILE": {"file": CONFIG_FILE},
            "AWS_SHARED_CREDENTIALS_FILE": {"credential": CREDENTIAL},
        },
    }


def profile(endpoint: Mapping[str, Any]) -> str:
    """The AWS configuration file with the profile of the log store."""
    lines = [f"[profile {PROFILE}]", f"region = {endpoint['region']}"]
    if endpoint["endpoint_url"]:
        lines += [
            f"endpoint_url = {endpoint['endpoint_url']}",
            "request_checksum_calculation = when_required",
            "response_checksum_validation = when_required",
            "s3 =",
            "    addressing_style = path",
        ]
    return "\n".join(lines) + "\n"


def credentials(user: Mapping[str, Any], secret: str) -> str:
    """The AWS credentials file with the keys of the profile."""
    return f"[{PROFILE}]\naws_access_key_id = {user['access_key']}\naws_secret_access_key = {secret}\n"


def policies(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each pool's workers need of an AWS bucket, and what the central components (core) do, as IAM policies.

    A pool reads and writes the logs of its own queues: an uploaded log is looked for, read and written anew.
    """
    store = plan["log_store"]
    folders = {
        "core": [""],
        **{pool["name"]: [f"queue={queue}/" for queue in pool["queues"]] for pool in plan["pools"]},
    }
    return {name: _policy(store["bucket"], store["prefix"], paths) for name, paths in folders.items()}


def _policy(bucket: str, prefix: str, folders: list[str]) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": [f"{arn}/{prefix}/{folder}*" for folder in folders],
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": arn,
                "Condition": {"StringLike": {"s3:prefix": [f"{prefix}/{folder}*" for folder in folders]}},
            },
        ],
    }
