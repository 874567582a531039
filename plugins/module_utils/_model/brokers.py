# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The message broker in the plan: what each provider takes, and what is known of it before it is there.

Every provider gives the same keys, whatever speaks behind them:

- provider; kind: amqp, redis or sqs, which decides what Celery is told; scheme: of Celery's address
- nodes: {name, address, port} of each host of the inventory that runs it
- service: the name by which a cluster provides it; None elsewhere
- user, secret: the scheduler's user, and the name of its password among the secrets; None where a machine's role serves
- queues: every queue; pools: {name, user, secret, queues, worker_names} of each pool

Further keys are a provider's own (see its function).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import databases, names, placement
from .description import Description, Pool
from .inventory import Inventory
from .problems import Problem

GROUP = "airflow_broker"
"""The hosts that run the broker."""

SECRET = "broker"
"""The scheduler's password among the secrets; a pool's has the pool's name after it."""

SERVICE = "broker"
"""What the broker is called in a cluster."""

OWN = ("rabbitmq", "redis", "kubernetes")
"""The providers whose users are made here, one for each pool, and their passwords with them."""

DEAD_LETTERS = "dead_letters"
"""The SQS queue of the messages that no worker could finish."""

RECEIVES = 10
"""Deliveries of one message before SQS puts it among the dead letters: an SQS worker that is killed gives none back."""

OPERATOR_SECRET = "redis_operator"
"""The secret from which the passwords of Redis's users that are no clients derive; no pool's name can make it."""

LONGEST_SQS_NAME = 80
"""Characters of a queue's name (SQS, CreateQueue)."""

CA_FILE = "broker_ca.pem"
"""The authority's certificate among the files of a component."""

SENTINEL_MASTER = "airflow"
"""What the Sentinels call the Redis that they watch."""

COOKIE = f"{SECRET}_cookie"
"""The Erlang cookie of a RabbitMQ cluster among the secrets: who has it may command every node."""

QUORUM = 3
"""Nodes that hold a copy of each quorum queue: RabbitMQ's own number, of which one may fail."""

TLS_KEY = f"{SECRET}_tls_key"
"""The private key of the nodes' certificate among the secrets."""

PORT_MAPPER = 4369
"""Erlang's port mapper, where the nodes of a cluster find each other."""

DISTRIBUTION = 25672
"""Where they reach each other, and who operates them commands them: RabbitMQ's default, 20000 above that of AMQP."""

_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}


@dataclass(frozen=True)
class Provider:
    """hosts: how many of the group there may be. make: the provider's part of the plan. problems: what it refuses."""

    hosts: tuple[int, ...]
    make: Callable[[Description, Inventory, Sequence[str]], dict[str, Any]]
    problems: Callable[[Description], list[Problem]] = lambda _described: []


def kind(described: Description) -> str:
    """What the broker speaks: amqp, redis or sqs."""
    if described.broker_provider == "external":
        return "redis" if (described.broker_url or "").startswith("redis") else "amqp"
    return {"rabbitmq": "amqp", "kubernetes": "amqp"}.get(described.broker_provider, described.broker_provider)


def connect(component: Mapping[str, Any], endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The component with the certificate by which it knows the broker, where it is a client of one with TLS."""
    if not endpoint.get("ca") or "broker_url" not in component["credentials"]:
        return dict(component)
    return {
        **component,
        "files": {**component["files"], CA_FILE: endpoint["ca"]},
        "environment_files": {**component["environment_files"], "AIRFLOW__CELERY__SSL_CACERT": {"file": CA_FILE}},
    }


def make(described: Description, inventory: Inventory, queues: Sequence[str]) -> dict[str, Any]:
    """The plan's broker."""
    own = PROVIDERS[described.broker_provider].make(described, inventory, queues)
    return {
        "provider": described.broker_provider,
        "kind": kind(described),
        "service": None,
        **own,
        "queues": list(queues),
        "pools": [_pool(described, own["user"], pool, inventory) for pool in described.worker_pools],
    }


def problems(described: Description, inventory: Inventory) -> list[Problem]:
    """What the chosen provider cannot take."""
    provider = PROVIDERS[described.broker_provider]
    hosts = inventory.groups.get(GROUP, ())
    found = [
        *provider.problems(described),
        *_unreached(described),
        *_cluster_problems(described, inventory),
        *_tls_problems(described),
    ]
    if len(hosts) not in provider.hosts:
        found.append(Problem(f"groups['{GROUP}']", list(hosts), _wanted(described.broker_provider, provider.hosts)))
    if described.broker_url is not None and described.broker_provider != "external":
        found.append(
            Problem("airflow_broker_url", described.broker_url, "left out: airflow_broker_provider is not external")
        )
    names = ("core", *(pool.name for pool in described.worker_pools))
    return found + [
        Problem(f"airflow_broker_users.{name}", user, "the user of core or of a pool: " + ", ".join(names))
        for name, user in described.broker_users.items()
        if name not in names
    ]


def _unreached(described: Description) -> list[Problem]:
    """A broker in the cluster, where there is none, or no pod that sees whether it is well."""
    variable, provider = "airflow_broker_provider", described.broker_provider
    outside = databases.outside(variable, provider, described.platform)
    if outside or provider != "kubernetes" or placement.publishes_in_pod(described):
        return outside
    right = (
        "another provider, or airflow_dag_storage_provider persistent_volume: no host reaches it to see that it is well"
    )
    return [Problem(variable, provider, right)]


def _cluster_problems(described: Description, inventory: Inventory) -> list[Problem]:
    """Addresses that cannot be Erlang's names of nodes side by side, and a secret of two meanings."""
    hosts = inventory.hosts(GROUP)
    if described.broker_provider != "rabbitmq" or len(hosts) < 2:
        return []
    addresses = {host: inventory.address(host) for host in hosts}
    is_long = "." in addresses[hosts[0]]
    right = "an address or a name with a domain" if is_long else "a name without a domain"
    mixed = [
        Problem(
            f"hostvars['{host}'].airflow_address", address, f"{right}, as that of {hosts[0]}: Erlang mixes no others"
        )
        for host, address in addresses.items()
        if ("." in address) != is_long
    ]
    twice = [
        Problem(f"hostvars['{host}'].airflow_address", address, "an address of its own: another node has this one")
        for at, (host, address) in enumerate(addresses.items())
        if address in list(addresses.values())[:at]
    ]
    return [*mixed, *twice, *_taken(described, COOKIE, "the cookie of the broker's cluster")]


def _tls_problems(described: Description) -> list[Problem]:
    """A certificate that is missing, and what contradicts it."""
    if not described.broker_tls:
        return []
    if described.broker_provider not in TLS_PROVIDERS:
        right = f"left out: the platform's own {' or '.join(TLS_PROVIDERS)} is what takes it"
        return [Problem("airflow_broker_tls", described.broker_tls, right)]
    files = {
        "broker_tls_certificate": "the file of the nodes' certificate, with all of their addresses in it",
        "broker_tls_ca": "the file of the authority's certificate, which clients know them by",
    }
    missing = [
        Problem(f"airflow_{name}", None, right)
        for name, right in files.items()
        if getattr(described, name) is None and name not in described.unread
    ]
    decided = [
        Problem(f"airflow_settings.celery.{key}", value, "left out: airflow_broker_tls decides it")
        for key, value in described.settings.get("celery", {}).items()
        if key.startswith("ssl_")
    ]
    return [*missing, *decided, *_taken(described, TLS_KEY, "the key of the broker's certificate")]


def _taken(described: Description, secret: str, meaning: str) -> list[Problem]:
    """Pools whose user would have a secret that means something else."""
    return [
        Problem(f"airflow_worker_pools[{at}].name", pool.name, f"another name: airflow_secret_{secret} is {meaning}")
        for at, pool in enumerate(described.worker_pools)
        if f"{SECRET}_{pool.name}" == secret
    ]


def _wanted(provider: str, hosts: tuple[int, ...]) -> str:
    if provider == "kubernetes":
        return "no host: the cluster provides it"
    if hosts == (0,):
        return f"no host: {provider} is provided elsewhere"
    return f"{' or '.join(str(number) for number in hosts)} host{'' if hosts == (1,) else 's'}, which run {provider}"


def _pool(described: Description, user: str | None, pool: Pool, inventory: Inventory) -> dict[str, Any]:
    given = described.broker_users.get(pool.name)
    has_own = described.broker_provider in OWN or given is not None
    return {
        "name": pool.name,
        "user": given or (f"{user}-{pool.name}" if has_own else user),
        "secret": f"{SECRET}_{pool.name}" if has_own else (SECRET if user else None),
        "queues": list(pool.queues),
        "worker_names": [
            f"{pool.name}@{machine}" for machine in placement.of_pool(described, inventory, pool)["machines"]
        ],
    }


def _nodes(inventory: Inventory, port: int) -> list[dict[str, Any]]:
    return [{"name": host, "address": inventory.address(host), "port": port} for host in inventory.hosts(GROUP)]


def _rabbitmq(described: Description, inventory: Inventory, _queues: Sequence[str]) -> dict[str, Any]:
    """host, port, vhost: where clients go; in a cluster, to any of the nodes. cluster: None of one node, or see _cluster.

    tls: None, or the files {certificate, ca} on the controller, and secret, the name of the key among the secrets.
    """
    scheme = "amqps" if described.broker_tls else "amqp"
    nodes = _nodes(inventory, _PORTS[scheme])
    user = f"airflow-{described.environment}"
    return {
        "scheme": scheme,
        "nodes": nodes,
        "host": nodes[0]["address"],
        "port": nodes[0]["port"],
        "vhost": user,
        "user": user,
        "secret": SECRET,
        "cluster": _cluster(nodes) if len(nodes) > 1 else None,
        "tls": _tls(described) if described.broker_tls else None,
    }


def _kubernetes(described: Description, _inventory: Inventory, _queues: Sequence[str]) -> dict[str, Any]:
    """As of one RabbitMQ on a host. What passes stays in the cluster, behind network policies, and is not encrypted."""
    user = f"airflow-{described.environment}"
    return {
        "scheme": "amqp",
        "nodes": [],
        "service": SERVICE,
        "host": SERVICE,
        "port": _PORTS["amqp"],
        "vhost": user,
        "user": user,
        "secret": SECRET,
        "cluster": None,
        "tls": None,
    }


def _cluster(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How several nodes of RabbitMQ become one broker.

    nodes: Erlang's names, by host. has_long_names: whether these hold an address or a domain, which Erlang must be told.
    secret: the name of the cookie among the secrets. copies: of each queue. ports: between the nodes.
    """
    return {
        "nodes": {node["name"]: f"rabbit@{node['address']}" for node in nodes},
        "has_long_names": "." in nodes[0]["address"],
        "secret": COOKIE,
        "copies": min(QUORUM, len(nodes)),
        "ports": [PORT_MAPPER, DISTRIBUTION],
    }


def _tls(described: Description) -> dict[str, Any]:
    return {
        "certificate": described.broker_tls_certificate,
        "ca": described.broker_tls_ca,
        "secret": TLS_KEY,
    }


def _redis(described: Description, inventory: Inventory, _queues: Sequence[str]) -> dict[str, Any]:
    """host, port, vhost (the number of the database): where clients go. sentinel: where they ask for it instead.

    sentinel: None, or {master_name, nodes}: each host runs a Redis and a Sentinel.
    operator_secret: of the users that are no clients (see _services.redis.ROLES). tls: as of RabbitMQ.
    """
    direct = "rediss" if described.broker_tls else "redis"
    nodes = _nodes(inventory, _PORTS[direct])
    is_watched = len(nodes) > 1
    return {
        "scheme": "sentinel" if is_watched else direct,
        "nodes": nodes,
        "host": nodes[0]["address"],
        "port": nodes[0]["port"],
        "vhost": "0",
        "user": f"airflow-{described.environment}",
        "secret": SECRET,
        "operator_secret": OPERATOR_SECRET,
        "sentinel": {"master_name": SENTINEL_MASTER, "nodes": _nodes(inventory, 26379)} if is_watched else None,
        "tls": _tls(described) if described.broker_tls else None,
    }


def _external(described: Description, _inventory: Inventory, _queues: Sequence[str]) -> dict[str, Any]:
    """host, port, vhost: where clients go."""
    found = names.BROKER_URL.fullmatch(described.broker_url or "")
    parts: Mapping[str, str | None] = found.groupdict() if found else {}
    scheme = parts.get("scheme") or "amqp"
    user = described.broker_users.get("core") or parts.get("user")
    return {
        "scheme": scheme,
        "nodes": [],
        "host": parts.get("host"),
        "port": int(parts.get("port") or _PORTS[scheme]),
        "vhost": parts.get("path") or ("0" if scheme.startswith("redis") else "/"),
        "user": user,
        "secret": SECRET,
        "sentinel": None,
    }


def _sqs(described: Description, _inventory: Inventory, queues: Sequence[str]) -> dict[str, Any]:
    """region, account, endpoint_url (None: AWS's own), names and urls by queue, dead_letters: a queue's name, receives.

    user: an access key; None where the machine's role serves.
    """
    prefix = f"airflow-{described.environment}-"
    names_of = {queue: prefix + queue for queue in queues}
    domain = "amazonaws.com.cn" if described.broker_region.startswith("cn-") else "amazonaws.com"
    place = described.broker_endpoint_url or f"https://sqs.{described.broker_region}.{domain}"
    user = described.broker_users.get("core")
    return {
        "scheme": "sqs",
        "nodes": [],
        "region": described.broker_region,
        "endpoint_url": described.broker_endpoint_url,
        "account": described.broker_account,
        "prefix": prefix,
        "names": names_of,
        "urls": {queue: f"{place}/{described.broker_account}/{name}" for queue, name in names_of.items()},
        "dead_letters": prefix + DEAD_LETTERS,
        "receives": RECEIVES,
        "user": user,
        "secret": SECRET if user else None,
    }


def _external_problems(described: Description) -> list[Problem]:
    if described.broker_url is None and "broker_url" not in described.unread:
        return [
            Problem("airflow_broker_url", None, "the address of the broker, since airflow_broker_provider is external")
        ]
    return []


def _sqs_problems(described: Description) -> list[Problem]:
    prefix = f"airflow-{described.environment}-"
    room = LONGEST_SQS_NAME - len(prefix)
    missing = described.broker_account is None and "broker_account" not in described.unread
    account = Problem("airflow_broker_account", None, "the 12 digits of the AWS account that has the queues")
    return [account] * missing + [
        Problem(
            f"airflow_worker_pools[{at}].queues[{index}]",
            queue,
            f"a name of at most {room} characters: the SQS queue's, with {prefix} before it, has {LONGEST_SQS_NAME}",
        )
        for at, pool in enumerate(described.worker_pools)
        for index, queue in enumerate(pool.queues)
        if len(queue) > room or queue == DEAD_LETTERS
    ]


TLS_PROVIDERS = ("rabbitmq", "redis")
"""Those whose connections airflow_broker_tls encrypts."""

PROVIDERS: dict[str, Provider] = {
    "rabbitmq": Provider((1, 3, 5), _rabbitmq),
    "redis": Provider((1, 3), _redis),
    "sqs": Provider((0,), _sqs, _sqs_problems),
    "kubernetes": Provider((0,), _kubernetes),
    "external": Provider((0,), _external, _external_problems),
}
"""By their names in airflow_broker_provider."""
