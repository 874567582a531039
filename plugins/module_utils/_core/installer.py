# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The program that installs packages, uv."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.index import link_to
from ansible_collections.airstack.backbone.plugins.module_utils._core.writing import write

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
            write(kept, content, 0o644)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/scripts/uv")), None)
        if name is None:
            raise CoreError(f"{wheel} holds no program uv.")
        target.parent.mkdir(exist_ok=True)
        write(target, archive.read(name), 0o755)
    for other in target.parent.iterdir():
        if other != target:
            other.unlink()
