# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of Redis and its Sentinels out of the standard library: the protocol RESP2, one question at a time."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Any

SECONDS = 10
"""For an answer."""

SHOWN = 40
"""Bytes of an answer that is not understood."""

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 6379},
    "tls": {"type": "dict", "options": {"ca_path": {"type": "path"}, "name": {"type": "str"}}},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "settings": {"type": "dict", "default": {}},
}
"""The options with which a module reaches a server, and of how it shall be set (doc fragment airstack.backbone.redis)."""


class Refused(Exception):
    """The server's own words, such as "NOPERM this user has no permissions to run the 'config|get' command"."""


def trusting(ca: str | None) -> ssl.SSLContext:
    """TLS that knows servers by an authority's certificate, as PEM; by the machine's own authorities without one."""
    # What is not ASCII stands between the certificates, as names of authorities do.
    return ssl.create_default_context(cadata=ca.encode("ascii", "ignore").decode() if ca else None)


class Redis:
    """A connection that is logged in. Raises Refused, and OSError where there is no server.

    name: whom the certificate of a server with TLS has to name, where that is not the host.
    """

    UNANSWERED = (OSError, EOFError)

    def __init__(
        self,
        host: str,
        port: int,
        login: tuple[str | None, str | None] = (None, None),
        tls: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
        name: str | None = None,
    ) -> None:
        connected = socket.create_connection((host, port), timeout=seconds)
        self._socket = tls.wrap_socket(connected, server_hostname=name or host) if tls else connected
        self._file = self._socket.makefile("rb")
        user, password = login
        try:
            if password:
                self.call("AUTH", *([user] if user else []), password)
        except (Refused, *self.UNANSWERED):
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def call(self, *words: str) -> Any:
        """The answer to a command: str, int, None or a list of these."""
        self._socket.sendall(command(words))
        return self._read()

    def info(self, section: str) -> dict[str, str]:
        """What INFO says of a section."""
        lines = [line.partition(":") for line in str(self.call("INFO", section)).splitlines()]
        return {key: value for key, colon, value in lines if colon}

    def settings(self, *names: str) -> dict[str, str]:
        """What CONFIG GET says of these settings; one that the server does not know is missing."""
        answer = [value for name in names for value in self.call("CONFIG", "GET", name)]
        return dict(zip(answer[::2], answer[1::2]))

    def _read(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection was closed")
        kind, text = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            raise Refused(text)
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == "-1" else self._bulk(int(text))
        if kind == b"*":
            return None if text == "-1" else [self._read() for _index in range(int(text))]
        if kind != b"+":
            raise EOFError(f"the answer is none of Redis's: {line[:SHOWN].decode(errors='replace')!r}")
        return text

    def _bulk(self, size: int) -> str:
        read = self._file.read(size + 2)
        if len(read) < size + 2:
            raise EOFError("the connection was closed")
        return read[:-2].decode(errors="replace")


def connect(options: Mapping[str, Any], place: tuple[str, int] | None = None) -> Redis:
    """A connection to the server of a module's options, with their user and password.

    place: another server that is known in the same way. Raises as Redis does.
    """
    tls = options["tls"]
    host, port = place or (options["host"], options["port"])
    return Redis(
        host,
        port,
        (options["user"], options["password"]),
        None if tls is None else ssl.create_default_context(cafile=tls["ca_path"]),
        name=tls and tls["name"],
    )


def command(words: tuple[str, ...]) -> bytes:
    """A command as RESP2 writes it."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def ask(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a broker says: {"queues": {name: {"messages", "consumers"} or {"error"}}, "settings"}, or {"error"} for all.

    asked: host, port, user, password, tls, and users, by queue the names of the users that wait for its tasks, or None.
    consumers is None without them, and where the broker does not tell who is connected. settings: of those in INFO, by
    the names of redis.conf.
    """
    try:
        with closing(Redis(asked["host"], asked["port"], (asked["user"], asked["password"]), asked["tls"])) as redis:
            waiting = _waiting(redis)
            queues = {queue: _queue(redis, queue, users, waiting) for queue, users in asked["users"].items()}
            return {"queues": queues, "settings": told(redis)}
    except (Refused, *Redis.UNANSWERED) as error:
        return {"error": str(error) or type(error).__name__}


def master(
    sentinels: list[tuple[str, int]],
    name: str,
    login: tuple[str | None, str | None],
    tls: ssl.SSLContext | None = None,
) -> tuple[str, int]:
    """Where the Sentinels say that the master is: the first that answers. Raises OSError with the reasons of all."""
    reasons = []
    for host, port in sentinels:
        try:
            with closing(Redis(host, port, login, tls)) as sentinel:
                found = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        except (Refused, *Redis.UNANSWERED) as error:
            reasons.append(f"{host}:{port}: {error}")
            continue
        if found:
            return str(found[0]), int(found[1])
        reasons.append(f"{host}:{port}: it knows no master {name}")
    raise OSError("no Sentinel names a master (" + "; ".join(reasons) + ")")


def _queue(redis: Redis, queue: str, users: list[str] | None, waiting: dict[str, int] | None) -> dict[str, Any]:
    try:
        messages = redis.call("LLEN", queue)
    except Refused as error:
        return {"error": str(error)}
    if users is None or waiting is None:
        return {"messages": messages, "consumers": None}
    return {"messages": messages, "consumers": sum(waiting.get(user, 0) for user in users)}


def _waiting(redis: Redis) -> dict[str, int] | None:
    """How many connections of each user take tasks: a worker has one, whose last command stays BRPOP."""
    try:
        listed = str(redis.call("CLIENT", "LIST"))
    except Refused:
        return None
    return waiting(listed)


def waiting(clients: str) -> dict[str, int]:
    """The same out of what CLIENT LIST says."""
    counted: dict[str, int] = {}
    for line in clients.splitlines():
        told = dict(word.partition("=")[::2] for word in line.split())
        if told.get("cmd") == "brpop":
            counted[told["user"]] = counted.get(told["user"], 0) + 1
    return counted


def told(redis: Redis) -> dict[str, str]:
    """The settings that INFO shows; none where it may not be asked."""
    try:
        memory, persistence = redis.info("memory"), redis.info("persistence")
    except Refused:
        return {}
    found = {}
    if "maxmemory_policy" in memory:
        found["maxmemory-policy"] = memory["maxmemory_policy"]
    if "aof_enabled" in persistence:
        found["appendonly"] = "yes" if persistence["aof_enabled"] == "1" else "no"
    return found
