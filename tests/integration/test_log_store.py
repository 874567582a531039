# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may do what in the log store, tried with real clients on a store that airflow_object_store and airflow_log_store made.

It needs boto3, and in the environment:

- AIRFLOW_PLAN: a file that holds ``airflow_plan`` as JSON
- AIRFLOW_SECRETS: the directory of the platform's secrets
- AWS_CA_BUNDLE, where the store's certificate is one that this machine does not trust

It writes a few objects under names of its own, and removes them.

    AIRFLOW_PLAN=plan.json AIRFLOW_SECRETS=inventories/local/.secrets pytest tests/integration/test_log_store.py
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("AIRFLOW_PLAN", "AIRFLOW_SECRETS")
MISSING = [name for name in NEEDED if name not in os.environ]

boto3 = pytest.importorskip("boto3", reason="the log store's wall needs boto3, which is not installed")
if MISSING:
    pytest.skip(f"the log store's wall needs {' and '.join(MISSING)} in the environment", allow_module_level=True)

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

STORE = json.loads(Path(os.environ["AIRFLOW_PLAN"]).read_text(encoding="utf-8"))["log_store"]
OWN = STORE["object_store"]
BUCKET = STORE["bucket"]
IDENTITIES = STORE["identities"]
CA_BUNDLE = os.environ.get("AWS_CA_BUNDLE")
TRUST = ssl.create_default_context(cafile=CA_BUNDLE)
KEY = f"{STORE['prefix']}/wall-{uuid.uuid4()}/attempt=1.log"
FOREIGN_BUCKET = f"wall-{uuid.uuid4()}"
PART = 5 * 1024 * 1024
"""The smallest part of a multipart upload (Amazon S3, multipart upload limits)."""

pytestmark = [
    pytest.mark.disturbs,
    pytest.mark.skipif(OWN is None, reason="needs the platform's own object store; elsewhere its policies decide"),
]


def client(access_key: str, secret: str) -> Any:
    settings = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        retries={"mode": "standard", "max_attempts": 5},
        proxies={},
    )
    session = boto3.session.Session(access_key, secret, region_name=STORE["region"])
    return session.client(
        "s3", endpoint_url=STORE["endpoint_url"], config=settings, verify=os.environ.get("AWS_CA_BUNDLE")
    )


def secret(name: str) -> str:
    return (Path(os.environ["AIRFLOW_SECRETS"]) / name).read_text(encoding="utf-8").strip()


@pytest.fixture(name="identity", params=IDENTITIES, ids=lambda identity: identity["name"])
def client_of_an_identity(request: pytest.FixtureRequest) -> Any:
    return client(request.param["access_key"], secret(request.param["secret"]))


@pytest.fixture(name="admin", scope="module")
def client_of_the_administrator() -> Any:
    return client(f"{OWN['account']}:{OWN['admin']['user']}", secret(OWN["admin"]["secret"]))


@pytest.fixture(name="written", scope="module", autouse=True)
def a_log(admin: Any) -> Iterator[None]:
    """A log that is there for all tests, and a bucket that was granted to nobody."""
    admin.put_object(Bucket=BUCKET, Key=KEY, Body=b"a log")
    admin.create_bucket(Bucket=FOREIGN_BUCKET)
    admin.put_object(Bucket=FOREIGN_BUCKET, Key="x", Body=b"foreign")
    yield
    admin.delete_object(Bucket=FOREIGN_BUCKET, Key="x")
    admin.delete_bucket(Bucket=FOREIGN_BUCKET)
    admin.delete_object(Bucket=BUCKET, Key=KEY)


def test_an_identity_writes_lists_reads_and_removes(identity: Any) -> None:
    key = f"{KEY}.{uuid.uuid4()}"
    identity.put_object(Bucket=BUCKET, Key=key, Body="first é\n".encode())
    try:
        assert identity.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 9
        listed = identity.list_objects_v2(Bucket=BUCKET, Prefix=KEY)["Contents"]
        assert {KEY, key} <= {each["Key"] for each in listed}
        assert identity.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode() == "first é\n"
    finally:
        identity.delete_object(Bucket=BUCKET, Key=key)
    assert key not in [each["Key"] for each in identity.list_objects_v2(Bucket=BUCKET, Prefix=KEY)["Contents"]]


def test_a_large_log_is_written_in_parts(identity: Any, tmp_path: Path) -> None:
    key = f"{KEY}.{uuid.uuid4()}"
    log = tmp_path / "large.log"
    log.write_bytes(os.urandom(1024) * (PART // 1024) + b"the last line\n")
    in_parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
    identity.upload_file(str(log), BUCKET, key, Config=in_parts)
    try:
        assert identity.get_object(Bucket=BUCKET, Key=key)["Body"].read() == log.read_bytes()
    finally:
        identity.delete_object(Bucket=BUCKET, Key=key)


FORBIDDEN: dict[str, Callable[[Any], object]] = {
    "write a foreign bucket": lambda s3: s3.put_object(Bucket=FOREIGN_BUCKET, Key="y", Body=b"x"),
    "read a foreign bucket": lambda s3: s3.get_object(Bucket=FOREIGN_BUCKET, Key="x"),
    "list a foreign bucket": lambda s3: s3.list_objects_v2(Bucket=FOREIGN_BUCKET),
    "remove from a foreign bucket": lambda s3: s3.delete_object(Bucket=FOREIGN_BUCKET, Key="x"),
    "list all buckets": lambda s3: s3.list_buckets(),
    "make a bucket": lambda s3: s3.create_bucket(Bucket=f"{FOREIGN_BUCKET}-2"),
}


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_an_identity_may_not(identity: Any, deed: str) -> None:
    with pytest.raises(ClientError) as refused:
        FORBIDDEN[deed](identity)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


FOREIGN: dict[str, Callable[[], Any]] = {
    "a wrong secret": lambda: client(IDENTITIES[0]["access_key"], "wrong"),
    "an unknown key": lambda: client(f"{OWN['account']}:nobody", "wrong"),
    "another identity's secret": lambda: client(IDENTITIES[0]["access_key"], secret(IDENTITIES[-1]["secret"])),
}
DEEDS: dict[str, Callable[[Any], object]] = {
    "read": lambda s3: s3.get_object(Bucket=BUCKET, Key=KEY),
    "write": lambda s3: s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"forged"),
    "list": lambda s3: s3.list_objects_v2(Bucket=BUCKET),
    "remove": lambda s3: s3.delete_object(Bucket=BUCKET, Key=KEY),
}


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("who", FOREIGN)
def test_a_foreign_user_may_not(admin: Any, who: str, deed: str) -> None:
    with pytest.raises(ClientError) as refused:
        DEEDS[deed](FOREIGN[who]())
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert admin.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"a log"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", [f"{BUCKET}/{KEY}", f"v1/AUTH_{OWN and OWN['account']}/{BUCKET}/{KEY}"], ids=["s3", "swift"]
)
def test_nobody_may_do_anything(admin: Any, path: str, method: str) -> None:
    """Without a signature Swift takes a request for one of its own API, where a bucket's path is no valid one."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=TRUST))
    request = urllib.request.Request(
        f"{STORE['endpoint_url']}/{path}", b"x" if method == "PUT" else None, method=method
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(request, timeout=30)
    assert refused.value.code in (400, 401, 412)
    assert admin.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"a log"
