# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Releases of the core on a host: one virtual environment each, side by side.

<root>/<release>/                a virtual environment at its final path, for its scripts name that path
<root>/<release>/release.json    written last: a directory without it is half-built
<root>/current -> <release>      renamed into place
<root>/.sources/<release>/       what the release was built from
<root>/.uv/uv-<version>          the installer
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from ansible_collections.airstack.backbone.plugins.module_utils import _host

RELEASE_FILE = "release.json"
CURRENT = "current"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

# Measured with Airflow 3.3.2 and the extras of our lock: 331 MB of packages and 108 MB of bytecode, and 700 MB in the
# installer's cache. Rounded up to what also holds larger locks.
RELEASE_BYTES = 1_000_000_000
CACHE_BYTES = 1_000_000_000

LOCK_SECONDS = 1800
"""How long to wait for another run that works on the same root or cache: as long as a slow first download may take."""


class CoreError(Exception):
    """The core cannot be installed; the text says what was asked, what was found and what to do."""


@dataclass(frozen=True)
class Release:
    name: str
    is_complete: bool
    built: float
    """When it was completed, in seconds since the epoch; 0 while it is half-built."""


def check_name(release: str) -> None:
    """Refuse what is no name of a release: it becomes the name of a directory, and what a link leads to.

    :raises CoreError: when it is another path, or the link's own name.
    """
    if not _NAME.fullmatch(release) or release == CURRENT:
        raise CoreError(
            f"The release is named {release!r}; give it a name of letters, digits, '.', '_', '+' and '-' that begins with"
            f" a letter or a digit and is not {CURRENT!r}, such as 3.3.2-0a1b2c3d4e5f."
        )


def reason(error: OSError) -> str:
    """What the system says of an error; one that Python raises itself has its text elsewhere."""
    return str(error.strerror or (error.args[0] if error.args else type(error).__name__))


# --- what is there --------------------------------------------------------------------------------------------------


def releases(root: Path) -> list[Release]:
    """All releases under the root, the newest first; half-built ones last."""
    found = []
    with suppress(FileNotFoundError):
        for path in root.iterdir():
            if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
                continue
            marker = path / RELEASE_FILE
            is_complete = marker.is_file()
            found.append(Release(path.name, is_complete, marker.stat().st_mtime if is_complete else 0.0))
    return sorted(found, key=lambda release: (-release.built, release.name))


def current(root: Path) -> str | None:
    """Name of the release that `current` leads to."""
    link = root / CURRENT
    return link.readlink().name if link.is_symlink() else None


@dataclass(frozen=True)
class Space:
    """Room on one file system, in bytes."""

    path: str
    free: int
    needed: int

    @property
    def missing(self) -> int:
        return max(self.needed - self.free, 0)


def space(root: Path, cache: Path) -> list[Space]:
    """Room for one more release and for the installer's cache, per file system that they are on."""
    needed: dict[int, Space] = {}
    for path, size in ((root, RELEASE_BYTES), (cache, CACHE_BYTES)):
        existing = _host.nearest_existing(path)
        device = existing.stat().st_dev
        earlier = needed.get(device, Space(str(path), _host.free_bytes(existing), 0))
        needed[device] = Space(earlier.path, earlier.free, earlier.needed + size)
    return list(needed.values())


def users_of(root: Path, names: Iterable[str], proc: Path = Path("/proc")) -> set[str]:
    """Those of the releases whose files a running process has mapped or was started from.

    The kernel tells what is mapped by its real path, and a command line is as somebody wrote it.
    """
    roots = {str(root), os.path.realpath(root)}
    wanted = {name: [os.fsencode(f"{path}/{name}/") for path in roots] for name in names}
    used: set[str] = set()
    for process in proc.glob("[0-9]*"):
        text = b""
        for file in ("maps", "cmdline"):
            with suppress(OSError):  # it has ended, or is a kernel thread
                text += (process / file).read_bytes()
        used.update(name for name, paths in wanted.items() if any(path in text for path in paths))
    return used


def superfluous(found: list[Release], *, keep: int, current_name: str, in_use: Iterable[str]) -> list[str]:
    """Releases that may go: half-built ones and all complete ones but the newest `keep`.

    `found` is ordered as `releases` gives it. The current release and those in use stay, and count among the kept ones
    only where they are among the newest.
    """
    complete = [release.name for release in found if release.is_complete and release.name != current_name]
    kept = {current_name, *complete[: max(keep - 1, 0)], *in_use}
    return [release.name for release in found if release.name not in kept]


# --- one at a time --------------------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends.

    :raises CoreError: when another process has held it for so long.
    """
    with path.open("w") as stream:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CoreError(
                        f"Another process has held {path} for {seconds:.0f} seconds; end it, then run this again."
                    ) from None
                time.sleep(0.2)
        yield


# --- the package index ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """Where packages come from."""

    url: str | None
    """None: the installer's own configuration or default."""
    certificates: str | None


PIP_CONFIGURATIONS = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


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


# --- the installer --------------------------------------------------------------------------------------------------

Fetch = Callable[[str], bytes]
"""Answers with what stands at an address.

:raises CoreError: when it cannot be had.
"""


def install_uv(target: Path, *, wheel: str, sha256: str, index_url: str, cache: Path | None, fetch: Fetch) -> None:
    """Put the installer's program at `target`, out of the wheel that the index has.

    Not by pip: a minimal Debian has neither pip nor ensurepip. A wheel kept in the cache saves hosts that share it the
    download; its hash is looked at wherever it comes from.

    :raises CoreError: when the index has no such file, or another one of that name.
    """
    kept = cache / ".airstack" / wheel if cache else None
    content = b""
    if kept:
        with suppress(OSError):
            content = kept.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        page_url = index_url.rstrip("/") + "/uv/"
        link = link_to(wheel, fetch(page_url).decode("utf-8", "replace"), page_url)
        if link is None:
            raise CoreError(f"The package index has no {wheel}; mirror it, or name a uv that the host has.")
        content = fetch(link)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise CoreError(f"{wheel} has the hash {found} in the package index, and {sha256} was locked.")
        if kept:
            kept.parent.mkdir(exist_ok=True)
            _write(kept, content, 0o644)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/scripts/uv")), None)
        if name is None:
            raise CoreError(f"{wheel} holds no program uv.")
        target.parent.mkdir(exist_ok=True)
        _write(target, archive.read(name), 0o755)
    for other in target.parent.iterdir():
        if other != target:
            other.unlink()


def _write(path: Path, content: bytes, mode: int) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.chmod(mode)
    aside.rename(path)


# --- build, switch, prune -------------------------------------------------------------------------------------------


def start(root: Path, release: str) -> Path:
    """Make room at the release's path: whatever stands there without its marker is half-built."""
    path = root / release
    if path.exists():
        shutil.rmtree(path)
    return path


def finish(path: Path, about: Mapping[str, Any]) -> None:
    """Mark a release as complete."""
    _write(path / RELEASE_FILE, (json.dumps(about, indent=2, sort_keys=True) + "\n").encode(), 0o644)


def switch(root: Path, release: str) -> None:
    """Let `current` lead to a release."""
    aside = root / f".{CURRENT}"
    with suppress(FileNotFoundError):
        aside.unlink()
    aside.symlink_to(release)
    aside.rename(root / CURRENT)


def remove(root: Path, release: str) -> None:
    """Remove a release: its marker first, so that a removal cut short leaves nothing that looks complete."""
    with suppress(FileNotFoundError):
        (root / release / RELEASE_FILE).unlink()
    shutil.rmtree(root / release)
    shutil.rmtree(root / ".sources" / release, ignore_errors=True)
