# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The package index: which one it is, and what stands on its pages."""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

PIP_CONFIGURATIONS = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


@dataclass(frozen=True)
class Index:
    """Where packages come from."""

    url: str | None
    """None: the installer's own configuration or default."""
    certificates: str | None


def index(url: str | None, environment: Mapping[str, str], configurations: Iterable[str] = PIP_CONFIGURATIONS) -> Index:
    """The index that is asked for, or else the one that this host names in its environment or to its pip.

    uv does not read pip's configuration, so it is handed on.
    """
    parser = configparser.RawConfigParser(strict=False)
    for path in configurations:
        with suppress(OSError, configparser.Error):
            parser.read_string(Path(path).expanduser().read_text(encoding="utf-8", errors="replace"))

    def configured(option: str) -> str | None:
        sections = [name for name in ("install", "global") if parser.has_option(name, option)]
        return parser.get(sections[0], option).strip() if sections else None

    def named(*variables: str) -> str | None:
        return next((environment[name] for name in variables if environment.get(name)), None)

    return Index(
        url=url or named("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL") or configured("index-url") or None,
        certificates=named("SSL_CERT_FILE", "PIP_CERT") or configured("cert") or None,
    )


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def link_to(file: str, page: str, page_url: str) -> str | None:
    """Address of a file on a project's page of a simple index (PEP 503)."""
    parser = _Links()
    parser.feed(page)
    for link in parser.links:
        if unquote(urlsplit(link).path).rsplit("/", 1)[-1] == file:
            return urljoin(page_url, link)
    return None


def without_credentials(url: str) -> tuple[str, str | None, str | None]:
    """Split a URL into one without credentials, the user and the password."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    user, _colon, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password)
