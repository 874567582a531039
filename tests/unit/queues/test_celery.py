# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused before a broker is asked, and what never shows."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _celery
from ansible_collections.airstack.backbone.plugins.modules import worker_queues, worker_queues_info

ASSIGNMENTS = [{"workers": "etl@*", "queues": ["etl"]}]
REDIS_TLS = {"ssl_ca_certs": "/ca"}
URL = "amqp://airflow:s3cret@broker1:5672/airflow"


@pytest.fixture(name="refused")
def message_of_the_module(run_module: Any) -> Any:
    def refused(**arguments: Any) -> str:
        result = run_module(worker_queues.main, **{"assignments": ASSIGNMENTS, **arguments})
        assert result["failed"]
        message: str = result["msg"]
        return message

    return refused


@pytest.mark.parametrize("url", ["sqs://key:secret@", "sqs+https://sqs.eu-central-1.amazonaws.com"])
def test_sqs_is_refused_with_what_to_do(refused: Any, url: str, run_module: Any) -> None:
    message = refused(broker_url=url)
    assert message.startswith("SQS has no remote control")
    assert "one after the other" in message
    assert run_module(worker_queues_info.main, broker_url=url)["msg"] == message


def test_a_broker_without_fanout_is_refused() -> None:
    pytest.importorskip("celery", reason="needs Celery, which is not installed here")
    with pytest.raises(_celery.BrokerError, match="pyro has no fanout"):
        _celery.Broker(_celery.Address("pyro://")).open()


@pytest.mark.parametrize(("scheme", "words"), [("nonsense", "No such transport: nonsense"), ("redis", "redis library")])
def test_what_this_python_does_not_speak_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str, words: str) -> None:
    kombu_redis = pytest.importorskip("kombu.transport.redis", reason="needs Celery, which is not installed here")
    monkeypatch.setattr(kombu_redis, "redis", None)
    with pytest.raises(_celery.BrokerError, match=f"{words}.*that begins with amqp, amqps, redis") as refusal:
        _celery.Broker(_celery.Address(f"{scheme}://airflow:s3cret@broker1")).open()
    assert "s3cret" not in str(refusal.value)


def test_an_authority_without_a_file_is_named(refused: Any) -> None:
    assert refused(broker_url=URL, ca_path="/none.pem") == "ca_path: a file that can be read is needed, found /none.pem"


def test_an_url_without_a_scheme_is_refused_without_showing_it(refused: Any) -> None:
    message = refused(broker_url="airflow:s3cret@broker1")
    assert "no scheme" in message
    assert "s3cret" not in message


def test_one_url_is_needed(refused: Any) -> None:
    assert "broker_url" in refused()
    assert "mutually exclusive" in refused(broker_url=URL, broker_url_file="/x")


@pytest.mark.parametrize(("content", "words"), [(None, "No such file or directory"), ("\n", "is empty")])
def test_a_file_without_an_url_is_named(refused: Any, tmp_path: Path, content: str | None, words: str) -> None:
    place = tmp_path / "broker_url"
    if content is not None:
        place.write_text(content, encoding="utf-8")
    message = refused(broker_url_file=str(place))
    assert str(place) in message
    assert words in message


@pytest.mark.parametrize("option", ["timeout", "answer_timeout"])
def test_no_time_at_all_is_refused(refused: Any, option: str) -> None:
    assert refused(broker_url=URL, **{option: 0}) == f"{option}: 0.1 seconds or more are needed, found 0"


def test_a_python_without_celery_is_told_what_to_do(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_celery, "IMPORT_ERROR", "Traceback: no module")
    message = refused(broker_url=URL)
    assert "celery" in message
    assert "ansible_python_interpreter: /opt/airflow/core/current/bin/python" in message


@pytest.mark.parametrize(
    "url",
    [
        "amqp://airflow:p%40ss@broker1:5672/airflow",
        "redis://:p%40ss@broker1:6379/0",
        "sentinel://:p%40ss@s1:26379/0;sentinel://:p%40ss@s2:26379/0",
    ],
)
def test_no_text_holds_a_password(url: str) -> None:
    address = _celery.Address(url)
    assert "p%40ss" not in str(address)
    assert str(address).count("**") == url.count("p%40ss")
    said = address.without_secrets(f"cannot connect to {url}: p@ss and p%40ss are wrong")
    assert "ss are" not in said.replace("** are", "")
    assert "p@ss" not in said
    assert "p%40ss" not in said


def test_a_password_that_is_not_encoded_is_hidden_whole() -> None:
    assert str(_celery.Address("amqp://airflow:p@ss/word@broker1/x")) == "amqp://airflow:**@broker1/x"


@pytest.mark.parametrize(
    ("url", "validate", "expected"),
    [
        ("amqp://h", True, None),
        ("amqps://h", None, {"context": {"check_hostname": True}, "server_hostname": None}),
        ("amqps://h", True, {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/ca", "server_hostname": None}),
        ("amqps://h", False, {"cert_reqs": ssl.CERT_NONE, "ca_certs": "/ca", "server_hostname": None}),
        ("rediss://h", True, {**REDIS_TLS, "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}),
        ("rediss://h", False, {**REDIS_TLS, "ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}),
        ("sentinel://h", True, None),
    ],
)
def test_certificates_are_verified_unless_that_is_declined(url: str, validate: bool | None, expected: Any) -> None:
    """None: by the machine's own authorities."""
    ca = None if validate is None else "/ca"
    assert _celery.Address(url, validate_certs=validate is not False, ca_path=ca).tls() == expected


def test_sentinels_have_the_login_and_the_tls_of_the_servers() -> None:
    url = "sentinel://airflow:p%40ss@s1:26379/0;sentinel://airflow:p%40ss@s2:26379/0"
    address = _celery.Address(url, transport_options={"master_name": "airflow"}, ca_path="/ca", is_encrypted=True)
    options = address.options()
    assert options["master_name"] == "airflow"
    assert options["unacked_key"] == "scheduler.unacked"
    expected = {"username": "airflow", "password": "p@ss", "ssl": True, **(address.tls() or {})}
    assert expected.items() <= options["sentinel_kwargs"].items()
    assert _celery.Address("amqp://h", transport_options={"a": 1}).options() == {"a": 1}


def test_what_waits_without_an_end_is_ended() -> None:
    words = r"asked, and the broker kept us waiting for more than 0.05 s"
    with pytest.raises(_celery.BrokerError, match=words), _celery.limited(0.05, "asked"):
        time.sleep(5)
    time.sleep(0.1)
