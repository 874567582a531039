# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands for AWS: moto's server on this host, with the rights that IAM would give, which moto does not look at."""

from __future__ import annotations

import io
import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3

REGION = "eu-west-1"
ACCOUNT = "123456789012"
SECRET = "secret"
ADMINISTRATOR = "AKIAADMINISTRATOR"


class Aws:
    """moto's server.

    asked: how often each of SQS's actions was asked for. waits: for how many seconds a message of each queue was waited for,
    the latest question last. policies: of each access key; a key without one may do everything.
    """

    def __init__(self, app: Callable[..., Any], address: str) -> None:
        self._app = app
        self._address = address
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.waits: defaultdict[str, list[int]] = defaultdict(list)
        self.policies: dict[str, Mapping[str, Any]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        action = environ.get("HTTP_X_AMZ_TARGET", "").partition("AmazonSQS.")[2]
        if action:
            self.asked[action] += 1
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            asked = json.loads(body)
            if action == "ReceiveMessage":
                self.waits[asked["QueueUrl"].rsplit("/", 1)[-1]].append(int(asked.get("WaitTimeSeconds", 0)))
            if not self._may(environ, action, asked):
                refusal = {
                    "__type": "com.amazonaws.sqs#AccessDeniedException",
                    "message": f"not authorized to perform sqs:{action}",
                }
                start_response("403 Forbidden", [("Content-Type", "application/x-amz-json-1.0")])
                return [json.dumps(refusal).encode()]
        return list(self._app(environ, start_response))

    def _may(self, environ: dict[str, Any], action: str, asked: dict[str, Any]) -> bool:
        key = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        policy = self.policies.get(key[1]) if key else None
        queue = asked.get("QueueUrl", asked.get("QueueName", "*")).rsplit("/", 1)[-1]
        return policy is None or allows(policy, f"sqs:{action}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self.port}"

    def client(self, service: str, key: str = ADMINISTRATOR) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=SECRET,
        )

    def environment(self) -> dict[str, str]:
        """Where boto3 finds the server and an administrator's credentials."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ADMINISTRATOR,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def clear(self) -> None:
        """As new."""
        from moto.iam.models import iam_backends  # noqa: PLC0415
        from moto.sqs.models import sqs_backends  # noqa: PLC0415

        for backends in (sqs_backends, iam_backends):
            for account in backends.values():
                for backend in account.values():
                    backend.reset()
        self.asked.clear()
        self.policies.clear()

    def attributes(self, queue: str) -> dict[str, str]:
        sqs = self.client("sqs")
        found: dict[str, str] = sqs.get_queue_attributes(
            QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], AttributeNames=["All"]
        )["Attributes"]
        return found

    def queues(self) -> list[str]:
        return sorted(url.rsplit("/", 1)[1] for url in self.client("sqs").list_queues().get("QueueUrls", []))


def allows(policy: Mapping[str, Any], action: str, resource: str) -> bool:
    """Whether a document of Allow statements without wildcards allows it."""
    statements = policy["Statement"]
    assert all(each["Effect"] == "Allow" and "*" not in json.dumps(each) for each in statements)
    return any(action in each["Action"] and resource in each["Resource"] for each in statements)


@contextmanager
def running(address: str = "127.0.0.1", port: int = 0) -> Iterator[Aws]:
    """A server, which needs moto. port: a free one with 0."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    class Quiet(WSGIRequestHandler):
        def log(self, *args: object) -> None:
            pass

    aws = Aws(DomainDispatcherApplication(create_backend_app), address)
    listening = make_server(address, port, aws, threaded=True, request_handler=Quiet)
    aws.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield aws
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
