# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Docker Engine's own API, over its socket. It wants nothing but Python on the host."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

_SECONDS = 60
"""For one answer; the Engine of a busy manager takes seconds for a list of tasks."""

_FRAME = struct.Struct(">BxxxL")
"""What stands before each piece of a log: which stream it is of, and how long it is."""

Object = dict[str, Any]


class EngineError(Exception):
    """The Engine cannot be asked, or refuses.

    status: its answer's, None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Login:
    """Who takes an image out of its registry."""

    username: str
    password: str

    def header(self, image: str) -> dict[str, str]:
        """What the Engine, and the nodes that it tells, use for an image."""
        words = {"username": self.username, "password": self.password, "serveraddress": image.partition("/")[0]}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(words).encode()).decode()}


class Engine:
    """Asks one Engine, in the newest version of the API that it has."""

    def __init__(self, path: str) -> None:
        """path: the Engine's socket."""
        self._path = path

    def get(self, path: str, **query: Any) -> Any:
        """What the Engine says of something. A query that is a dictionary is sent as JSON, as filters are."""
        return json.loads(self._ask("GET", path, query))

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        """Creates or updates something."""
        answer = self._ask("POST", path, query, json.dumps(body), headers)
        return json.loads(answer) if answer.strip() else None

    def delete(self, path: str) -> None:
        """Removes something; it need not be there."""
        try:
            self._ask("DELETE", path, {})
        except EngineError as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def log(self, path: str, lines: int) -> list[str]:
        """The last lines of a log, of both streams."""
        answer = self._ask("GET", path, {"stdout": 1, "stderr": 1, "tail": lines})
        return unframed(answer).decode(errors="replace").splitlines()

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        words = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()}
        address = quote(path) + (f"?{urlencode(words)}" if words else "")
        connection = _Connection(self._path)
        try:
            connection.request(
                method, address, body, {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
            )
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(
                f"the Docker Engine at {self._path} cannot be asked: {error}. Does docker.service run, and may this user talk"
                " to it?"
            ) from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise EngineError(f"{method} {path}: {_said(content)}", answer.status)
        return content


def unframed(log: bytes) -> bytes:
    """The text of a log, without the headers of its pieces."""
    pieces = []
    at = 0
    while at + _FRAME.size <= len(log):
        _stream, length = _FRAME.unpack_from(log, at)
        at += _FRAME.size
        pieces.append(log[at : at + length])
        at += length
    return b"".join(pieces)


def _said(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, LookupError, TypeError):
        return content.decode(errors="replace").strip()
