# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The deployment description: what the platform shall be, as the inventory's variables say it.

``VARIABLES`` is the whole public interface of the plan. ``read`` turns variables into a ``Description``, or into
every problem that they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import dag_sources, names, resources
from .dag_sources import Source
from .fields import (
    Entry,
    duration,
    flag,
    listing,
    mapping,
    matching,
    nearest,
    one_of,
    read_entry,
    record,
    scalar,
    whole_number,
    words,
)
from .problems import Problem

PLATFORMS = ("systemd", "swarm", "kubernetes")
"""What airflow_platform may be: those of placement.PLATFORMS, which something deploys."""

LONGEST_ENVIRONMENT = 32  # PostgreSQL's 63 bytes for a name hold airflow_<environment>_results and a suffix

_environment = matching(
    rf"(?=.{{1,{LONGEST_ENVIRONMENT}}}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*",
    f"a name of lower-case letters, digits and single hyphens, up to {LONGEST_ENVIRONMENT} characters",
)
_version = matching(r"3\.3\.[0-9]{1,3}", "an Airflow version of the 3.3 series in quotes, such as '3.3.2'")
_storage = matching(
    r"(/[A-Za-z0-9_.-]*[A-Za-z0-9_-]){2,}",
    "an absolute path of two levels or more, of letters, digits, . _ and -, such as /srv/airflow/dags",
)
_bucket = matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name: 3 to 63 lower-case letters, digits, . and -")
_user = matching(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", "a user's name")
_account = matching(r"[0-9]{12}", "the 12 digits of an AWS account, in quotes")
_file = matching(r"[^\x00-\x1f]+", "the path of a file on the machine that Ansible runs on")
_section = matching(r"[a-z][a-z0-9_]*", "a name of lower-case letters, digits and underscores, as in airflow.cfg")

_pool = record(
    {
        "name": Entry(names.name, required=True),
        "queues": Entry(listing(names.queue, unique=""), required=True),
        "concurrency": Entry(whole_number(1, 1000), default=16),
        "replicas": Entry(whole_number(1, 1000)),
        "team": Entry(names.team),
    }
)

_team_user = record(
    {
        "name": Entry(names.name, required=True),
        "role": Entry(one_of("viewer", "user", "op"), default="user"),
        "teams": Entry(listing(names.team, unique=""), required=True),
    }
)

VARIABLES: dict[str, Entry] = {
    "airflow_environment": Entry(_environment, required=True),
    "airflow_version": Entry(_version, default="3.3.2"),
    "airflow_platform": Entry(one_of(*PLATFORMS), default="systemd"),
    "airflow_longest_task": Entry(duration, default=86400),
    "airflow_database_provider": Entry(one_of("postgresql", "kubernetes", "external"), default="postgresql"),
    "airflow_database_url": Entry(names.database_url),
    "airflow_database_results_user": Entry(names.database_user),
    "airflow_broker_provider": Entry(one_of("rabbitmq", "redis", "sqs", "kubernetes", "external"), default="rabbitmq"),
    "airflow_broker_url": Entry(names.broker_url),
    "airflow_broker_users": Entry(mapping(names.name, names.broker_user), default={}),
    "airflow_broker_region": Entry(names.region, default="us-east-1"),
    "airflow_broker_account": Entry(_account),
    "airflow_broker_endpoint_url": Entry(names.url),
    "airflow_broker_tls": Entry(flag, default=False),
    "airflow_broker_tls_certificate": Entry(_file),
    "airflow_broker_tls_ca": Entry(_file),
    "airflow_dag_storage_provider": Entry(one_of("directory", "persistent_volume"), default="directory"),
    "airflow_dag_storage_path": Entry(_storage, default="/srv/airflow/dags"),
    "airflow_object_store_provider": Entry(one_of("swift", "kubernetes"), default="swift"),
    "airflow_log_store_provider": Entry(one_of("s3"), default="s3"),
    "airflow_log_store_bucket": Entry(_bucket),
    "airflow_log_store_endpoint_url": Entry(names.url),
    "airflow_log_store_region": Entry(names.region, default="us-east-1"),
    "airflow_log_store_access_keys": Entry(mapping(names.name, names.access_key), default={}),
    "airflow_dag_sources": Entry(listing(dag_sources.field, unique="name"), required=True),
    "airflow_dags_versions": Entry(mapping(names.name, dag_sources.version), default={}),
    "airflow_dags_only": Entry(words(names.name), default=None),
    "airflow_worker_pools": Entry(listing(_pool, unique="name"), required=True),
    "airflow_default_pool": Entry(names.name),
    "airflow_multi_team": Entry(flag, default=False),
    "airflow_team_users": Entry(listing(_team_user, least=0, unique="name"), default=()),
    "airflow_routing_mode": Entry(one_of("enforce", "assign"), default="enforce"),
    "airflow_api_port": Entry(whole_number(1024, 65535), default=8080),
    "airflow_api_url": Entry(names.url),
    "airflow_api_internal_url": Entry(names.url),
    "airflow_cluster_networks": Entry(listing(names.network, least=0, unique=""), default=()),
    "airflow_admin_user": Entry(_user, default="admin"),
    "airflow_settings": Entry(mapping(_section, mapping(_section, scalar)), default={}),
    "airflow_resources": Entry(resources.field, default={}),
    "airflow_secrets_required": Entry(flag, default=False),
}


@dataclass(frozen=True)
class Pool:
    """One kind of worker: the queues that it consumes, and how many tasks each of its workers runs at once.

    team: the name of its team among Airflow's own, if it says one. replicas: how many workers it has, if it says so.
    """

    name: str
    queues: tuple[str, ...]
    concurrency: int = 16
    team: str | None = None
    replicas: int | None = None


@dataclass(frozen=True)
class TeamUser:
    """Who sees what belongs to some teams, and may do with it what Airflow gives to the role: viewer, user or op."""

    name: str
    role: str
    teams: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """A description whose every value is of the right kind. Fields are VARIABLES without the prefix airflow_.

    unread: names of the fields that stand empty or at their default because what the variable holds is wrong.
    """

    environment: str
    version: str
    platform: str
    longest_task: int
    database_provider: str
    database_url: str | None
    database_results_user: str | None
    broker_provider: str
    broker_url: str | None
    broker_users: dict[str, str]
    broker_region: str
    broker_account: str | None
    broker_endpoint_url: str | None
    broker_tls: bool
    broker_tls_certificate: str | None
    broker_tls_ca: str | None
    dag_storage_provider: str
    dag_storage_path: str
    object_store_provider: str
    log_store_provider: str
    log_store_bucket: str | None
    log_store_endpoint_url: str | None
    log_store_region: str
    log_store_access_keys: dict[str, str]
    dag_sources: tuple[Source, ...]
    dags_versions: dict[str, str]
    dags_only: list[str] | None
    worker_pools: tuple[Pool, ...]
    default_pool: str | None
    multi_team: bool
    team_users: tuple[TeamUser, ...]
    routing_mode: str
    api_port: int
    api_url: str | None
    api_internal_url: str | None
    cluster_networks: Sequence[str]
    admin_user: str
    settings: dict[str, dict[str, str]]
    resources: dict[str, dict[str, dict[str, Any]]]
    secrets_required: bool
    unread: frozenset[str]


def read(variables: Mapping[str, Any], platforms: Sequence[str] = PLATFORMS) -> tuple[Description, list[Problem]]:
    """The description that the variables give, and everything that is wrong with them.

    variables: what the inventory defines, by name; a variable of VARIABLES that is absent or None takes its default.
    Other names are looked at for slips of the pen alone: they may belong to a role.
    platforms: what airflow_platform may be.
    """
    problems: list[Problem] = [*_slips(variables)]
    values: dict[str, Any] = {}
    unread = set()
    for name, entry in {**VARIABLES, "airflow_platform": Entry(one_of(*platforms), default="systemd")}.items():
        field = name.removeprefix("airflow_")
        before = len(problems)
        values[field] = read_entry(entry, variables.get(name), name, problems)
        if len(problems) > before:
            values[field] = entry.default
            unread.add(field)
    sources = values["dag_sources"] or ()
    pools = tuple(
        Pool(pool["name"], tuple(pool["queues"]), pool["concurrency"], pool["team"], pool["replicas"])
        for pool in values["worker_pools"] or ()
    )
    default = next((pool.queues for pool in pools if pool.name == values["default_pool"]), ())
    if values["default_pool"] and not default and "worker_pools" not in unread:
        right = "the name of a worker pool: " + ", ".join(pool.name for pool in pools)
        problems.append(Problem("airflow_default_pool", values["default_pool"], right))
        unread.add("dag_sources")
    conflicts = dag_sources.problems(sources)
    if values["default_pool"] is None:
        conflicts += dag_sources.homeless(sources)
    if conflicts:
        problems += conflicts
        unread.add("dag_sources")
    values["dag_sources"] = tuple(Source.of(source, default) for source in ([] if conflicts else sources))
    values["worker_pools"] = pools
    values["team_users"] = tuple(
        TeamUser(user["name"], user["role"], tuple(user["teams"])) for user in values["team_users"]
    )
    return Description(**values, unread=frozenset(unread)), problems


def _slips(variables: Mapping[str, Any]) -> list[Problem]:
    absent = [name for name in VARIABLES if variables.get(name) is None]
    strangers = (name for name in variables if str(name).startswith("airflow_") and name not in VARIABLES)
    slips = ((name, nearest(name, absent, 0.93)) for name in strangers)
    return [Problem(name, variables[name], f"left out (did you mean {meant}?)") for name, meant in slips if meant]
