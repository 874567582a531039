# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The origin that a source's options name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import given_origin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Origin

# Each kind is imported where it is needed: Ansible sends a module as source, and the host compiles what it imports.

Options = Mapping[str, Any]

ELSEWHERE = "; if it is on the managed host, set remote_src to true"
ON_CONTROLLER = f" on the controller{ELSEWHERE}"
"""What to say on the controller of a path that is not there."""


def on_host(name: str) -> str:
    """Return the same for a managed host."""
    return f" on {name}; if it is on the controller, leave remote_src out"


def origin(source: Options, cache: Path, searched: str = "") -> Origin:
    """Return a source's origin.

    :param source: options as `arguments.SOURCE` has them, with one of ORIGINS
    :param cache: a directory of this host, for what an origin keeps from one time to the next
    :param searched: what to say of a path that is not here: where this is, and where else it may be
    """
    return _KINDS[str(given_origin(source))](source, cache, searched)


def _directory(source: Options, _cache: Path, searched: str) -> Origin:
    from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryOrigin

    return DirectoryOrigin(Path(source["path"]), source["subdirectory"], source["exclude"], searched)


def _git(source: Options, cache: Path, _searched: str) -> Origin:
    from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import GitAccess
    from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin

    access = GitAccess(source["ssh_key"], source["token"], source["username"], source["known_hosts"])
    return GitOrigin(
        source["repository"],
        cache / "git",
        source["version"],
        source["subdirectory"],
        source["exclude"],
        source["submodules"],
        source["lfs"],
        access,
    )


def _archive(source: Options, _cache: Path, searched: str) -> Origin:
    from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.archive.origin import ArchiveOrigin

    return ArchiveOrigin(
        Path(source["archive"]), source["sha256"], source["subdirectory"], source["exclude"], searched=searched
    )


def _s3(source: Options, _cache: Path, _searched: str) -> Origin:
    from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.client import (
        Connection,
        parse_address,
    )
    from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.origin import S3Origin

    connection = Connection(source["endpoint_url"], source["region"], source["access_key"], source["secret_key"])
    return S3Origin(
        parse_address(source["s3"]), connection, source["subdirectory"], source["exclude"], source["sha256"]
    )


_KINDS: dict[str, Callable[[Options, Path, str], Origin]] = {
    "path": _directory,
    "repository": _git,
    "archive": _archive,
    "s3": _s3,
}
