# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A source of DAGs as a description has it: where its content comes from, and where its tasks may run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import names
from .fields import Entry, flag, listing, matching, one_of, record
from .problems import Problem
from .view_url import view_url_template

_absolute = matching(r"/(?!.*(//|/\.\.?(/|\Z)))[^\0\n]*[^/\0\n]", "an absolute path without . and .. in it")
_subdirectory = matching(r"(?!/)(?!(.*/)?\.\.?(/|\Z))[^\0\n]+", "a relative path that stays inside the source")
_pattern = matching(r"[^\0\n]+", "a file name pattern, such as *.md or tests/")
_repository = matching(
    r"(?!-)(?!ext::)[^\s\0]{1,1000}",
    "a Git repository's address, such as https://git.example.com/etl/dags.git or git@git.example.com:etl/dags.git",
)
version = matching(r"(?![-/.])[^\s\0~^:?*\[\\]{1,250}", "a branch, tag or commit")
_sha256 = matching(r"[0-9a-f]{64}", "a SHA-256 checksum: 64 digits and letters from a to f")
_s3 = matching(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\0\n]*",
    "an address such as s3://bucket/dags/etl/ (all objects below it) or s3://bucket/dags/etl.tar.gz (an archive)",
)
_user = matching(r"[^\s\0:/@]{1,128}", "a user's name")
_known_hosts = matching(r"[^\0]{1,100000}", "lines of a known_hosts file")
_view_url = matching(r"https?://[^\s\0]{1,1000}", "an address in which {commit} stands for the commit")

ORIGINS: dict[str, tuple[str, ...]] = {
    "path": ("remote_src",),
    "repository": ("version", "submodules", "lfs", "credential", "username", "known_hosts", "view_url"),
    "archive": ("remote_src", "sha256"),
    "s3": ("endpoint_url", "region", "access_key", "sha256"),
}
"""Where a source's content may come from, by the key that says so, each with the keys that go with it alone."""

_EVERYWHERE = ("subdirectory", "exclude")

field = record(
    {
        "name": Entry(names.name, required=True),
        "queues": Entry(listing(names.queue, unique="")),
        "path": Entry(_absolute),
        "repository": Entry(_repository),
        "archive": Entry(_absolute),
        "s3": Entry(_s3),
        "subdirectory": Entry(_subdirectory),
        "exclude": Entry(listing(_pattern, least=0), default=[]),
        "remote_src": Entry(flag),
        "version": Entry(version),
        "submodules": Entry(flag),
        "lfs": Entry(flag),
        "credential": Entry(one_of("token", "ssh_key")),
        "username": Entry(_user),
        "known_hosts": Entry(_known_hosts),
        "view_url": Entry(_view_url),
        "sha256": Entry(_sha256),
        "endpoint_url": Entry(names.url),
        "region": Entry(names.region),
        "access_key": Entry(names.access_key),
    }
)
"""How a source is read; `Source.of` makes one of what it gives, and `problems` says what does not go together."""


@dataclass(frozen=True)
class Source:
    """A source of DAGs.

    queues: where its tasks may run, the first by default. origin: the options of dag_sync that say where its content comes
    from, without secrets. secret_option: the option of dag_sync that holds its secret, if it has one. view_url: the address
    of a release, as Airflow's bundles have it.
    """

    name: str
    queues: tuple[str, ...]
    origin: Mapping[str, Any]
    secret_option: str | None = None
    view_url: str | None = None

    @classmethod
    def of(cls, read: Mapping[str, Any], default_queues: Sequence[str]) -> Source:
        """The source that a record without problems describes.

        :param default_queues: where its tasks may run if it does not say
        """
        kind = next((key for key in ORIGINS if read[key] is not None), None)
        keys = [*ORIGINS[kind], *_EVERYWHERE, kind] if kind else _EVERYWHERE
        options = {key: read[key] for key in keys if read[key] is not None}
        credential = options.pop("credential", None)
        view_url = options.pop("view_url", None)
        return cls(
            read["name"],
            tuple(read["queues"] or default_queues),
            options,
            "secret_key" if "access_key" in options else credential,
            view_url_template(options["repository"], view_url) if kind == "repository" else None,
        )

    @property
    def place(self) -> str:
        """Where the content comes from, for a person."""
        return str(next((self.origin[kind] for kind in ORIGINS if kind in self.origin), ""))

    @property
    def secret(self) -> str | None:
        """The name of its secret: the variable is airflow_secret_<name>."""
        return f"source_{self.name}" if self.secret_option else None


def problems(sources: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """What does not go together in sources whose keys are all right one by one."""
    return [problem for at, read in enumerate(sources) for problem in _of_one(f"airflow_dag_sources[{at}]", read)]


def homeless(sources: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Sources that name no queue."""
    right = "a list of at least 1, or a pool for what names none in airflow_default_pool"
    return [
        Problem(f"airflow_dag_sources[{at}].queues", None, right)
        for at, read in enumerate(sources)
        if read["queues"] is None
    ]


def overridden(sources: Sequence[Source], versions: Mapping[str, str]) -> tuple[list[Source], list[Problem]]:
    """The sources with other versions than the description gives them, and the versions that are for none of them."""
    of_git = {source.name for source in sources if "repository" in source.origin}
    found = [
        Problem(
            f"airflow_dags_versions.{name}", version, "the version of a source with a repository: " + _listed(of_git)
        )
        for name, version in versions.items()
        if name not in of_git
    ]
    changed = [
        Source(
            source.name,
            source.queues,
            {**source.origin, "version": versions[source.name]} if source.name in versions else source.origin,
            source.secret_option,
            source.view_url,
        )
        for source in sources
    ]
    return changed, found


def strangers(sources: Sequence[Source], only: Sequence[str]) -> list[Problem]:
    """Names in airflow_dags_only that are no source's."""
    known = [source.name for source in sources]
    return [
        Problem(f"airflow_dags_only[{at}]", name, "the name of a source: " + _listed(known))
        for at, name in enumerate(only)
        if name not in known
    ]


def _of_one(where: str, read: Mapping[str, Any]) -> Iterator[Problem]:
    kinds = [key for key in ORIGINS if read[key] is not None]
    if len(kinds) != 1:
        yield Problem(
            where,
            {key: read[key] for key in kinds} or None,
            "one of " + ", ".join(ORIGINS) + ": where the DAGs come from",
        )
        return
    others = {key for keys in ORIGINS.values() for key in keys} - {*ORIGINS[kinds[0]]}
    for key in sorted(others):
        if read[key] is not None:
            owners = " or ".join(kind for kind, keys in ORIGINS.items() if key in keys)
            yield Problem(
                f"{where}.{key}", read[key], f"left out: it goes with {owners}, and this source has {kinds[0]}"
            )
    if kinds == ["repository"]:
        yield from _of_repository(where, read)
    if kinds == ["s3"] and read["sha256"] is not None and str(read["s3"]).endswith("/"):
        yield Problem(
            f"{where}.sha256", read["sha256"], "left out: the address names all objects below it, not an archive"
        )


def _of_repository(where: str, read: Mapping[str, Any]) -> Iterator[Problem]:
    address = str(read["repository"])
    is_web = address.startswith(("https://", "http://"))
    if is_web and "@" in address.split("/")[2]:
        right = "without user and password: put them into username and, with credential: token, the source's secret"
        yield Problem(f"{where}.repository", address, right)
    if read["credential"] == "token" and not address.startswith("https://"):
        right = "ssh_key, or an address that begins with https://, for a token goes over nothing else"
        yield Problem(f"{where}.credential", "token", right)
    if read["credential"] == "ssh_key" and is_web:
        yield Problem(f"{where}.credential", "ssh_key", "token, or an address for SSH")
    if read["username"] is not None and read["credential"] != "token":
        yield Problem(f"{where}.username", read["username"], "left out: it goes with credential: token")
    if read["view_url"] is not None:
        try:
            view_url_template(address, read["view_url"])
        except ValueError as error:
            yield Problem(f"{where}.view_url", read["view_url"], str(error))


def _listed(known: Any) -> str:
    return ", ".join(sorted(known)[:20]) or "there is none"
