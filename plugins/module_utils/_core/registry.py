# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A registry of images, asked what it holds (OCI distribution specification)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError

MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_REPOSITORY = re.compile(r"(?P<host>[^/\s]+)/(?P<name>[a-z0-9._/-]+)")


class Answer(NamedTuple):
    """What a server said: status, headers with names in lower case, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[[str, Mapping[str, str]], Answer]
"""Asks for an address with headers.

:raises CoreError: no server answers
"""


class Repository(NamedTuple):
    """A repository of images: the registry's host, with its port, and the name there."""

    host: str
    name: str


class Manifest(NamedTuple):
    """An image in a registry: the hash that names it for good, and the id that it has on a host."""

    digest: str
    image: str

    def is_image(self, identity: str) -> bool:
        """Whether it is that of an image of a host. Docker with containerd's store names an image by its manifest."""
        return identity in (self.image, self.digest.removeprefix("sha256:"))


def repository(text: str) -> Repository | None:
    """The repository that a name tells; None where that names no registry, so that the image stays on its host."""
    found = _REPOSITORY.fullmatch(text)
    if found is None or found["host"] == "localhost" or not re.search(r"[.:]", found["host"]):
        return None
    return Repository(found["host"], found["name"])


class Registry:
    """A registry, with the credentials for it."""

    def __init__(self, ask: Ask, *, tls: bool, username: str | None, password: str | None) -> None:
        self._ask = ask
        self._scheme = "https" if tls else "http"
        self._basic = basic(username, password) if username else None

    def manifest(self, place: Repository, name: str) -> Manifest | None:
        """The image of a tag or digest; None where the registry has none.

        :raises CoreError: it does not answer, or refuses
        """
        url = f"{self._scheme}://{place.host}/v2/{place.name}/manifests/{name}"
        said = self._ask(url, {"Accept": MANIFESTS, **({"Authorization": self._basic} if self._basic else {})})
        if said.status == 401:
            token = self._token(said.headers.get("www-authenticate", ""))
            said = self._ask(url, {"Accept": MANIFESTS, "Authorization": f"Bearer {token}"}) if token else said
        if said.status == 404:
            return None
        if said.status != 200:
            raise CoreError(f"{url} answered {said.status}: {_reason(said)}.")
        return Manifest(f"sha256:{hashlib.sha256(said.body).hexdigest()}", _image(said.body))

    def _token(self, challenge: str) -> str | None:
        """A token of the registry's own token server (Docker's token authentication); None where it asks for no token."""
        asked = dict(_CHALLENGE.findall(challenge))
        realm = asked.pop("realm", None)
        if not challenge.lower().startswith("bearer ") or not realm:
            return None
        wanted = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
        said = self._ask(f"{realm}?{wanted}", {"Authorization": self._basic} if self._basic else {})
        if said.status != 200:
            raise CoreError(f"{realm} answered {said.status}: {_reason(said)}.")
        content = json.loads(said.body)
        return str(content.get("token") or content.get("access_token"))


def basic(username: str, password: str | None) -> str:
    """What a user and a password are as a header, and in a file of credentials."""
    return "Basic " + base64.b64encode(f"{username}:{password or ''}".encode()).decode()


def credentials(place: Repository, username: str, password: str | None) -> str:
    """The file of credentials that builders read."""
    return json.dumps({"auths": {place.host: {"auth": basic(username, password).removeprefix("Basic ")}}})


def _image(body: bytes) -> str:
    try:
        return str(json.loads(body)["config"]["digest"]).removeprefix("sha256:")
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(said: Answer) -> str:
    try:
        (first, *_others) = json.loads(said.body)["errors"]
        return str(first.get("message") or first["code"])
    except (ValueError, KeyError, TypeError):
        return {401: "it wants credentials, or others", 403: "it refuses"}.get(said.status, "it gives no reason")
