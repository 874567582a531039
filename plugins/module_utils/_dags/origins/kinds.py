# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The origin that a source's options name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import given_origin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Origin

Options = Mapping[str, Any]


def origin(source: Options, cache: Path) -> Origin:
    """Return a source's origin.

    :param source: options as `arguments.SOURCE` has them, with one of ORIGINS
    :param cache: a directory of this host, for what an origin keeps from one time to the next
    """
    return _KINDS[str(given_origin(source))](source, cache)


def _directory(source: Options, _cache: Path) -> Origin:
    return DirectoryOrigin(Path(source["path"]), source["subdirectory"], source["exclude"])


_KINDS: dict[str, Callable[[Options, Path], Origin]] = {"path": _directory}
