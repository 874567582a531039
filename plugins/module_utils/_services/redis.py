# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis as a broker: who may do what to which keys and channels, and how the server is set.

The wall between worker pools. A queue is a list of its own name, without priorities; what kombu keeps beside it has a
name that no queue can have (airflow_backbone.celery_config gives each pool its own):

- a pool's user may take from and put back into its own queues, and keep what it holds under ``pool.<name>.``;
- it hears the scheduler's commands and can give none, answers into mailboxes that it cannot read, and tells events;
- it may neither read, fill nor remove anything else, nor list what is there.

Selectors (in parentheses, Redis 7.0) tie each of these rights to its commands alone: one list of commands over all keys
would let a pool take the answers that it may write.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DATABASE = 0
"""The number of the database. Rights to keys hold in every database alike, and channels are common to all."""

CONTROL = "celery.pidbox"
REPLIES = f"reply.{CONTROL}"
COMMANDS = f"/{DATABASE}.{CONTROL}"
"""The channel of the scheduler's remote control commands."""
EVENTS = f"/{DATABASE}.celeryev/*"
BINDINGS = "_kombu.binding."

ROLES = ("operator", "replica", "sentinel")
"""Users that are no clients: this collection's own, the one that copies the data, and the one that watches."""

CONNECTION = ("+ping", "+client|setname", "+multi", "+exec", "+discard", "+unwatch")
"""What redis-py does beside the work, and kombu's transactions. That ``client|setinfo`` is refused it does not mind;
before Redis 7.2 no rule may name it."""

UNACKED = ("+zadd", "+zrem", "+zrevrangebyscore", "+hget", "+hset", "+hdel", "+watch")
"""How kombu keeps what is not acknowledged."""

LOCK = ("+set", "+get", "+del", "+evalsha")
"""Of the lock under which kombu looks for what is overdue. A script releases it, with the rights of its user."""

QUEUE = ("+brpop", "+lpush", "+rpush", "+llen")

WATCHING = (
    *("+ping", "+info", "+role", "+multi", "+exec", "+slaveof", "+replicaof", "+config|rewrite", "+publish"),
    *("+subscribe", "+client|setname", "+client|kill", "+script|kill"),
)
"""What a Sentinel does to the servers (Redis, "Sentinel: ACL")."""

COPYING = ("+ping", "+psync", "+replconf")
"""What a replica does to its master (Redis, "ACL rules for Sentinel and Replicas")."""

ASKING = ("+ping", "+client|setname", "+sentinel|masters", "+sentinel|get-master-addr-by-name")
"""What a client asks a Sentinel: which server is the master."""

DEFAULT = "user default off ~* &* +@all"
"""Nobody can log in as a user that is off. Its rights are needed: with them Redis reads its own append-only file, and a
transaction for which they do not suffice would be left out, without an error, when the server starts."""

QUEUE_KEY = re.compile("~[A-Za-z0-9_-]+")
"""The rule of a queue's key, whose name has neither the dot of what kombu and pools keep beside it nor a star."""

MEMORY_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
"""As redis.conf spells them."""


def role(broker: Mapping[str, Any], name: str) -> str:
    """The user of one of ROLES. The dot keeps it apart from every pool's."""
    return f"{broker['user']}.{name}"


def role_password(broker: Mapping[str, Any], name: str, secrets: Mapping[str, str]) -> str:
    """Its password: derived from one secret, so that one is enough, and another for each."""
    key = secrets[broker["operator_secret"]].encode()
    return hmac.new(key, role(broker, name).encode(), hashlib.sha256).hexdigest()


def acl(broker: Mapping[str, Any], secrets: Mapping[str, str], present: str = "") -> str:
    """The server's users, as its aclfile holds them: passwords as hashes.

    broker: the plan's broker. secrets: passwords by name. Raises KeyError where one is missing. present: the aclfile of
    before; users keep their queues of that beside those of the plan, until they have ceased to use them.
    """
    kept = _queues(present)
    roles = {
        "operator": ["~*", "&*", "+@all"],
        "replica": list(COPYING),
        "sentinel": ["&*", *WATCHING],
    }
    return _lines(
        [
            *((role(broker, name), role_password(broker, name, secrets), rules) for name, rules in roles.items()),
            (broker["user"], secrets[broker["secret"]], _scheduler(_with(broker["queues"], kept, broker["user"]))),
            *(
                (pool["user"], secrets[pool["secret"]], _pool(pool["name"], _with(pool["queues"], kept, pool["user"])))
                for pool in broker["pools"]
            ),
        ]
    )


def sentinel_acl(broker: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """The Sentinels' users: clients may ask for the master, and Sentinels talk to each other as operators of themselves."""
    clients = [(broker["user"], broker["secret"]), *((pool["user"], pool["secret"]) for pool in broker["pools"])]
    return _lines(
        [
            *(
                (role(broker, name), role_password(broker, name, secrets), ["&*", "+@all"])
                for name in ("operator", "sentinel")
            ),
            *((user, secrets[secret], list(ASKING)) for user, secret in clients),
        ]
    )


def _lines(users: Iterable[tuple[str, str, list[str]]]) -> str:
    listed = [f"user {name} on #{password_hash(password)} {' '.join(rules)}" for name, password, rules in users]
    return "\n".join([DEFAULT, *listed, ""])


def password_hash(password: str) -> str:
    """SHA-256, as Redis keeps it. It has no salt, so that a password has to be a long one."""
    return hashlib.sha256(password.encode()).hexdigest()


def _scheduler(queues: Iterable[str]) -> list[str]:
    own = [*map(_literal, queues), *_unacked("scheduler"), f"{BINDINGS}*", f"*.{CONTROL}", "celeryev.*"]
    return [
        *_keys(own),
        f"&{COMMANDS}",
        f"&{EVENTS}",
        *(*CONNECTION, *QUEUE, *UNACKED, "+script|load"),
        _lock("scheduler"),
        *("+rpop", "+exists", "+del", "+sadd", "+srem", "+smembers"),
        *("+publish", "+subscribe", "+psubscribe", "+unsubscribe", "+punsubscribe"),
        # Of the health check: the policy and the role, and who waits for tasks.
        *("+info", "+client|list"),
    ]


def _pool(name: str, queues: Iterable[str]) -> list[str]:
    owner = f"pool.{name}"
    return [
        *_keys([*_unacked(owner), *map(_literal, queues)]),
        *(*CONNECTION, *QUEUE, *UNACKED, "+script|load", "+unsubscribe", "+punsubscribe"),
        _lock(owner),
        f"(+subscribe +psubscribe &{COMMANDS})",
        f"(+publish &{EVENTS})",
        f"(+smembers %R~{BINDINGS}{REPLIES})",
        f"(+lpush %W~*.{REPLIES})",
        # Of the worker's mailbox: a note of it that nothing reads, since commands go through the channel.
        f"(+sadd +srem %W~{BINDINGS}{CONTROL})",
        f"(+llen +del %W~{name}@*.{CONTROL})",
    ]


def _queues(text: str) -> dict[str, list[str]]:
    """The queues of each user in an aclfile: what stands outside selectors as the key of one."""
    users = [re.sub(r"\([^)]*\)", "", line).split() for line in text.splitlines() if line.startswith("user ")]
    return {words[1]: [word[1:] for word in words if QUEUE_KEY.fullmatch(word)] for words in users}


def _with(queues: Sequence[str], kept: Mapping[str, Sequence[str]], user: str) -> list[str]:
    return [*queues, *(queue for queue in kept.get(user, ()) if queue not in queues)]


def _unacked(owner: str) -> list[str]:
    return [f"{owner}.unacked", f"{owner}.unacked_index"]


def _lock(owner: str) -> str:
    return f"({' '.join(LOCK)} ~{owner}.unacked_mutex)"


def _keys(patterns: Iterable[str]) -> list[str]:
    return [f"~{pattern}" for pattern in patterns]


def _literal(name: str) -> str:
    """The glob pattern of one name."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", name)


def settings(broker: Mapping[str, Any]) -> dict[str, str]:
    """What a server must be set to for the platform to lose no task, by the names of redis.conf."""
    wanted = {
        # Any other policy throws tasks away when the memory is full.
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
    }
    if broker.get("sentinel"):
        # A master that no replica follows takes no more tasks, which a failover would lose.
        wanted |= {"min-replicas-to-write": "1", "min-replicas-max-lag": "10"}
    return wanted


CERTIFICATE, KEY, CA = "certificate.pem", "key.pem", "ca.pem"
"""The files of TLS."""


def connections(broker: Mapping[str, Any], port: int, folder: str) -> dict[str, str]:
    """Where a server or a Sentinel listens, and what it encrypts, by the names of redis.conf.

    folder: of the files of TLS. Without TLS it is said, too, that there is none: both write down what they were set to
    last, and would go on so.
    """
    if not broker.get("tls"):
        return {"port": str(port), "tls-port": "0", "tls-replication": "no"}
    return {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": f"{folder}/{CERTIFICATE}",
        "tls-key-file": f"{folder}/{KEY}",
        "tls-ca-cert-file": f"{folder}/{CA}",
        # Clients prove who they are by their password.
        "tls-auth-clients": "no",
        # From a replica to its master, and from a Sentinel to servers and other Sentinels.
        "tls-replication": "yes",
    }


REASONS = {
    "maxmemory-policy": "with any other policy Redis throws tasks away when its memory is full",
    "appendonly": "without it a restart forgets what was sent since the last snapshot",
}
"""Why a setting has to be as it is, for those whose broker is somebody else's."""

MENDED = "site.yml sets it"

FATAL = ("maxmemory-policy",)
"""Settings with which a platform is not deployed. Managed ones may keep what they hold in another way than appendonly."""


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[dict[str, str]]:
    """The settings that differ of those that were found: {setting, was, wanted} each."""
    return [
        {"setting": name, "was": found[name], "wanted": value}
        for name, value in wanted.items()
        if name in found and not same(found[name], value)
    ]


def state(told: Mapping[str, Any], host: str, runs: bool) -> dict[str, Any]:
    """The Redis of a host, held against the plan: {"silence", "differences", "problems"}.

    told: what redis_server_info returned. runs: whether systemd says so. silence: why it tells nothing of itself, or None where
    it does. The others are sentences: a difference is what a deployment mends, a problem what it cannot.
    """
    if told["error"] is not None:
        return {"silence": told["error"], **_unheard(told, host, runs)}
    return {
        "silence": None,
        "differences": [
            f"Redis on {host} has the {each['setting']} {each['was']}, and the plan has {each['wanted']}: {MENDED}"
            for each in told["differences"]
        ],
        "problems": [
            f"Redis knows no setting {name}: take it out of airflow_broker_settings" for name in told["unknown"]
        ],
    }


def _unheard(told: Mapping[str, Any], host: str, runs: bool) -> dict[str, list[str]]:
    """A server that gives no settings. A deployment's users, certificate and address mend what it refuses, and no silence."""
    if not runs:
        return {"differences": [], "problems": []}
    asked = f"Redis on {host} runs, and was asked for its settings: {told['error']}"
    if not told["timed_out"]:
        return {"differences": [f"{asked}. site.yml gives it its users, certificate and address"], "problems": []}
    advice = "Look at `journalctl -u redis-server` there, restart it, and run this again"
    return {"differences": [], "problems": [f"{asked}. {advice}"]}


def external(broker: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, list[str]]:
    """A broker of somebody else's, held against the plan: {"differences", "problems"}, in sentences.

    told: what redis_server_info returned. With a difference the platform works; it may also be one that was not to be seen.
    """
    place = f"the broker {broker['host']}:{broker['port']}"
    if told["error"] is not None:
        advice = "See that it runs, and that this host reaches it with the user and the password of the description"
        return {"differences": [], "problems": [f"{place} does not answer ({told['error']}). {advice}"]}
    said: dict[bool, list[str]] = {True: [], False: []}
    for each in told["differences"]:
        reason = REASONS.get(each["setting"])
        found = f"{place} has the {each['setting']} {each['was']}, and has to have {each['wanted']}"
        said[each["setting"] in FATAL].append(f"{found}: {reason}" if reason else found)
    untold = ", ".join(told["untold"])
    unseen = f"{place} does not tell its {untold}, which could not be compared with the plan"
    return {"differences": [*said[False], *([unseen] if untold else [])], "problems": said[True]}


def same(one: str, other: str) -> bool:
    """Whether two values of a setting mean the same: 1gb is 1073741824."""
    return _normal(one) == _normal(other)


def _normal(value: str) -> str:
    found = re.fullmatch(r"([0-9]+)([a-z]*)", value.strip().lower())
    if found and found[2] in MEMORY_UNITS:
        return str(int(found[1]) * MEMORY_UNITS[found[2]])
    return value.strip().lower()
