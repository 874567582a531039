# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks a broker that speaks AMQP 0-9-1 who consumes its queues.

A program for another interpreter than the module's, one that has an AMQP client, as Airflow's own environment has:
``python -c "$(cat _amqp.py)"``, with the broker and the queues as JSON on standard input, where no process list shows them.
"""

from __future__ import annotations

import json
import ssl
import sys
import tempfile
from typing import Any

try:
    import amqp  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    amqp = None


def ask(asked: dict[str, Any]) -> dict[str, Any]:
    """What the broker says: {"queues": {name: {"consumers", "messages"} or {"error"}}}, or {"error"} for all of them.

    asked: places, a list of {host, port} of which the first that answers is asked, vhost, user, password, is_tls, ca
    (the authority's certificate; without one, those that the machine knows), seconds (to wait for each answer) and queues, a
    list of names.
    A passive declaration changes nothing, and any broker answers it, one that a cloud manages included.
    """
    answers = []
    for place in asked["places"]:
        answers.append(_ask(place, asked))
        if "error" not in answers[-1]:
            return answers[-1]
    return {"error": ", ".join(dict.fromkeys(answer["error"] for answer in answers))}


def _ask(place: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    if not asked["is_tls"]:
        return _converse(place, asked, False)
    tls = {"server_hostname": place["host"]}
    if not asked.get("ca"):
        # py-amqp looks at no name without ca_certs.
        return _converse(place, asked, {**tls, "context": {"check_hostname": True}})
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".pem") as ca:
        ca.write(asked["ca"])
        ca.flush()
        return _converse(place, asked, {**tls, "cert_reqs": ssl.CERT_REQUIRED, "ca_certs": ca.name})


def _converse(place: dict[str, Any], asked: dict[str, Any], tls: dict[str, Any] | bool) -> dict[str, Any]:
    connection = amqp.Connection(
        host=f"{place['host']}:{place['port']}",
        login_method="PLAIN",
        userid=asked["user"],
        password=asked["password"],
        virtual_host=asked["vhost"],
        ssl=tls,
        connect_timeout=asked["seconds"],
        read_timeout=asked["seconds"],
    )
    try:
        connection.connect()
        answer = {"queues": {name: _queue(connection, name) for name in asked["queues"]}}
        connection.close()
    except (OSError, amqp.AMQPError) as error:
        return {"error": getattr(error, "reply_text", None) or str(error) or type(error).__name__}
    return answer


def _queue(connection: Any, name: str) -> dict[str, Any]:
    channel = connection.channel()
    try:
        declared = channel.queue_declare(queue=name, passive=True)
        channel.close()
    except amqp.ChannelError as error:
        return {"error": error.reply_text}
    return {"consumers": declared.consumer_count, "messages": declared.message_count}


def main() -> None:
    """Read from standard input, write to standard output."""
    missing = {"error": f"{sys.executable} has no AMQP client"}
    json.dump(ask(json.load(sys.stdin)) if amqp else missing, sys.stdout)


if __name__ == "__main__":
    main()
