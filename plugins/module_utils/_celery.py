# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Celery's workers over remote control, and the queues of their broker.

Needs Celery in the module's interpreter, as Airflow's own environment has it.
"""

from __future__ import annotations

import re
import signal
import ssl
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from ._queues.moves import Depth

try:
    from celery import Celery
    from kombu.exceptions import KombuError, OperationalError

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

Tasks = dict[str, dict[str, list[dict[str, Any]]]]
"""Tasks of each worker, by active and reserved."""

CONNECT_SECONDS = 5

PASSWORD = re.compile(r"(://[^:@/;]*:)([^;]*)(@)")
"""In each of a URL's alternatives, up to the last @: somebody may have left one in the password as it is."""

NO_CHANNEL = 404
"""What a broker says of a queue that it does not have (AMQP 0-9-1: not-found)."""

RETRIES = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
"""kombu tries for ever by default to connect again."""

SQS = ("sqs", "sqs+")

REDIS = ("redis", "rediss", "sentinel")

SPOKEN = ("amqp", "amqps", *REDIS)
"""Schemes of brokers that have remote control."""

OF_SCHEDULER = {
    **{f"{key}_key": f"scheduler.{key}" for key in ("unacked", "unacked_index", "unacked_mutex")},
    "priority_steps": [0],
}
"""The keys of a Redis that the scheduler's user may use, as airflow_backbone.celery_config names them."""

WITHOUT_REMOTE_CONTROL = (
    "SQS has no remote control (kombu's transport knows no fanout), so running workers cannot be told other queues."
    " Start them with the queues that they shall have, one after the other: playbooks/site.yml does"
)


class BrokerError(Exception):
    """The broker does not let us ask or tell the workers; the message is for a person and holds no secret."""


class Overdue(BrokerError):
    """It keeps us waiting."""


@dataclass(frozen=True)
class Address:
    """Where a broker is, and how Celery talks there.

    control_exchange: Celery's setting of that name. ca_path: the authorities to trust instead of the system's.
    is_encrypted: whether a URL of Sentinels, which does not say it, stands for TLS.
    """

    url: str
    control_exchange: str = "celery"
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    validate_certs: bool = True
    ca_path: str | None = None
    is_encrypted: bool = False

    def __str__(self) -> str:
        return PASSWORD.sub(r"\1**\3", self.url)

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    def without_secrets(self, text: str) -> str:
        """A text that others wrote, such as an exception's."""
        text = text.replace(self.url, str(self))
        for _user, password, _at in PASSWORD.findall(self.url):
            for secret in {password, unquote(password)} - {""}:
                text = text.replace(secret, "**")
        return text

    def tls(self) -> dict[str, Any] | None:
        """Celery's broker_use_ssl; None where the address says that the connection is not encrypted."""
        required = ssl.CERT_REQUIRED if self.validate_certs else ssl.CERT_NONE
        if self.scheme == "amqps":
            # kombu fills in the name of the host to verify, and without ca_certs py-amqp would look at no name.
            known = {"cert_reqs": required, "ca_certs": self.ca_path}
            is_known = self.ca_path is not None or not self.validate_certs
            return {**(known if is_known else {"context": {"check_hostname": True}}), "server_hostname": None}
        if self.scheme == "rediss" or (self.scheme == "sentinel" and self.is_encrypted):
            return {
                "ssl_cert_reqs": required,
                "ssl_ca_certs": self.ca_path,
                "ssl_check_hostname": self.validate_certs,
            }
        return None

    def options(self) -> dict[str, Any]:
        """Celery's broker_transport_options."""
        if self.scheme not in REDIS:
            return dict(self.transport_options)
        to_sentinels = {"sentinel_kwargs": self._to_sentinels()} if self.scheme == "sentinel" else {}
        return {**OF_SCHEDULER, **to_sentinels, **self.transport_options}

    def _to_sentinels(self) -> dict[str, Any]:
        """How to reach and log in to the Sentinels: as to the servers behind them."""
        place = urlsplit(self.url.split(";", maxsplit=1)[0])
        given = {"username": place.username, "password": place.password}
        tls = self.tls()
        return {
            **{key: unquote(value) for key, value in given.items() if value},
            "socket_timeout": CONNECT_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            **({"ssl": True, **tls} if tls else {}),
        }

    def places(self) -> list[Address]:
        """The address of each node, where a certificate has to name the one that is connected to.

        kombu goes on to the next node by itself, and asks its certificate for the name of the first one.
        """
        if self.scheme != "amqps":
            return [self]
        return [replace(self, url=url) for url in self.url.split(";")]


def problems(address: Address) -> list[str]:
    """What is wrong with an address, in words that do not hold it."""
    if address.scheme in SQS or address.scheme.startswith("sqs+"):
        return [WITHOUT_REMOTE_CONTROL]
    if "://" not in address.url:
        return [
            "the broker's URL has no scheme; give it as Celery reads it, such as amqp://user:password@host:5672/vhost"
        ]
    return []


class Broker:
    """A connection to a broker, and through it to all workers that listen to a control exchange.

    Raises BrokerError where the broker refuses or does not answer.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._app = Celery("airstack", broker=address.url, set_as_current=False)
        self._app.conf.update(
            control_exchange=address.control_exchange,
            broker_transport_options={**address.options(), **RETRIES},
            broker_connection_timeout=CONNECT_SECONDS,
            broker_connection_retry=False,
            broker_use_ssl=address.tls(),
        )
        try:
            self._connection = self._app.connection_for_write()
            self._connection.transport  # noqa: B018 - made by being asked for
        except (ImportError, KeyError) as error:
            raise BrokerError(
                f"{address}: this Python has nothing that speaks {address.scheme} ({error.args[0]}). Install that, or give an"
                f" address that begins with {', '.join(SPOKEN)}"
            ) from None

    def open(self) -> None:
        """Connect."""
        if "fanout" not in self._connection.transport.implements.exchange_type:
            raise BrokerError(f"{self.address}: {self.address.scheme} has no fanout, which remote control needs")
        with self._explained(f"{self.address} was to be connected to"):
            self._connection.connect()
            # Opened by being asked for; without it, a virtual host that is closed to the user shows later.
            self._connection.default_channel  # noqa: B018

    def close(self) -> None:
        """Let go of all connections."""
        self._connection.release()
        self._app.close()

    @property
    def counts_consumers(self) -> bool:
        """Whether the broker tells how many consume a queue."""
        return bool(self._connection.transport.driver_type == "amqp")

    def queues(self, workers: Sequence[str] | None, seconds: float) -> dict[str, frozenset[str]]:
        """What each worker consumes that answers; all are asked where none is named.

        seconds: how long to wait for the next answer. The named ones are not waited for once they have answered.
        """
        answers = self._ask("active_queues", workers, seconds)
        return {name: frozenset(queue["name"] for queue in queues) for name, queues in answers.items()}

    def tasks(self, workers: Sequence[str], seconds: float) -> Tasks:
        """The tasks that each of some workers runs (active) and holds until it has room for them (reserved)."""
        found: Tasks = {name: {"active": [], "reserved": []} for name in workers}
        for state in ("active", "reserved"):
            for name, tasks in self._ask(state, workers, seconds).items():
                found[name][state] = [_task(task) for task in tasks]
        return found

    def holding(self, workers: Sequence[str], seconds: float) -> dict[str, frozenset[str]]:
        """The queues of the tasks that each of some workers has not done yet."""
        return held(self.tasks(workers, seconds))

    def add(self, queue: str, workers: Sequence[str], seconds: float, arguments: Mapping[str, Any]) -> None:
        """Tell workers to consume a queue; whether they do has to be asked.

        seconds: how long the command stays good. arguments: the queue's own, should a worker have to make it.
        """
        options = {"queue_arguments": dict(arguments)} if arguments else {}
        self._tell("add_consumer", queue, workers, seconds, **options)

    def cancel(self, queue: str, workers: Sequence[str], seconds: float) -> None:
        """Tell workers to consume a queue no more. What they hold of it they still do."""
        self._tell("cancel_consumer", queue, workers, seconds)

    def depths(self, queues: Iterable[str]) -> dict[str, Depth]:
        """What the broker tells of queues."""
        with self._explained("the queues were to be counted"):
            return {queue: self._depth(queue) for queue in queues}

    def _depth(self, queue: str) -> Depth:
        try:
            with self._connection.channel() as channel:
                declared = channel.queue_declare(queue=queue, passive=True)
        except self._connection.channel_errors as error:
            if getattr(error, "reply_code", getattr(error, "code", None)) not in (NO_CHANNEL, str(NO_CHANNEL)):
                raise
            return Depth(0, 0 if self.counts_consumers else None, exists=False)
        return Depth(declared.message_count, declared.consumer_count if self.counts_consumers else None)

    def _ask(self, command: str, workers: Sequence[str] | None, seconds: float) -> dict[str, list[Any]]:
        if workers is not None and not workers:
            return {}
        with self._explained(f"the workers were to be asked for {command}"):
            answers = self._app.control.broadcast(
                command,
                destination=None if workers is None else list(workers),
                connection=self._connection,
                reply=True,
                timeout=seconds,
            )
        merged = {name: answer for each in answers or [] for name, answer in each.items()}
        return {name: answer for name, answer in merged.items() if isinstance(answer, list)}

    def _tell(self, command: str, queue: str, workers: Sequence[str], seconds: float, **options: Any) -> None:
        with self._explained(f"{', '.join(workers)} were to be told {command} {queue}"):
            self._app.control.broadcast(
                command,
                arguments={"queue": queue, **options},
                destination=list(workers),
                connection=self._connection,
                timeout=seconds,
            )

    @contextmanager
    def _explained(self, asked: str) -> Iterator[None]:
        try:
            yield
        except (OSError, KombuError, OperationalError, *self._errors()) as error:
            raise BrokerError(f"{asked}. {self._found(error)}") from None

    def _errors(self) -> tuple[type[Exception], ...]:
        transport = self._connection.transport
        return (*transport.connection_errors, *transport.channel_errors)

    def _found(self, error: BaseException) -> str:
        text = self.address.without_secrets(str(error)) or type(error).__name__
        if _is_refusal(error):
            advice = "See that the user exists there with this password and these rights"
        elif "certificate" in text.lower():
            advice = "See that ca_path has the authority that signed the broker's certificate, and that this names its address"
        else:
            advice = "See that the broker runs, and that this host reaches it"
        return f"{self.address}: {text}. {advice}"


def held(tasks: Tasks) -> dict[str, frozenset[str]]:
    """The queues of tasks, by worker."""
    return {
        name: frozenset(task["queue"] for each in states.values() for task in each if task["queue"])
        for name, states in tasks.items()
    }


def _is_refusal(error: BaseException) -> bool:
    words = ("access_refused", "not_allowed", "authentication", "wrongpass", "noauth", "noperm", "invalid username")
    return any(word in f"{type(error).__name__} {error}".lower() for word in words)


def _task(told: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown of a task: no argument, since those of Airflow hold a token."""
    delivery = told.get("delivery_info") or {}
    return {
        "id": told.get("id"),
        "name": told.get("name"),
        "queue": delivery.get("routing_key"),
        "started": told.get("time_start"),
    }


@contextmanager
def connected(address: Address) -> Iterator[Broker]:
    """A broker, connected to: the first of its nodes that answers."""
    broker = _opened(address.places())
    try:
        yield broker
    finally:
        broker.close()


def _opened(places: Sequence[Address]) -> Broker:
    reasons = []
    for place in places:
        broker = Broker(place)
        try:
            broker.open()
        except BrokerError as error:
            broker.close()
            if isinstance(error, Overdue):
                raise
            reasons.append(str(error))
            continue
        return broker
    raise BrokerError("\n".join(reasons))


@contextmanager
def limited(seconds: float, asked: str) -> Iterator[None]:
    """Ends what takes longer, whatever it waits for: kombu waits for some answers of a broker without an end.

    Raises Overdue then.
    """

    def end(_signal: int, _frame: object) -> None:
        raise Overdue(f"{asked}, and the broker kept us waiting for more than {seconds:g} s. See that it is well")

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
