# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Containers of OpenStack Swift behind its own authentication (tempauth, swauth: version 1), and who may use them.

What a container shall be is compared in pure functions; `Swift` does the calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import Request, SSLValidationError

SEGMENTS_SUFFIX = "+segments"
"""Swift's s3api keeps the parts of a multipart upload in a container of this name (swift.common.middleware.s3api)."""

READ_HEADER = "X-Container-Read"
WRITE_HEADER = "X-Container-Write"


ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "auth_url": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "key": {"type": "str", "required": True, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 10},
}


class SwiftError(Exception):
    """Swift answered, and not what was asked for."""


class SwiftUnavailableError(SwiftError):
    """Nothing answered, or it does not know the user (yet)."""


@dataclass(frozen=True)
class Grants:
    """Who may use a container: the entries of its two access control lists, sorted."""

    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """What sets them. An empty value removes a list."""
        return {READ_HEADER: ",".join(self.readers), WRITE_HEADER: ",".join(self.writers)}

    def as_dict(self) -> dict[str, list[str]]:
        return {"readers": list(self.readers), "writers": list(self.writers)}


@dataclass(frozen=True)
class Container:
    name: str
    grants: Grants
    objects: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, **self.grants.as_dict(), "objects": self.objects, "bytes": self.bytes}


def grants(readers: Sequence[str], writers: Sequence[str]) -> Grants:
    """The grants for these users (`account:user`), whatever their order and however often each is named."""
    return Grants(tuple(sorted(set(readers))), tuple(sorted(set(writers))))


def parse_grants(headers: Mapping[str, str]) -> Grants:
    """The grants that the headers of a container's answer tell."""
    return grants(_entries(headers.get(READ_HEADER)), _entries(headers.get(WRITE_HEADER)))


def _entries(value: str | None) -> list[str]:
    return [entry for entry in map(str.strip, (value or "").split(",")) if entry]


def names(container: str, *, segments: bool) -> list[str]:
    """The containers that make up one bucket, in the order in which to make them: it is of use once the last exists."""
    return [container + SEGMENTS_SUFFIX, container] if segments else [container]


def changes(found: Mapping[str, Container | None], wanted: Grants) -> list[str]:
    """The containers that are missing or have other grants than ``wanted``."""
    return [name for name, container in found.items() if container is None or container.grants != wanted]


def after(found: Mapping[str, Container | None], wanted: Grants) -> list[Container]:
    """The containers as they are when all of them have the grants ``wanted``."""
    return [
        replace(container, grants=wanted) if container else Container(name, wanted, 0, 0)
        for name, container in found.items()
    ]


def difference(found: Mapping[str, Container | None], wanted: Grants) -> dict[str, dict[str, Any]]:
    """Ansible's diff: the grants of each container that changes, by name."""
    changed = changes(found, wanted)
    before = {name: container.grants.as_dict() for name, container in found.items() if container and name in changed}
    return {"before": before, "after": {name: wanted.as_dict() for name in changed}}


def connect(parameters: Mapping[str, Any]) -> Swift:
    """The account that a module's parameters name (see ARGUMENT_SPEC).

    Raises SwiftError where they cannot be sent, and whatever Swift raises.
    """
    for name in ("user", "key"):
        if not _is_sendable(parameters[name]):
            raise SwiftError(
                f"{name} is empty or holds something other than printable ASCII (a newline, an umlaut); it is sent in a"
                " header of HTTP, which takes nothing else. Give another one. It is not shown, for it may be secret."
            )
    return Swift(
        parameters["auth_url"],
        parameters["user"],
        parameters["key"],
        validate_certs=parameters["validate_certs"],
        ca_path=parameters["ca_path"],
        timeout=parameters["timeout"],
    )


def _is_sendable(text: str) -> bool:
    """Whether a header of HTTP carries a text as it is."""
    return bool(text) and text == text.strip() and text.isascii() and text.isprintable()


class Swift:
    """One account of a Swift, as one of its users."""

    def __init__(self, auth_url: str, user: str, key: str, **request: Any) -> None:
        """Ask for a token.

        ``request`` are the arguments of ansible.module_utils.urls.Request. Raises SwiftUnavailableError.
        """
        self._request = Request(http_agent="ansible-httpget", **request)
        self._auth_url = auth_url
        status, headers, _body = self._call("GET", auth_url, {"X-Auth-User": user, "X-Auth-Key": key})
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise SwiftUnavailableError(
                f"{auth_url} answered {status}: it does not know the user {user}, or has another key."
            )
        token, self._url = headers.get("X-Auth-Token"), headers.get("X-Storage-Url")
        if status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT) or not token or not self._url:
            raise SwiftError(
                f"{auth_url} answered {status} without a token: this is not the version 1 authentication of a Swift, which"
                " stands at http(s)://HOST:PORT/auth/v1.0"
            )
        self._token = {"X-Auth-Token": token}

    def container(self, name: str) -> Container | None:
        """The container as it is, or None where there is none."""
        status, headers, _body = self._call("HEAD", self._container_url(name), self._token)
        if status == HTTPStatus.NOT_FOUND:
            return None
        self._expect(status, "look at", name)
        return Container(
            name,
            parse_grants(headers),
            int(headers.get("X-Container-Object-Count", 0)),
            int(headers.get("X-Container-Bytes-Used", 0)),
        )

    def containers(self) -> list[str]:
        """The names of all containers of the account."""
        found: list[str] = []
        while True:
            url = f"{self._url}?format=json&marker={quote(found[-1] if found else '', safe='')}"
            status, _headers, body = self._call("GET", url, self._token)
            if status == HTTPStatus.NOT_FOUND:  # The account comes into being with its first container.
                return found
            self._expect(status, "list", "the account's containers")
            page = [entry["name"] for entry in json.loads(body or "[]")]
            if not page:
                return found
            found += page

    def put(self, name: str, wanted: Grants) -> None:
        """Make the container, or give one that exists these grants and no others."""
        status, _headers, _body = self._call("PUT", self._container_url(name), {**self._token, **wanted.headers()})
        self._expect(status, "write", name)

    def _container_url(self, name: str) -> str:
        return f"{self._url}/{quote(name, safe='')}"

    def _expect(self, status: int, deed: str, name: str) -> None:
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise SwiftError(f"Swift refused to {deed} {name}: it answered {status}.")

    def _call(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], str]:
        try:
            answer = self._request.open(method, url, headers=dict(headers))
            return answer.status, _by_name(answer.headers), answer.read().decode()
        except HTTPError as error:
            return error.code, _by_name(error.headers), ""
        except (HTTPException, ValueError) as error:
            # Their text may quote a header that was sent, and so the key.
            raise SwiftUnavailableError(
                f"No Swift answers at {self._auth_url}: what is there speaks no HTTP, or that is no address"
                f" ({type(error).__name__})."
            ) from None
        except (URLError, SSLValidationError, UrlConnectionError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise SwiftUnavailableError(f"No Swift answers at {self._auth_url}: {reason}.") from error


def _by_name(headers: Message) -> dict[str, str]:
    """Headers under their names as this module writes them, whatever case the server prefers."""
    return {name.title(): value for name, value in headers.items()}
