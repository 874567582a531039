# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RabbitMQ's definitions: who may do what in the platform's virtual host, and what stands in it beforehand.

The wall between worker pools. Each name that Celery makes on behalf of a pool ends in the pool's own control exchange
or begins with its own event exchange (see airflow_backbone.celery_config), so a permission is one pattern on names:

- a pool's user may make, fill and read what is the pool's own, read the pool's queues, and answer the scheduler;
- it may not publish to any queue, nor make or remove one: ``amq.default``, through which every queue can be reached,
  is the scheduler's alone, and so are the queues' names for all but reading.

What pools share therefore has to stand before they come: the queues, and the exchange that answers go to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model.durations import spell

CONTROL = "celery.pidbox"
"""Where Celery publishes remote control commands by default: kombu.pidbox's name for the control exchange ``celery``."""
REPLIES = f"reply.{CONTROL}"
EVENTS = "celeryev"

OWNER = "airstack-backbone"
"""The tag of what these definitions made. RabbitMQ knows no meaning of it; what carries it may be removed again."""

SECRET = "broker"
"""The name of the scheduler's password among the secrets; a pool names its own."""

ONE_NODE = "rabbit@localhost"
"""What the role calls the only node of a broker."""

MENDED = "site.yml sets it"

TIMED_OUT = (124, 137)
"""How coreutils' timeout ends where the limit has passed, and where it had to kill as well."""

OF_NO_NODE = ("-feature_flags", "-plugins-expand")
"""How names beside the nodes' own end where RabbitMQ keeps its data."""

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}

SALT_BYTES = 4
"""The length that RabbitMQ's password hash wants."""


def password_hash(user: str, password: str) -> str:
    """The hash of a user's password.

    The salt is derived from user and password instead of chance, so that the same secret always gives the same
    definitions and a second run changes nothing. It tells no more about the password than the hash beside it does.
    """
    salt = hmac.new(password.encode(), f"rabbitmq salt of {user}".encode(), hashlib.sha256).digest()[:SALT_BYTES]
    return salted_hash(password, salt)


def salted_hash(password: str, salt: bytes) -> str:
    """What RabbitMQ's rabbit_password_hashing_sha256 makes of a password: base64 of the salt and a SHA-256 of both."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def control_exchange(pool: str) -> str:
    """The exchange through which a pool's workers take remote control commands."""
    return f"celery-{pool}.pidbox"


def event_exchange(pool: str) -> str:
    """The exchange to which a pool's workers publish events."""
    return f"celeryev-{pool}"


def users(broker: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Definitions of the users: the scheduler's and one for each pool.

    broker: the plan's broker. secrets: passwords by name. Raises KeyError where one is missing.
    """
    accounts = [(broker["user"], SECRET), *((pool["user"], pool["secret"]) for pool in broker["pools"])]
    return {
        "users": [
            {
                "name": user,
                "password_hash": password_hash(user, secrets[secret]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [OWNER],
                "limits": {},
            }
            for user, secret in accounts
        ]
    }


def topology(broker: Mapping[str, Any]) -> dict[str, Any]:
    """Definitions of the virtual host: permissions, queues, exchanges and bindings. They hold no secret."""
    vhost = broker["vhost"]
    pools = broker["pools"]
    # Of a broker of somebody else's, pools may have the scheduler's user.
    walled = [pool for pool in pools if pool["user"] != broker["user"]]
    scheduler = _scheduler(broker["queues"]) if len(walled) == len(pools) else EVERYTHING
    exchanges = [_control(CONTROL), _reply(REPLIES), _events(EVENTS)]
    bindings = []
    for pool in pools:
        control, events = control_exchange(pool["name"]), event_exchange(pool["name"])
        exchanges += [_control(control), _events(events)]
        bindings += [_binding(CONTROL, control, ""), _binding(events, EVENTS, "#")]
    return {
        "vhosts": [
            {"name": vhost, "description": "", "tags": [OWNER], "metadata": {"description": "", "tags": [OWNER]}}
        ],
        "permissions": [
            {"vhost": vhost, "user": broker["user"], **scheduler},
            *({"vhost": vhost, "user": pool["user"], **_pool(pool)} for pool in walled),
        ],
        "queues": [
            {
                "name": queue,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": {"x-queue-type": "quorum"},
            }
            for queue in broker["queues"]
        ],
        "exchanges": [{"vhost": vhost, **exchange} for exchange in exchanges],
        "bindings": [{"vhost": vhost, **binding} for binding in bindings],
    }


def missing_copies(queues: Iterable[Mapping[str, Any]], broker: Mapping[str, Any]) -> list[dict[str, str]]:
    """Copies that quorum queues of a cluster lack, {queue, node} each: on nodes of the plan that have the fewest.

    queues: as ``rabbitmqctl list_queues name type members`` gives them. A queue that was made before all nodes were there
    stays on those that were.
    """
    quorum = [queue for queue in queues if queue["type"] == "quorum" and queue["name"] in broker["queues"]]
    load = {node: sum(node in queue["members"] for queue in quorum) for node in broker["cluster"]["nodes"].values()}
    missing = []
    for queue in quorum:
        free = sorted(load.keys() - queue["members"], key=lambda name: (load[name], name))
        lacking = broker["cluster"]["copies"] - (len(load) - len(free))
        for node in free[: max(lacking, 0)]:
            load[node] += 1
            missing.append({"queue": queue["name"], "node": node})
    return missing


def _node(broker: Mapping[str, Any], host: str) -> str:
    """What Erlang calls the node of a host."""
    cluster = broker.get("cluster")
    return str(cluster["nodes"][host]) if cluster else ONE_NODE


def state(plan: Mapping[str, Any], host: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a host, held against the plan: {"silence", "differences", "problems"}.

    found: unit, the state of RabbitMQ's in systemd; asked, what became of the question (see answer), or None where no node
    runs; seconds, its limit; is_cut_short, whether an earlier run has left something to the next; data, the names that stand
    where RabbitMQ keeps its data. silence: why it tells nothing of itself, or None where it does. The others are sentences: a
    difference is what a deployment mends, a problem what it must not begin with. A node of another name takes nothing over
    of the former one's.
    """
    planned = _node(plan["broker"], host)
    if found["asked"] is None:
        silence = f"rabbitmq-server.service is {found['unit']}"
        return {"silence": silence, "differences": [], "problems": _left(host, planned, found["data"])}
    told, silence = answer(found["asked"], found["seconds"])
    if told is None:
        return {"silence": silence, **_unheard(host, silence, found)}
    return {"silence": None, **_differing(plan, host, planned, told)}


def answer(asked: Mapping[str, Any], seconds: int) -> tuple[dict[str, Any] | None, str]:
    """What a node says of itself, and why it says nothing: (told, "") or (None, reason).

    asked: the result of the command ``timeout SECONDS rabbitmqctl --silent eval QUESTION --formatter json``. told: {node,
    consumer_timeout in milliseconds, queues: [{queue, messages}]}.
    """
    if asked["rc"] in TIMED_OUT:
        return None, f"no answer within {seconds} s"
    if asked["rc"] != 0:
        return None, _first_line(asked["stderr"]) or _first_line(
            asked["stdout"]
        ) or f"rabbitmqctl ended with {asked['rc']}"
    try:
        return json.loads(asked["stdout"])["value"], ""
    except (ValueError, KeyError, TypeError):
        return None, f"an answer that is none: {_first_line(asked['stdout'])}"


def _first_line(text: str) -> str:
    return next(filter(None, map(str.strip, text.splitlines())), "").rstrip(".")


def _unheard(host: str, silence: str, found: Mapping[str, Any]) -> dict[str, list[str]]:
    """A node that runs and gives no answer. One that an earlier run has renamed, or given another cookie, is restarted."""
    asked = f"RabbitMQ on {host} runs, and was asked for its settings and queues (rabbitmqctl eval): {silence}"
    if found["is_cut_short"] and found["asked"]["rc"] not in TIMED_OUT:
        return {"differences": [f"{asked}. An earlier run was cut short: site.yml goes on with it"], "problems": []}
    advice = "Look at `journalctl -u rabbitmq-server` and /var/log/rabbitmq there, restart it, and run this again"
    return {"differences": [], "problems": [f"{asked}. {advice}"]}


def _differing(plan: Mapping[str, Any], host: str, planned: str, told: Mapping[str, Any]) -> dict[str, list[str]]:
    differences = _impatience(plan, host, told["consumer_timeout"])
    if told["node"] == planned:
        return {"differences": differences, "problems": []}
    full = {each["queue"]: each["messages"] for each in told["queues"] if each["messages"]}
    renamed = f"RabbitMQ on {host} is the node {told['node']}, and the plan calls it {planned}"
    if not full:
        return {
            "differences": [*differences, f"{renamed}: its queues are empty, and the new one begins"],
            "problems": [],
        }
    counted = ", ".join(f"{messages} in {queue}" for queue, messages in sorted(full.items()))
    advice = "Stop the schedulers, wait until the workers have finished what is in the queues, and run this again"
    problem = f"{renamed}, which takes nothing over of its messages ({counted}). {advice}"
    return {"differences": differences, "problems": [problem]}


def _impatience(plan: Mapping[str, Any], host: str, milliseconds: Any) -> list[str]:
    planned = plan["timeouts"]["consumer_timeout"]["seconds"]
    if milliseconds == planned * 1000:
        return []
    found = spell(milliseconds // 1000) if isinstance(milliseconds, int) else "no end"
    return [f"RabbitMQ on {host} has the consumer_timeout {found}, and the plan has {spell(planned)}: {MENDED}"]


def _left(host: str, planned: str, data: Iterable[str]) -> list[str]:
    """Data of a node of another name, of which nobody says whether it is messages."""
    nodes = [name for name in data if "@" in name and not name.endswith(OF_NO_NODE)]
    if planned in nodes or not nodes:
        return []
    found = f"RabbitMQ on {host} does not run, and has the data of {', '.join(sorted(nodes))}"
    advice = "Start it, so that its messages are counted, or remove that data (/var/lib/rabbitmq/mnesia)"
    return [f"{found}, of which a node {planned} takes nothing over. {advice}"]


def external(plan: Mapping[str, Any], queues: Iterable[Mapping[str, Any]] | None) -> dict[str, list[str]]:
    """A broker of somebody else's, held against the plan: {"differences", "problems"}, in sentences.

    queues: those of the virtual host, as its management API lists them, or None where it was not asked. What a queue or a
    policy says of it is all that RabbitMQ tells a client of its patience.
    """
    planned = plan["timeouts"]["consumer_timeout"]["seconds"]
    known = {queue["name"]: queue for queue in queues or ()}
    patience = {name: _patience(known[name]) for name in plan["broker"]["queues"] if name in known}
    problems = [
        f"the broker's queue {name} has the consumer timeout {spell(found // 1000)}, and the longest task needs"
        f" {spell(planned)}: with less it runs twice. Change its policy (consumer-timeout) or its argument (x-consumer-timeout)"
        for name, found in patience.items()
        if found is not None and found < planned * 1000
    ]
    if queues is not None:
        problems += [
            f"the broker has no queue {name} in the virtual host {plan['broker']['vhost']}: import the definitions that"
            " airflow_broker_definitions_file gives, or look whether airflow_broker_url names the right one"
            for name in plan["broker"]["queues"]
            if name not in known
        ]
    unseen = [name for name in plan["broker"]["queues"] if queues is None or patience.get(name, 0) is None]
    difference = (
        f"The broker's consumer_timeout could not be compared for {', '.join(unseen)}: RabbitMQ tells it on its own host"
        f" alone. The longest task needs {spell(planned)} or more; a policy with consumer-timeout shows it through"
        " airflow_broker_management_url"
    )
    return {"differences": [difference] if unseen else [], "problems": problems}


def _patience(queue: Mapping[str, Any]) -> int | None:
    """Milliseconds that a queue waits by its own argument or a policy; None where the broker's setting counts."""
    policy, arguments = queue.get("effective_policy_definition") or {}, queue.get("arguments") or {}
    found = [each for each in (policy.get("consumer-timeout"), arguments.get("x-consumer-timeout")) if each is not None]
    return min(found) if found else None


def _scheduler(queues: Iterable[str]) -> dict[str, str]:
    own = [*_box(CONTROL), *_prefixed(EVENTS), *map(_literal, queues)]
    return {"configure": _any_of(own), "write": _any_of([*own, _literal("amq.default")]), "read": _any_of(own)}


def _pool(pool: Mapping[str, Any]) -> dict[str, str]:
    own = [*_box(control_exchange(pool["name"])), *_prefixed(event_exchange(pool["name"]))]
    return {
        "configure": _any_of(own),
        "write": _any_of([*own, _literal(REPLIES)]),
        "read": _any_of([*own, *map(_literal, pool["queues"])]),
    }


def _box(exchange: str) -> list[str]:
    """A control exchange, its reply exchange, and the mailboxes of its workers and clients: ``<anything>.<exchange>``."""
    return [rf"(.+\.)?{_literal(exchange)}"]


def _prefixed(exchange: str) -> list[str]:
    """An event exchange and the queues of its listeners: ``<exchange>.<anything>``."""
    return [rf"{_literal(exchange)}(\..+)?"]


def _literal(name: str) -> str:
    """The pattern of one name. A hyphen means nothing outside brackets, and is easier to read without a backslash."""
    return re.escape(name).replace(r"\-", "-")


def _any_of(patterns: Iterable[str]) -> str:
    return f"^({'|'.join(patterns)})$"


def _control(name: str) -> dict[str, Any]:
    """As kombu.pidbox declares it; any other argument would make its declaration fail."""
    return _exchange(name, "fanout", durable=False)


def _reply(name: str) -> dict[str, Any]:
    return _exchange(name, "direct", durable=False)


def _events(name: str) -> dict[str, Any]:
    return _exchange(name, "topic", durable=True)


def _exchange(name: str, kind: str, durable: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "durable": durable,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _binding(source: str, destination: str, routing_key: str) -> dict[str, Any]:
    return {
        "source": source,
        "destination": destination,
        "destination_type": "exchange",
        "routing_key": routing_key,
        "arguments": {},
    }
