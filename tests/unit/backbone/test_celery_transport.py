# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How long a message is offered, and whose name a certificate has to hold. Real brokers: test_broker_cluster, _tls."""

from __future__ import annotations

import ssl
import types
from typing import Any

import pytest

pytest.importorskip("kombu", reason="the transport is kombu's, which is not installed")

from amqp.exceptions import MessageNacked
from kombu.transport import pyamqp

from airflow_backbone import celery_transport


def refusing(times: int) -> Any:
    """A broker's answers: it refuses a message so often, and then takes it."""
    left = iter([True] * times)

    def publish(_channel: Any, *_args: Any, **_kwargs: Any) -> str:
        if next(left, False):
            raise MessageNacked
        return "taken"

    return publish


def test_a_refused_message_is_offered_again_on_the_same_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_transport, "PAUSE", 0)
    monkeypatch.setattr(pyamqp.Channel, "basic_publish_confirm", refusing(20))
    channel = object.__new__(celery_transport.Channel)
    assert channel.basic_publish_confirm("message") == "taken"


def test_a_message_that_is_refused_for_good_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_transport, "PAUSE", 0)
    monkeypatch.setattr(celery_transport, "PATIENCE", 0.01)
    monkeypatch.setattr(pyamqp.Channel, "basic_publish_confirm", refusing(10**9))
    channel = object.__new__(celery_transport.Channel)
    with pytest.raises(MessageNacked):
        channel.basic_publish_confirm("message")


@pytest.mark.parametrize(
    ("tls", "asked_for"),
    [
        ({"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/ca.pem"}, "b"),
        ({"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/ca.pem", "server_hostname": "given"}, "given"),
        ({"cert_reqs": ssl.CERT_REQUIRED}, "b"),
        ({"cert_reqs": ssl.CERT_NONE}, None),
    ],
)
def test_a_node_has_to_prove_its_own_name(
    monkeypatch: pytest.MonkeyPatch, tls: dict[str, Any], asked_for: str | None
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(pyamqp.Transport, "establish_connection", lambda self: seen.append(self.client.ssl))
    transport = object.__new__(celery_transport.Transport)
    before = dict(tls)
    transport.client = types.SimpleNamespace(ssl=tls, hostname="b")
    transport.establish_connection()
    assert seen[0].get("server_hostname") == asked_for
    assert transport.client.ssl is tls
    assert tls == before, "what all connections share was changed"
