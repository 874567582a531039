# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan: all that follows from a description and an inventory, before anything is touched.

Pure: no I/O, no Ansible, no secret. The result is a plain dictionary, which every role reads as ``airflow_plan``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import (
    brokers,
    dag_sources,
    databases,
    demands,
    description,
    object_stores,
    placement,
    resources,
    secrets,
    settings,
    teams,
    timeouts,
)
from .dag_sources import Source
from .description import Description
from .inventory import Inventory
from .placement import CENTRAL
from .problems import Problem
from .routing import Routing

SENTINEL = ".airflow-dag-storage"
"""The file whose presence tells the DAG share from an empty mount point."""

ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""An IPv4 address or a host name (RFC 1123), not an IPv6 address, whose form differs from place to place."""

SERVICE_GROUPS = (databases.GROUP, brokers.GROUP, object_stores.GROUP)
"""The groups whose hosts provide a service."""


def make(
    variables: Mapping[str, Any], inventory: Inventory, platforms: Sequence[str] = description.PLATFORMS
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The plan of a platform, or None and every problem of its description.

    variables: the inventory's variables by name (see description.VARIABLES).
    inventory: groups and addresses of the hosts. platforms: those that are offered, of all that placement knows.
    """
    described, problems = description.read(variables, platforms)
    sources, strangers = dag_sources.overridden(described.dag_sources, described.dags_versions)
    routing = Routing(sources, described.worker_pools)
    problems += settings.problems(described.settings)
    if not described.unread & {"broker_provider", "longest_task"}:
        problems += timeouts.problems(described.longest_task, brokers.kind(described))
    problems += _placement_problems(described, inventory)
    if "worker_pools" not in described.unread:
        problems += _reserved(described)
    if not described.unread & {"dag_sources", "worker_pools"}:
        problems += routing.problems()
        if not described.unread & {"multi_team", "team_users"}:
            problems += teams.problems(described, routing, settings.sections(described.settings))
    if "dag_sources" not in described.unread:
        problems += [*strangers, *dag_sources.strangers(sources, described.dags_only or ())]
    if problems:
        return None, problems
    made = _plan(described, sources, inventory, routing)
    problems = [
        *resources.problems(described.resources, made["components"], placement.of(described).others(described)),
        *demands.collisions(made),
        *placement.of(described).collisions(made),
    ]
    return (None, problems) if problems else (made, [])


def _reserved(described: Description) -> list[Problem]:
    """Names that mean something else already."""
    pools = [pool.name for pool in described.worker_pools]
    core = [
        Problem(f"airflow_worker_pools[{at}].name", name, "another name: core means the central components")
        for at, name in enumerate(pools)
        if name == "core"
    ]
    strangers = [
        Problem(f"airflow_log_store_access_keys.{name}", key, "the key of core or of a pool: core, " + ", ".join(pools))
        for name, key in described.log_store_access_keys.items()
        if name not in ("core", *pools)
    ]
    return core + strangers


def _placement_problems(described: Description, inventory: Inventory) -> list[Problem]:
    """What of the inventory the services and the platform cannot be placed by."""
    return [
        *databases.problems(described, inventory),
        *placement.of(described).problems(described, inventory),
        *brokers.problems(described, inventory),
        *_clusterless(described),
        *object_stores.problems(
            described.object_store_provider,
            described.platform,
            publishes_in_pod=placement.publishes_in_pod(described),
            inventory=inventory,
        ),
        *_unreachable(inventory),
    ]


def _clusterless(described: Description) -> list[Problem]:
    """What only a cluster provides, on another platform."""
    if described.platform == "kubernetes" or described.dag_storage_provider != placement.PERSISTENT_VOLUME:
        return []
    right = f"directory, which something else shares: {described.platform} has no volume claims"
    return [Problem("airflow_dag_storage_provider", described.dag_storage_provider, right)]


def _unreachable(inventory: Inventory) -> list[Problem]:
    """Addresses that stand in URLs, listen directives and access lists alike."""
    return [
        Problem(f"hostvars['{host}'].airflow_address", address, "an IPv4 address or a host name")
        for host, address in inventory.addresses.items()
        if not ADDRESS.fullmatch(address)
    ]


def _plan(described: Description, sources: Sequence[Source], inventory: Inventory, routing: Routing) -> dict[str, Any]:
    named = teams.of(described, routing)
    team_of = {pool: team.name for team in named for pool in team.pools}
    components = _components(described, inventory, team_of)
    platform = placement.of(described)
    nodes = platform.nodes(inventory)
    api = _api(described, inventory, components)
    log_store = _log_store(described, inventory)
    dag_storage = _dag_storage(described, inventory, components)
    broker = brokers.make(described, inventory, routing.queues)
    database = _database(described, inventory, components)
    return {
        "environment": described.environment,
        "platform": described.platform,
        "airflow_version": described.version,
        "longest_task": described.longest_task,
        "timeouts": timeouts.solve(described.longest_task, brokers.kind(described)),
        "nodes": nodes,
        "delegate": platform.delegates(inventory)[0],
        "hosts": _hosts(inventory, nodes, components, dag_storage["publisher"]),
        "database": database,
        "broker": broker,
        "dag_storage": dag_storage,
        "log_store": log_store,
        "sources": [_source(source, routing, team_of) for source in sources],
        "dags_only": described.dags_only,
        "pools": [
            {
                "name": pool.name,
                "queues": list(pool.queues),
                "sources": routing.sources_of(pool),
                "concurrency": pool.concurrency,
                "team": team_of.get(pool.name),
                **placement.of_pool(described, inventory, pool),
            }
            for pool in described.worker_pools
        ],
        "teams": [{"name": team.name, "pools": list(team.pools), "sources": list(team.sources)} for team in named],
        "routing": routing.file(described),
        "api": api,
        "components": components,
        "settings": described.settings,
        "resources": described.resources,
        "secrets": secrets.needed(sources, database, broker, log_store, api["users"]),
        "secrets_required": described.secrets_required,
    }


def _source(source: Source, routing: Routing, team_of: Mapping[str, str]) -> dict[str, Any]:
    pools = routing.pools_of(source)
    return {
        "name": source.name,
        "place": source.place,
        "origin": dict(source.origin),
        "secret": source.secret and {"name": source.secret, "option": source.secret_option},
        "view_url": source.view_url,
        "queues": list(source.queues),
        "default_queue": source.queues[0],
        "pools": pools,
        "team": team_of.get(pools[0]),
    }


def _components(described: Description, inventory: Inventory, team_of: Mapping[str, str]) -> list[dict[str, Any]]:
    """What runs where: name, kind, pool (None for the central components), team (None where it is for all), and how it is
    placed: hosts, replicas, machines.

    Triggers that no team has are the common triggerer's alone, those of a team its own triggerer's.
    """
    named: list[tuple[str, str, str | None]] = [(kind, kind, None) for kind in CENTRAL]
    named += [(f"triggerer-{team}", "triggerer", team) for team in dict.fromkeys(team_of.values())]
    central = [
        {
            "name": name,
            "kind": kind,
            "pool": None,
            "team": team,
            **placement.of_central(described, inventory, name, kind),
        }
        for name, kind, team in named
    ]
    workers = [
        {
            "name": f"worker-{pool.name}",
            "kind": "worker",
            "pool": pool.name,
            "team": team_of.get(pool.name),
            **placement.of_pool(described, inventory, pool),
        }
        for pool in described.worker_pools
    ]
    return central + workers


def _hosts_of(components: list[dict[str, Any]], *kinds: str) -> list[str]:
    found = {host: None for component in components if component["kind"] in kinds for host in component["hosts"]}
    return list(found)


def _hosts(
    inventory: Inventory, nodes: Sequence[str], components: list[dict[str, Any]], publisher: str
) -> list[dict[str, str]]:
    services = [host for group in SERVICE_GROUPS for host in inventory.hosts(group)]
    names = dict.fromkeys([*services, *nodes, *_hosts_of(components, *CENTRAL, "worker"), publisher])
    return [{"name": name, "address": inventory.address(name)} for name in names]


def _database(described: Description, inventory: Inventory, components: list[dict[str, Any]]) -> dict[str, Any]:
    made = databases.make(described, inventory)
    name, results = made["user"], made["results_user"]
    central, workers = _hosts_of(components, *CENTRAL), _hosts_of(components, "worker")
    users = {host: [name, results] if host in central else [results] for host in dict.fromkeys(central + workers)}
    return {
        **made,
        "clients": [
            *({"name": host, "address": inventory.address(host), "users": allowed} for host, allowed in users.items()),
            # Nobody knows on which node, and so by which address, a pod of a component will be.
            *(
                {"name": "pods", "address": net, "users": [name, results]}
                for net in databases.networks(described.database_provider, described.cluster_networks)
            ),
        ],
    }


def _dag_storage(described: Description, inventory: Inventory, components: list[dict[str, Any]]) -> dict[str, Any]:
    publishers = placement.of(described).publishers(inventory, _hosts_of(components, "dag-processor"))
    return {
        "provider": described.dag_storage_provider,
        "path": described.dag_storage_path,
        "publisher": publishers[0],
        "publishes_in_pod": placement.publishes_in_pod(described),
        "readers": _hosts_of(components, "dag-processor", "worker"),
        "sentinel": SENTINEL,
    }


def _log_store(described: Description, inventory: Inventory) -> dict[str, Any]:
    bucket = described.log_store_bucket or f"airflow-{described.environment}-logs"
    store = object_stores.make(described.object_store_provider, inventory)
    endpoint = f"http://{store['address']}:{store['port']}" if store else None
    return {
        "provider": described.log_store_provider,
        "bucket": bucket,
        "prefix": "logs",
        "url": f"s3://{bucket}/logs",
        "endpoint_url": described.log_store_endpoint_url or endpoint,
        "region": described.log_store_region,
        "service": store["service"] if store and not described.log_store_endpoint_url else None,
        "identities": _identities(described, store),
        "object_store": store,
    }


def _identities(described: Description, store: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Who reads and writes logs with keys of its own; whoever is not listed uses the role of its machine."""
    given = described.log_store_access_keys
    listed = []
    for name in ("core", *(pool.name for pool in described.worker_pools)):
        pool = None if name == "core" else name
        own = f"{store['account']}:{f'pool-{pool}' if pool else 'core'}" if store else None
        if access_key := given.get(name, own):
            listed.append(
                {
                    "name": name,
                    "access_key": access_key,
                    "secret": f"log_store_{pool}" if pool else "log_store",
                    "given": name in given,
                    "pool": pool,
                }
            )
    return listed


def _api(described: Description, inventory: Inventory, components: list[dict[str, Any]]) -> dict[str, Any]:
    hosts = _hosts_of(components, "api-server")
    platform = placement.of(described)
    own = f"http://{platform.api_name(inventory, hosts)}:{described.api_port}"
    internal = described.api_internal_url or own
    entrance = platform.entrance(inventory)
    return {
        "url": described.api_url or (f"http://{entrance}:{described.api_port}" if entrance else internal),
        "internal_url": internal,
        "execution_url": f"{internal}/execution/",
        "port": described.api_port,
        "hosts": hosts,
        "servers": platform.servers(described, inventory, hosts),
        "admin_user": described.admin_user,
        "users": teams.users(described),
    }
