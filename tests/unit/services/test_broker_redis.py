# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis as a broker: the users' rules, and the wall between pools, tried on a real server with real Celery workers."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

from airflow_backbone import redis_transport
from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.services import redis_app
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority
from ansible_collections.airstack.backbone.tests.unit.services.redis_platform import (
    answers,
    application,
    await_all,
    runs,
    sentinels_of,
    three,
    workers_answer,
)
from ansible_collections.airstack.backbone.tests.unit.services.redis_servers import (
    POOLS,
    SECRETS,
    Servers,
    broker,
    client,
    one,
    wait_for,
)

BROKER = broker(6379)


def rules(text: str) -> dict[str, str]:
    """The rules of each user of an aclfile."""
    return {line.split()[1]: line for line in text.splitlines()}


# --- the rules --------------------------------------------------------------------------------------------------------


def test_every_user_is_there_and_no_password() -> None:
    text = service.acl(BROKER, SECRETS)
    assert list(rules(text)) == [
        "default",
        *(f"airflow-local.{role}" for role in service.ROLES),
        "airflow-local",
        "airflow-local-etl",
        "airflow-local-ml",
    ]
    assert not [secret for secret in SECRETS.values() if secret in text + service.sentinel_acl(BROKER, SECRETS)]


def test_nobody_logs_in_as_default_which_has_the_rights_to_load_the_data() -> None:
    assert rules(service.acl(BROKER, SECRETS))["default"] == "user default off ~* &* +@all"


def test_the_passwords_of_the_brokers_own_users_differ_and_stay() -> None:
    words = [service.role_password(BROKER, role, SECRETS) for role in service.ROLES]
    assert len(set(words)) == len(service.ROLES)
    assert words == [service.role_password(BROKER, role, SECRETS) for role in service.ROLES]
    other = {**SECRETS, "redis_operator": "another"}
    assert not set(words) & {service.role_password(BROKER, role, other) for role in service.ROLES}


def test_a_missing_password_is_an_error() -> None:
    with pytest.raises(KeyError):
        service.acl(BROKER, {"redis_operator": "x", "broker": "y"})


def test_a_pool_names_nothing_of_another() -> None:
    assert not re.search(r"ml|scheduler|\+@|~\* |&\* ", rules(service.acl(BROKER, SECRETS))["airflow-local-etl"])


def test_a_queue_is_no_pattern() -> None:
    odd = {**BROKER, "pools": [{**BROKER["pools"][0], "queues": ["a*b?[c]"]}]}
    assert r" ~a\*b\?\[c\] " in rules(service.acl(odd, SECRETS))["airflow-local-etl"]


def test_who_loses_a_queue_keeps_it_until_it_is_taken() -> None:
    before = service.acl(BROKER, SECRETS)
    etl, ml = BROKER["pools"]
    pools = [{**etl, "queues": ["etl"]}, {**ml, "queues": ["ml", "new"]}]
    moved = {**BROKER, "queues": ["etl", "ml", "new"], "pools": pools}
    meanwhile, after = (rules(service.acl(moved, SECRETS, present)) for present in (before, ""))
    assert " ~etl ~etl_highmem +ping " in meanwhile["airflow-local-etl"]
    assert " ~ml ~new +ping " in meanwhile["airflow-local-ml"]
    assert " ~etl ~ml ~new ~etl_highmem " in meanwhile["airflow-local"]
    assert not [line for line in after.values() if "etl_highmem" in line]
    assert service.acl(BROKER, SECRETS, before) == before
    assert service.acl(moved, SECRETS, "\n".join(after.values())) == service.acl(moved, SECRETS)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("1gb", "1073741824", True),
        ("1GB", "1gb", True),
        ("1g", "1000000000", True),
        ("100mb", "104857600", True),
        ("1gb", "1g", False),
        ("noeviction", "allkeys-lru", False),
        ("yes", "yes", True),
        ("", "0", False),
    ],
)
def test_settings_are_the_same_when_they_mean_the_same(one: str, other: str, is_same: bool) -> None:
    assert service.same(one, other) is is_same


def test_three_servers_keep_what_a_replica_has() -> None:
    assert "min-replicas-to-write" not in service.settings(BROKER)
    assert service.settings(broker(6379, [26379]))["min-replicas-to-write"] == "1"


@pytest.mark.parametrize(("pool", "owner"), [("etl", "pool.etl"), (None, "scheduler")])
def test_each_pool_keeps_what_it_holds_under_keys_of_its_own(pool: str | None, owner: str) -> None:
    config = {"broker_url": "redis://u:p@h/0", "broker_transport_options": {"visibility_timeout": 7}}
    options = redis_app.wall_app.celery_config().of(config, pool)["broker_transport_options"]
    assert {options[f"{key}_key"] for key in ("unacked", "unacked_index", "unacked_mutex")} == {
        f"{owner}.{key}" for key in ("unacked", "unacked_index", "unacked_mutex")
    }
    assert (options["visibility_timeout"], options["priority_steps"]) == (7, [0])
    assert "sentinel_kwargs" not in options


def test_the_login_to_the_sentinels_comes_out_of_the_address() -> None:
    config = {"broker_url": "sentinel://u:p%2Fw@a:1/0;sentinel://u:p%2Fw@b:1/0", "broker_transport_options": {}}
    options = redis_app.wall_app.celery_config().of(config, "etl")["broker_transport_options"]
    assert (options["sentinel_kwargs"]["username"], options["sentinel_kwargs"]["password"]) == ("u", "p/w")


def test_a_certificate_is_looked_at_unless_the_user_says_how() -> None:
    config: dict[str, Any] = {"broker_url": "rediss://u:p@h/0", "broker_transport_options": {}}
    of = redis_app.wall_app.celery_config().of
    assert of(config, None)["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    own = {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": ssl.CERT_OPTIONAL, "ssl_check_hostname": False}
    assert of({**config, "broker_use_ssl": own}, None)["broker_use_ssl"] == own


def test_sentinels_have_the_tls_of_the_servers() -> None:
    config = {"broker_url": "sentinel://u:p@a:1/0;sentinel://u:p@b:1/0", "broker_transport_options": {}}
    told = {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": ssl.CERT_REQUIRED}
    found = redis_app.wall_app.celery_config().of({**config, "broker_use_ssl": told}, "etl")
    assert found["broker_use_ssl"] == {**told, "ssl_check_hostname": True}
    assert {**found["broker_use_ssl"], "ssl": True}.items() <= found["broker_transport_options"][
        "sentinel_kwargs"
    ].items()


def test_another_broker_keeps_its_settings() -> None:
    config = {"broker_url": "memory://", "broker_transport_options": {}}
    assert redis_app.wall_app.celery_config().of(config, "etl") == config


# --- the wall ---------------------------------------------------------------------------------------------------------


@pytest.fixture(name="servers", scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with one(tmp_path_factory.mktemp("redis")) as servers:
        yield servers


ATTEMPTS: dict[str, Callable[[Any], object]] = {
    # Another pool's tasks: those that wait, and those that its workers hold
    "read a queue": lambda redis: redis.lrange("ml", 0, -1),
    "count a queue": lambda redis: redis.llen("ml"),
    "take from a queue": lambda redis: redis.brpop(["etl", "ml"], timeout=1),
    "take at once": lambda redis: redis.rpop("ml"),
    "move a task to its own queue": lambda redis: redis.lmove("ml", "etl"),
    "copy a queue": lambda redis: redis.copy("ml", "etl"),
    "fill a queue": lambda redis: redis.lpush("ml", "{}"),
    "put back into a queue": lambda redis: redis.rpush("ml", "{}"),
    "fill a queue by a transaction": lambda redis: redis.pipeline().lpush("etl", "{}").lpush("ml", "{}").execute(),
    "remove a queue": lambda redis: redis.delete("ml"),
    "unlink a queue": lambda redis: redis.unlink("ml"),
    "let a queue expire": lambda redis: redis.expire("ml", 1),
    "rename a queue": lambda redis: redis.rename("ml", "etl"),
    "overwrite a queue": lambda redis: redis.set("ml", "x"),
    "sort a queue into its own": lambda redis: redis.sort("ml", store="etl"),
    "fill a queue of later priority": lambda redis: redis.lpush("ml\x06\x163", "{}"),
    "read what a worker holds": lambda redis: redis.hget("pool.ml.unacked", "x"),
    "forget what a worker holds": lambda redis: redis.hdel("pool.ml.unacked", "x"),
    "make what a worker holds overdue": lambda redis: redis.zadd("pool.ml.unacked_index", {"x": 0}),
    "lock the other pool out": lambda redis: redis.set("pool.ml.unacked_mutex", "x"),
    "unlock the other pool": lambda redis: redis.delete("pool.ml.unacked_mutex"),
    # Its own queue it may neither remove nor overwrite, as on RabbitMQ
    "remove its own queue": lambda redis: redis.delete("etl"),
    "overwrite its own queue": lambda redis: redis.set("etl", "x"),
    # Commands, answers and events
    "command every worker": lambda redis: redis.publish(service.COMMANDS, "{}"),
    "command one worker": lambda redis: redis.lpush("ml@host1.celery.pidbox", "{}"),
    "remove a worker's mailbox": lambda redis: redis.delete("ml@host1.celery.pidbox"),
    "read the scheduler's answers": lambda redis: redis.brpop("x.reply.celery.pidbox", timeout=1),
    "remove the scheduler's answers": lambda redis: redis.delete("x.reply.celery.pidbox"),
    "redirect answers": lambda redis: redis.sadd("_kombu.binding.reply.celery.pidbox", "x"),
    "redirect tasks": lambda redis: redis.sadd("_kombu.binding.ml", "x"),
    "read a binding": lambda redis: redis.smembers("_kombu.binding.ml"),
    "listen to events": lambda redis: listen(redis, service.EVENTS),
    "listen to everything": lambda redis: listen(redis, "*"),
    "listen to more than commands": lambda redis: listen(redis, "/0.*"),
    # By a script, with the rights of the one who runs it
    "fill a queue by a script": lambda redis: redis.eval("return redis.call('lpush', KEYS[1], 'x')", 1, "ml"),
    "fill a queue by a loaded script": lambda redis: redis.evalsha(
        redis.script_load("return redis.call('lpush', 'ml', 'x')"), 1, "pool.etl.unacked_mutex"
    ),
    "load a function": lambda redis: redis.function_load("#!lua name=x\nredis.register_function('x', print)"),
    # The server
    **{
        words: lambda redis, words=words: redis.execute_command(*words.split())
        for words in [
            *("KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "FLUSHALL", "FLUSHDB", "SELECT 1", "SWAPDB 0 1", "MONITOR"),
            *("CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "ACL WHOAMI", "ACL SETUSER airflow-local-etl ~*"),
            *("CLIENT LIST", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1000", "SHUTDOWN NOSAVE", "REPLICAOF NO ONE"),
            *("INFO", "SAVE", "PSYNC ? -1", "FAILOVER", "SCRIPT FLUSH", "MIGRATE h 1 ml 0 1"),
            *("DUMP ml", "RESTORE ml 0 x", "OBJECT ENCODING ml", "MEMORY USAGE ml", "PUBSUB CHANNELS", "TYPE ml"),
        ]
    },
}


def listen(redis: Any, pattern: str) -> None:
    subscription = redis.pubsub()
    subscription.psubscribe(pattern)
    subscription.parse_response()


@needs.redis
@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_a_pool_may_not(attempt: Callable[[Any], object], servers: Servers) -> None:
    operator = client(servers.planned, "operator")
    operator.lpush("ml", "a task")
    operator.lpush("etl", "a task")
    before = dump(operator)
    try:
        with pytest.raises(redis.ResponseError, match=r"(?i)permission|can't (run|access)"):
            attempt(client(servers.planned, "etl"))
        assert dump(operator) == before
    finally:
        operator.delete("ml", "etl")


def dump(operator: Any) -> dict[str, object]:
    return {
        key: operator.dump(key) if operator.type(key) != "list" else operator.lrange(key, 0, -1)
        for key in ("ml", "etl")
    }


@needs.redis
@pytest.mark.parametrize(("user", "password"), [("default", ""), ("airflow-local-etl", "of ml/+"), ("nobody", "x")])
def test_nobody_is_let_in_with_less_than_a_password(user: str, password: str, servers: Servers) -> None:
    with pytest.raises((redis.AuthenticationError, redis.ResponseError), match=r"WRONGPASS|NOAUTH|invalid|required"):
        redis.Redis("127.0.0.1", servers.planned["port"], username=user, password=password).ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis("127.0.0.1", servers.planned["port"]).llen("etl")


@pytest.fixture(name="scheduler", scope="module")
def scheduler_with_workers(servers: Servers) -> Any:
    scheduler = application(servers, None)
    for pool in POOLS:
        servers.worker(pool)
    workers_answer(servers, scheduler, len(POOLS))
    return scheduler


@needs.redis
def test_tasks_run_in_the_pool_of_their_queue_and_nothing_is_refused(servers: Servers, scheduler: Any) -> None:
    operator = client(servers.planned, "operator")
    operator.acl_log_reset()
    for number, queue in enumerate(servers.planned["queues"]):
        scheduler.send_task("run", args=[number], queue=queue)
    wait_for(lambda: len(runs(servers)) == 3, "three tasks run")
    lines = (servers.folder / "runs").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == ["0 etl", "1 etl", "2 ml"]
    wait_for(lambda: not operator.exists("pool.etl.unacked", "pool.ml.unacked"), "all is acknowledged")
    assert refused(operator) == []


def refused(operator: Any) -> list[str]:
    return [entry["object"] for entry in operator.acl_log() if entry["object"] != "client|setinfo"]


@needs.redis
def test_the_scheduler_commands_and_hears_every_worker(servers: Servers, scheduler: Any) -> None:
    assert set(scheduler.control.inspect(timeout=30, limit=2).ping()) == {"etl@host1", "ml@host1"}
    awaited = {"etl@host1", "ml@host1"}

    def seen(event: dict[str, Any]) -> None:
        awaited.discard(event["hostname"])
        receiver.should_stop = not awaited

    with scheduler.connection() as connection:
        receiver = scheduler.events.Receiver(connection, handlers={"*": seen})
        receiver.capture(timeout=120, wakeup=False)
    assert not awaited


@needs.redis
def test_a_worker_that_asks_at_its_start_who_has_its_name_gets_no_error(servers: Servers, scheduler: Any) -> None:
    """As Airflow's does, which ends where Redis refuses the question."""
    operator = client(servers.planned, "operator")
    operator.acl_log_reset()
    assert application(servers, "etl").control.inspect().active_queues() is None
    assert refused(operator) == []


@needs.redis
def test_a_queue_moves_without_a_restart_and_another_pools_does_not(servers: Servers, scheduler: Any) -> None:
    def queues() -> set[str]:
        answer = scheduler.control.inspect(destination=["etl@host1"], timeout=3, limit=1).active_queues() or {}
        return {queue["name"] for queue in answer.get("etl@host1", [])}

    scheduler.control.cancel_consumer("etl", destination=["etl@host1"], reply=True, timeout=3)
    wait_for(lambda: queues() == {"etl_highmem"}, "the queue is given up")
    scheduler.control.add_consumer("etl", destination=["etl@host1"], reply=True, timeout=3)
    wait_for(lambda: queues() == {"etl", "etl_highmem"}, "the queue is taken again")
    scheduler.control.add_consumer("ml", destination=["etl@host1"], reply=True, timeout=3)
    wait_for(lambda: "Not consuming from ml" in servers.log("etl@host1"), "another pool's queue is refused")
    assert queues() == {"etl", "etl_highmem"}
    before = len(runs(servers))
    for queue in ("etl", "ml"):
        scheduler.send_task("run", args=[7], queue=queue)
    wait_for(lambda: len(runs(servers)) == before + 2, "both pools still work")


@needs.redis
def test_a_worker_whose_user_loses_a_queue_goes_on_with_the_others(servers: Servers, scheduler: Any) -> None:
    """Another pool gets it, and the worker is told to cease a moment later."""
    operator = client(servers.planned, "operator")
    user = next(pool["user"] for pool in servers.planned["pools"] if pool["name"] == "etl")
    rule = rules(service.acl(servers.planned, SECRETS))[user].split(" ", 2)[2]
    before = servers.running["etl@host1"].pid
    operator.execute_command("ACL", "SETUSER", user, "reset", *words(rule.replace(" ~etl_highmem", "")))
    try:
        wait_for(lambda: "Not consuming from etl_highmem" in servers.log("etl@host1"), "the worker notices")
        done = len(runs(servers))
        scheduler.send_task("run", args=[501], queue="etl_highmem")
        scheduler.send_task("run", args=[502], queue="etl")
        wait_for(lambda: len(runs(servers)) == done + 1, "the task of the other queue runs")
    finally:
        operator.execute_command("ACL", "SETUSER", user, "reset", *words(rule))
    wait_for(lambda: len(runs(servers)) == done + 2, "the task of the queue that is given back runs")
    assert servers.running["etl@host1"].poll() is None
    assert servers.running["etl@host1"].pid == before


def words(rule: str) -> list[str]:
    """The words of a user's rules; a selector in parentheses is one."""
    return re.findall(r"\([^)]*\)|[^\s()]+", rule)


@needs.redis
def test_a_pool_cannot_send_tasks_and_commands_to_another(servers: Servers, scheduler: Any) -> None:
    stranger = application(servers, "etl")
    with pytest.raises((redis.exceptions.NoPermissionError, OperationalError), match="permission"):
        stranger.send_task("run", args=[9], queue="ml")
    with pytest.raises((redis.exceptions.NoPermissionError, OperationalError), match="permission"):
        stranger.control.broadcast("shutdown")
    workers_answer(servers, scheduler, len(POOLS))


@needs.redis
def test_users_that_change_meanwhile_disturb_no_running_task(servers: Servers, scheduler: Any) -> None:
    """ACL LOAD ends every connection of Redis 7.0; the task goes on, is acknowledged, and runs once."""
    operator = client(servers.planned, "operator")
    scheduler.send_task("run", args=[55, 3], queue="etl")
    wait_for(lambda: 55 in runs(servers), "the task runs")
    operator.execute_command("ACL", "LOAD")
    wait_for(lambda: not client(servers.planned, "operator").exists("pool.etl.unacked"), "it is acknowledged")
    scheduler.send_task("run", args=[56], queue="etl")
    wait_for(lambda: 56 in runs(servers), "the worker works")
    assert runs(servers).count(55) == 1


@needs.redis
def test_a_worker_that_may_take_from_no_queue_says_so_and_asks_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        return [message for message in messages if message.startswith("Redis gives no task: ")]

    with one(tmp_path) as servers:
        client(servers.planned, "operator").execute_command("ACL", "SETUSER", "airflow-local-etl", "-brpop")
        with application(servers, "etl").connection_for_read() as connection:
            connection.default_channel.basic_consume("etl", no_ack=False, callback=print, consumer_tag="one")
            begin = time.monotonic()

            def says_so_twice() -> bool:
                with pytest.raises(TimeoutError):
                    connection.drain_events(timeout=1)
                return len(said()) >= 2

            wait_for(says_so_twice, "it says so, and later again")
            assert len(said()) <= (time.monotonic() - begin) / redis_transport.PAUSE + 1


# --- nothing is lost, and nothing runs twice --------------------------------------------------------------------------


@needs.redis
def test_a_message_whose_queue_was_lost_keeps_no_other_from_its_own(tmp_path: Path) -> None:
    """Neither among what the process owes, nor among what is overdue."""
    with one(tmp_path) as servers:
        operator = client(servers.planned, "operator")
        with application(servers, "etl").connection_for_read() as connection:
            channel = connection.default_channel
            for late, (tag, queue) in enumerate([("own", "etl"), ("foreign", "ml"), ("last", "etl")]):
                message = {"headers": {}, "properties": {"delivery_info": {"exchange": "", "routing_key": queue}}}
                redis_transport._owed.append((tag, message))
                operator.hset("pool.etl.unacked", f"late {tag}", json.dumps([message, "", queue]))
                operator.zadd("pool.etl.unacked_index", {f"late {tag}": late})
            channel.settle()
            channel.qos.restore_visible()
        assert not redis_transport._owed
        assert (operator.llen("etl"), operator.llen("ml")) == (4, 0)
        assert operator.hkeys("pool.etl.unacked") == ["late foreign"]


@needs.redis
@pytest.mark.parametrize(("visible", "times"), [(2, 2), (30600, 1)], ids=["too short", "as planned"])
def test_a_task_longer_than_the_visibility_timeout_runs_twice(visible: int, times: int, tmp_path: Path) -> None:
    """As soon as another worker of the pool starts, which puts back what is overdue."""
    with one(tmp_path) as servers:
        scheduler = application(servers, None)
        servers.worker("etl", visibility_timeout=visible)
        workers_answer(servers, scheduler, 1)
        scheduler.send_task("run", args=[1, 120], queue="etl")
        wait_for(lambda: runs(servers), "the task runs")
        time.sleep(3)
        servers.worker("etl", 2, visibility_timeout=visible)
        workers_answer(servers, scheduler, 2)
        wait_for(lambda: len(runs(servers)) >= times, "the task is run again")
        time.sleep(2)
        servers.quit("etl@host1", "etl@host2")
        assert len(runs(servers)) == times


@needs.redis
def test_a_server_that_was_killed_has_what_waited_and_what_was_held(tmp_path: Path) -> None:
    """With a default user of fewer rights, Redis 7.0 would leave out what a transaction noted."""
    with one(tmp_path) as servers:
        core, pool = client(servers.planned, "core"), client(servers.planned, "etl")
        core.lpush("ml", "waits")
        pool.pipeline().zadd("pool.etl.unacked_index", {"tag": 1}).hset("pool.etl.unacked", "tag", "held").execute()
        # Written to the disk within a second, or two where the disk is slow.
        wait_for(
            lambda: any(b"held" in path.read_bytes() for path in servers.folder.rglob("*.aof")), "it is on the disk"
        )
        servers.kill(servers.planned["port"])
        servers.revive(servers.planned["port"])
        wait_for(lambda: answers(core), "the data is loaded")
        operator = client(servers.planned, "operator")
        assert operator.lrange("ml", 0, -1) == ["waits"]
        assert operator.hgetall("pool.etl.unacked") == {"tag": "held"}


@needs.redis
def test_a_full_memory_refuses_tasks_and_throws_none_away(tmp_path: Path) -> None:
    with one(tmp_path, maxmemory="3mb") as servers:
        core = client(servers.planned, "operator")
        with pytest.raises(redis.ResponseError, match="memory"):
            fill(core)
        assert core.llen("etl") > 10
        assert {len(task) for task in core.lrange("etl", 0, -1)} == {10_000}


@needs.redis
def test_a_server_with_tls_is_trusted_by_its_certificate_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of somebody else's, whose authority the machine knows or not."""
    authority = Authority(tmp_path, "authority")
    with one(tmp_path, authority) as servers:
        servers.planned["tls"] = None
        with pytest.raises((redis.ConnectionError, OperationalError), match="certificate verify failed"):
            application(servers, None).connection_for_write().connect()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
        scheduler = application(servers, None)
        servers.worker("etl")
        workers_answer(servers, scheduler, 1)
        scheduler.send_task("run", args=[3], queue="etl")
        wait_for(lambda: runs(servers) == [3], "the task runs")


def fill(core: Any) -> None:
    while core.lpush("etl", "x" * 10_000):
        pass


@needs.redis
def test_a_task_is_sent_whose_queue_is_declared_on_a_connection_after_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [redis.ConnectionError("as in a failover")]
    bind = redis_transport.Channel._queue_bind

    def fail_once(self: Any, *arguments: Any) -> None:
        if failures:
            raise failures.pop()
        bind(self, *arguments)

    with one(tmp_path) as servers:
        monkeypatch.setattr(redis_transport.Channel, "_queue_bind", fail_once)
        application(servers, None).send_task("run", args=[1], queue="etl")
        assert not failures
        assert client(servers.planned, "operator").llen("etl") == 1


TASKS = 300
ROUNDS = 2
IN_FLIGHT = 4
"""Two workers of two processes each."""


@needs.redis
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
def test_a_master_that_is_killed_costs_no_task(is_encrypted: bool, tmp_path: Path) -> None:
    """Three servers, three Sentinels, two workers and a scheduler that sends all the time."""
    with three(tmp_path, Authority(tmp_path, "authority") if is_encrypted else None, down_after=5) as servers:
        sentinel = sentinels_of(servers)[0]
        scheduler = application(servers, None)
        for number in (1, 2):
            servers.worker("etl", number)
        workers_answer(servers, scheduler, 2)
        for turn in range(ROUNDS):
            master = int(client(servers.planned, "operator", sentinel).sentinel_masters()["airflow"]["port"])
            for number in range(TASKS):
                if number == TASKS // 3:
                    servers.kill(master)
                scheduler.send_task("run", args=[turn * TASKS + number], queue="etl")
                time.sleep(0.01)
            wanted = set(range((turn + 1) * TASKS))
            wait_for(lambda wanted=wanted: wanted <= set(runs(servers)), f"{len(wanted)} tasks run: lost some")
            servers.revive(master)
            await_all(servers)
            assert client(servers.planned, "operator", master).info("replication")["role"] == "slave"
        twice = len(runs(servers)) - len(set(runs(servers)))
        assert twice <= ROUNDS * IN_FLIGHT, f"{twice} tasks ran twice"
