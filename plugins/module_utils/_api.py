# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Airflow's REST API: one server's answers as plain data, and the first of several servers that answers."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ansible.module_utils.basic import AnsibleModule

Answer = TypeVar("Answer")

ANSWER_SECONDS = 30
"""The first token of an API server that has just started took 8 s on two busy cores."""

PAGE = 100
"""[api] maximum_page_limit as Airflow ships it; a server that gives less is asked again from there."""

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "port": {"type": "int", "default": 8080},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
"""The arguments of airstack.backbone.api, the documentation fragment."""


class Refused(Exception):
    """The API answered that it will not."""


class Failed(OSError):
    """The API answered with another status than those of success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Location(NamedTuple):
    """Where an API server is: scheme http or https, and the path that its own paths are below, without a slash last."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def location(address: str, port: int) -> Location:
    """The place that an address names: a host's name or IP address, with `port`; or a URL, which brings its own.

    :raises ValueError: it is a URL of another kind
    """
    if "://" not in address:
        return Location("http", address.strip("[]"), port, "")
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{address} is no http or https URL of an API server")
    return Location(url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80), url.path.rstrip("/"))


class Api:
    """An API server's answers as plain data.

    Raises Refused for the statuses 401 and 403, and one of UNANSWERED where nothing useful came: Failed for any other
    status of 400 and more.
    """

    UNANSWERED = (OSError, HTTPException, ValueError, KeyError)

    def __init__(self, address: str, port: int, trust: ssl.SSLContext | None = None) -> None:
        # Not open_url: that makes a TLS context for each request, which takes longer than the request.
        self.location = location(address, port)
        host, port = self.location.host, self.location.port
        self._connection = (
            HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=trust)
            if self.location.scheme == "https"
            else HTTPConnection(host, port, timeout=ANSWER_SECONDS)
        )
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The answer to a GET below /api/v2/; a list in the query is repeated."""
        return self._object("GET", f"/api/v2/{path}?{urlencode(query, doseq=True)}" if query else f"/api/v2/{path}")

    def put(self, path: str) -> None:
        """Send a PUT without content below /api/v2/."""
        self._ask("PUT", f"/api/v2/{path}")

    def all(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=PAGE, offset=len(found), **query)
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    def walk(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """All pages of a list that Airflow reads by cursor: none that stays is missed while others leave.

        Only DagRuns and task instances are read so. An Airflow that does not know cursors gives a ValueError.
        """
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(path, limit=PAGE, cursor=cursor, **query)
            found += page[key]
            if "next_cursor" not in page:
                raise ValueError(f"/api/v2/{path} is not read by cursor in this Airflow")
            cursor = page["next_cursor"]
        return found

    def log_in(self, user: str, password: str) -> None:
        """Get a token for all further requests."""
        body = json.dumps({"username": user, "password": password})
        token = self._object("POST", "/auth/token", body)["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._connection.close()

    def _object(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        read = json.loads(self._ask(method, path, body))
        if isinstance(read, dict):
            return read
        raise ValueError(f"{path.partition('?')[0]} gave no JSON object")

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        self._connection.request(method, self.location.path + path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status in (401, 403):
            raise Refused(f"{answer.status} {answer.reason}")
        if answer.status >= 400:
            raise Failed(f"{path.partition('?')[0]} gave {answer.status} {answer.reason}", answer.status)
        return content


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def reason(error: Exception) -> str:
    """Why an API server did not answer, for a person."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def trusted(module: AnsibleModule) -> ssl.SSLContext:
    """Whose certificates are believed, from a module's arguments. Fails the module where `ca_path` cannot be read."""
    context = ssl.create_default_context()
    ca_path = module.params["ca_path"]
    try:
        if ca_path:
            context.load_verify_locations(ca_path)
    except OSError as error:
        module.fail_json(msg=f"ca_path: {ca_path} holds no certificates in PEM format: {reason(error)}")
    if not module.params["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def first_answer(
    parameters: Mapping[str, Any], context: ssl.SSLContext, question: Callable[[Api], Answer]
) -> tuple[Answer | None, str]:
    """The answer of the first of a module's `hosts` that takes the user and answers the question whole, and its URL.

    Where there is none: None, and what each of them said.
    """
    reasons = []
    for address in parameters["hosts"]:
        try:
            api = Api(address, parameters["port"], context)
        except ValueError as error:
            reasons.append(str(error))
            continue
        try:
            api.log_in(parameters["user"], parameters["password"])
            return question(api), str(api.location)
        except Refused as error:
            reasons.append(f"{api.location} refuses the user {parameters['user']}: {error}")
        except Api.UNANSWERED as error:
            reasons.append(f"{api.location}: {reason(error)}")
        finally:
            api.close()
    return None, _joined(reasons)


def _joined(reasons: Iterable[str]) -> str:
    return "; ".join(reasons) or "no API server was named"
