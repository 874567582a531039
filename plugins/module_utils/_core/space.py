# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Room for releases and for the installer's cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils import _host

# Measured with Airflow 3.3.2 and the extras of our lock: 331 MB of packages and 108 MB of bytecode, and 700 MB in the
# installer's cache. Rounded up to what also holds larger locks.
RELEASE_BYTES = 1_000_000_000
CACHE_BYTES = 1_000_000_000


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
