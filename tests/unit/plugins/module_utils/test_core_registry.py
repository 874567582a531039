# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a registry is asked, in the words of the distribution specification and of Docker's token authentication."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.registry import (
    Answer,
    Manifest,
    Registry,
    Repository,
    credentials,
    repository,
)

BODY = json.dumps({"config": {"digest": "sha256:0a"}}).encode()
PLACE = Repository("registry.example.com", "data/airflow")
URL = "https://registry.example.com/v2/data/airflow/manifests/1.0"
REALM = "https://auth.example.com/token"
CHALLENGE = f'Bearer realm="{REALM}",service="registry.example.com",scope="repository:data/airflow:pull"'
BASIC = "Basic " + base64.b64encode(b"builder:p:w").decode()


class Server:
    """A server that answers by address and Authorization, and notes what it was asked."""

    def __init__(self, answers: Mapping[tuple[str, str | None], Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, url: str, headers: Mapping[str, str]) -> Answer:
        self.asked.append(url)
        return self.answers[url, headers.get("Authorization")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example.com/data/airflow", PLACE),
        ("localhost:5000/airflow", Repository("localhost:5000", "airflow")),
        ("[::1]:5000/airflow", Repository("[::1]:5000", "airflow")),
        ("localhost/airflow", None),
        ("airflow", None),
        ("library/airflow", None),
    ],
)
def test_a_name_tells_its_registry(text: str, expected: Repository | None) -> None:
    assert repository(text) == expected


def test_an_image_is_named_by_the_hash_of_its_manifest() -> None:
    server = Server({(URL, None): Answer(200, {}, BODY)})
    found = Registry(server, tls=True, username=None, password=None).manifest(PLACE, "1.0")
    assert found == Manifest("sha256:" + hashlib.sha256(BODY).hexdigest(), "0a")


def test_what_is_not_there_is_none() -> None:
    server = Server({(URL.replace("https", "http"), BASIC): Answer(404, {}, b"")})
    assert Registry(server, tls=False, username="builder", password="p:w").manifest(PLACE, "1.0") is None


def test_a_token_is_fetched_where_the_registry_wants_one() -> None:
    token_url = f"{REALM}?service=registry.example.com&scope=repository%3Adata%2Fairflow%3Apull"
    server = Server(
        {
            (URL, BASIC): Answer(401, {"www-authenticate": CHALLENGE}, b""),
            (token_url, BASIC): Answer(200, {}, b'{"token": "t"}'),
            (URL, "Bearer t"): Answer(200, {}, BODY),
        }
    )
    assert Registry(server, tls=True, username="builder", password="p:w").manifest(PLACE, "1.0") is not None
    assert server.asked == [URL, token_url, URL]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, {"www-authenticate": 'Basic realm="r"'}, b""), "answered 401: it wants credentials, or others"),
        (Answer(403, {}, b'{"errors": [{"code": "DENIED", "message": "not yours"}]}'), "answered 403: not yours"),
        (Answer(500, {}, b"<html>"), "answered 500: it gives no reason"),
    ],
)
def test_a_refusal_is_told(answer: Answer, said: str) -> None:
    with pytest.raises(CoreError, match=said):
        Registry(Server({(URL, None): answer}), tls=True, username=None, password=None).manifest(PLACE, "1.0")


def test_credentials_are_what_builders_read() -> None:
    auth = BASIC.removeprefix("Basic ")
    assert json.loads(credentials(PLACE, "builder", "p:w")) == {"auths": {"registry.example.com": {"auth": auth}}}
