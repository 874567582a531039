# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""An S3 endpoint: what its objects are called, how it is reached, and what its refusals mean."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import misplaced, shown
from ansible_collections.airstack.backbone.plugins.module_utils._dags.parallel import THREADS
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems, is_plain

CONNECT_SECONDS = 10
READ_SECONDS = 60
ATTEMPTS = 3

REGION = "us-east-1"
"""What endpoints other than Amazon's sign for where nobody says otherwise."""

_SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")

# Of the answers that a person can do something about: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# What answers a HEAD has no body, and its code is the number.
_MEANINGS = {
    "NoSuchBucket": "there is no bucket {bucket} at {endpoint}",
    "AccessDenied": "{address} is denied to these credentials",
    "403": "{address} is denied to these credentials, or they are wrong",
    "InvalidAccessKeyId": "{endpoint} does not know the access key",
    "SignatureDoesNotMatch": "{endpoint} does not accept the secret key",
    "InvalidToken": "{endpoint} does not accept the credentials",
    "ExpiredToken": "the credentials for {endpoint} have expired",
    "RequestTimeTooSkewed": "the clock of this host is not the one of {endpoint}",
    "AuthorizationHeaderMalformed": "{address} is in another region: {said}",
    "PermanentRedirect": "{address} is in another region: {said}",
    "301": "{address} is in another region",
}
GONE = frozenset({"NoSuchKey", "404"})
CHANGED = frozenset({"PreconditionFailed", "412"})


class Address(NamedTuple):
    """A bucket, and a key in it: of one object, or, empty or with a slash at its end, what others begin with."""

    bucket: str
    key: str

    @property
    def is_prefix(self) -> bool:
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}"


def parse_address(text: str) -> Address:
    """Read `s3://bucket/prefix/` or `s3://bucket/path/archive.tar.gz`.

    :raises SourceProblems: it is neither
    """
    bucket, slash, key = text[len(_SCHEME) :].partition("/")
    wanted = (
        f"write {_SCHEME}bucket/prefix/ for all that is beneath it, or {_SCHEME}bucket/path/file.tar.gz for an archive"
    )
    if not text.startswith(_SCHEME):
        raise SourceProblems([f"{shown(text)} is no address of S3; {wanted}"])
    if not _BUCKET.fullmatch(bucket):
        raise SourceProblems([f"{shown(text)} names no bucket that can be; {wanted}"])
    if not slash:
        raise SourceProblems([f"{text} is a bucket alone; {text}/ stands for all that is in it"])
    if key and (not is_plain(key) or misplaced(key.rstrip("/") if not key.endswith("//") else key)):
        raise SourceProblems([f"{shown(text)} has a key with empty parts, dots or control characters; {wanted}"])
    return Address(bucket, key)


@dataclass(frozen=True)
class Connection:
    """How an endpoint is reached.

    endpoint_url: None stands for Amazon's own.
    access_key, secret_key: None for both stands for what the host has: environment, files, or the instance's role.
    ca_file: the authority of the endpoint's certificate, in PEM; None stands for those that boto3 knows.
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @property
    def endpoint(self) -> str:
        return self.endpoint_url or "Amazon S3"

    def client(self) -> Any:
        """Return boto3's client, for many threads.

        :raises SourceProblems: there is no boto3, or what was given cannot be
        """
        self._require_sense()
        require_boto3()
        import boto3.session
        from botocore.config import Config

        settings: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": ATTEMPTS, "mode": "standard"},
            "max_pool_connections": THREADS,
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path"} if self.endpoint_url else {},
        }
        # Not every endpoint has Amazon's newer checksums, and boto3 before 1.36 not these options.
        for option in ("request_checksum_calculation", "response_checksum_validation"):
            if option in Config.OPTION_DEFAULTS:
                settings[option] = "when_required"
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region or (REGION if self.endpoint_url else None),
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=self.ca_file,
            config=Config(**settings),
        )

    def _require_sense(self) -> None:
        if "@" in (self.endpoint_url or ""):
            raise SourceProblems(
                ["the endpoint is given with credentials in its address, which have options of their own"]
            )
        if self.endpoint_url is not None and not _is_web_address(self.endpoint_url):
            raise SourceProblems([f"the endpoint {shown(self.endpoint)} is no address such as https://s3.example.com"])
        if (self.access_key is None) != (self.secret_key is None):
            raise SourceProblems(["of access key and secret key, one is given without the other"])


def require_boto3() -> None:
    """Raise `SourceProblems` where boto3 is missing, which only sources in S3 need."""
    try:
        import boto3.session  # noqa: F401  # only whether it is there
    except ImportError:
        what = "a source in S3 needs boto3 where it is read"
        raise SourceProblems([f"{what}: install python3-boto3, or boto3 with the pip of {sys.executable}"]) from None


class Unreachable(SourceProblems):
    """The endpoint did not answer, and will not for the next object either."""


def _is_web_address(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


@contextmanager
def asking(connection: Connection, address: Address) -> Iterator[None]:
    """Say what an endpoint's refusal means.

    :raises Unreachable: there was no answer
    :raises SourceProblems: instead of all else that boto3 raises
    """
    require_boto3()
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error_code(error)
        said = _without_secrets(str(error.response.get("Error", {}).get("Message") or code), connection)
        meaning = _MEANINGS.get(code, "{endpoint} answered for {address}: {code}: {said}")
        named = {"bucket": address.bucket, "address": address, "endpoint": connection.endpoint}
        raise SourceProblems([meaning.format(**named, code=shown(code), said=said)]) from None
    except (BotoCoreError, OSError, ValueError) as error:
        said = _without_secrets(str(error), connection)
        name = type(error).__name__
        if name in ("NoCredentialsError", "PartialCredentialsError"):
            said = "there are no credentials; give an access key and a secret key, or the host a role"
        raise Unreachable([f"{address} cannot be read from {connection.endpoint}: {said}"]) from None


def error_code(error: Any) -> str:
    """Return the code of botocore's ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _without_secrets(said: str, connection: Connection) -> str:
    for secret in (connection.secret_key, connection.access_key):
        said = said.replace(secret, "********") if secret else said
    return shown(said)
