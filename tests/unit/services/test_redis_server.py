# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real Redis asked and set by this collection's own client of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils import _resp
from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service
from ansible_collections.airstack.backbone.plugins.modules import redis_server, redis_server_info
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port
from ansible_collections.airstack.backbone.tests.unit.services.redis_platform import module, sentinels_of, three
from ansible_collections.airstack.backbone.tests.unit.services.redis_servers import (
    SECRETS,
    Servers,
    client,
    one,
    wait_for,
)
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import ROOT, Deployer

pytestmark = needs.redis


@pytest.fixture(name="servers")
def one_server(tmp_path: Path) -> Iterator[Servers]:
    with one(tmp_path) as servers:
        yield servers


def asked(servers: Servers, **other: Any) -> dict[str, Any]:
    planned = servers.planned
    login = {"user": planned["user"], "password": SECRETS["broker"]}
    users = {"etl": ["airflow-local-etl"], "ml": ["airflow-local-ml"]}
    return {"host": "127.0.0.1", "port": planned["port"], **login, "tls": None, "users": users, **other}


def test_what_is_as_it_shall_be_stays(servers: Servers) -> None:
    result = redis_server.run(module(servers, settings={**service.settings(servers.planned), "maxmemory": "0"}))
    assert (result["changed"], result["differences"], result["role"]) == (False, [], "master")


@pytest.mark.parametrize("check", [True, False])
def test_what_somebody_changed_is_found_and_mended(check: bool, servers: Servers) -> None:
    operator = client(servers.planned, "operator")
    operator.config_set("maxmemory-policy", "allkeys-lru")
    operator.config_set("masterauth", "another")
    result = redis_server.run(module(servers, check))
    assert result["changed"]
    assert result["differences"] == [
        {"setting": "maxmemory-policy", "was": "allkeys-lru", "wanted": "noeviction"},
        {"setting": "masterauth", "was": "other", "wanted": "(secret)"},
    ]
    assert result["diff"]["after"] == "maxmemory-policy noeviction\nmasterauth (secret)\n"
    left = "allkeys-lru" if check else "noeviction"
    assert operator.config_get("maxmemory-policy") == {"maxmemory-policy": left}
    assert redis_server.run(module(servers, check))["changed"] is check


def looked(servers: Servers, **options: Any) -> dict[str, Any]:
    return redis_server_info.look(module(servers, **options).params)


def test_differences_are_told_and_left(servers: Servers) -> None:
    operator = client(servers.planned, "operator")
    operator.config_set("maxmemory-policy", "allkeys-lru")
    told = looked(servers, settings={**service.settings(servers.planned), "maxmemory-polizy": "x"})
    difference = {"setting": "maxmemory-policy", "was": "allkeys-lru", "wanted": "noeviction"}
    assert told == {
        "error": None,
        "timed_out": False,
        "differences": [difference],
        "unknown": ["maxmemory-polizy"],
        "untold": [],
    }
    assert operator.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_who_may_not_ask_for_settings_sees_those_of_info(servers: Servers) -> None:
    login = {"user": servers.planned["user"], "password": SECRETS["broker"]}
    client(servers.planned, "operator").config_set("maxmemory-policy", "allkeys-lru")
    told = looked(servers, **login)
    assert [each["setting"] for each in told["differences"]] == ["maxmemory-policy"]
    assert (told["unknown"], told["untold"]) == ([], ["appendfsync"])
    pool = {"user": "airflow-local-etl", "password": SECRETS["broker_etl"]}
    assert looked(servers, **pool)["untold"] == list(service.settings(servers.planned))


def test_a_server_that_gives_no_answer_says_why(servers: Servers) -> None:
    assert "WRONGPASS" in looked(servers, password="x")["error"]
    assert "refused" in looked(servers, port=free_port())["error"]
    assert looked(servers, password="x")["differences"] == []


def test_users_are_loaded(servers: Servers) -> None:
    path = servers.folder / str(servers.planned["port"]) / "users.acl"
    path.write_text(path.read_text(encoding="utf-8") + "user new on #" + "0" * 64 + "\n", encoding="utf-8")
    assert redis_server.run(module(servers, load_users=True))["changed"]
    assert "new" in client(servers.planned, "operator").acl_users()


def test_it_listens_on_another_address_without_a_restart(servers: Servers) -> None:
    other = "127.0.0.2"
    changing = module(servers, settings={"bind": f"127.0.0.1 {other}"})
    elsewhere = {**changing.params, "host": other}
    with pytest.raises(OSError, match="refused"):
        _resp.connect(elsewhere)
    result = redis_server.run(changing)
    assert (result["changed"], result["restarted"]) == (True, False)
    with closing(_resp.connect(elsewhere)) as redis:
        assert redis.call("PING") == "PONG"
    assert not redis_server.run(changing)["changed"]


def test_a_master_that_no_replica_can_follow_is_not_restarted(tmp_path: Path) -> None:
    with three(tmp_path) as servers:
        of_sentinel = sentinels_of(servers)[0]
        sentinel = client(servers.planned, "operator", of_sentinel)
        for replica in sentinel.sentinel_slaves("airflow"):
            client(servers.planned, "operator", replica["port"]).config_set("replica-priority", 0)
        wait_for(
            lambda: {each["slave-priority"] for each in sentinel.sentinel_slaves("airflow")} == {0},
            "the Sentinel knows that none may take over",
        )
        of_host = {"host": "127.0.0.1", "port": of_sentinel, "master_name": "airflow"}
        with pytest.raises(redis_server.Failed, match=r"and was not: the Sentinel .* hand over \(NOGOODSLAVE"):
            redis_server.run(module(servers, restart=True, sentinel=of_host))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bind": "192.0.2.1"}, "bind: Redis refuses the value"),
        (
            {"bind": "192.0.2.1", "maxmemory-policy": "never"},
            r"bind: Redis refuses (.|\n)*maxmemory-policy: Redis refuses",
        ),
        ({"maxmemory-polizy": "x"}, "Redis knows no setting maxmemory-polizy: take it out of airflow_broker_settings"),
        ({"maxmemory-policy": "never"}, "maxmemory-policy: Redis refuses the value"),
    ],
)
def test_settings_that_cannot_be_are_told(settings: dict[str, str], said: str, servers: Servers) -> None:
    with pytest.raises(redis_server.Failed, match=said):
        redis_server.run(module(servers, settings=settings))
    assert client(servers.planned, "operator").ping()


def test_a_wrong_password_is_told_without_it(servers: Servers) -> None:
    with pytest.raises(redis_server.Failed, match=r"does not let airflow-local\.operator in") as failure:
        redis_server.run(module(servers, password="wrong-one"))
    assert "wrong-one" not in str(failure.value)


def test_a_server_tells_queues_consumers_and_settings(servers: Servers) -> None:
    client(servers.planned, "core").lpush("etl", "a", "b")
    worker = client(servers.planned, "ml")
    worker.brpop("ml", timeout=0.1)
    answer = _resp.ask(asked(servers))
    assert answer["queues"] == {"etl": {"messages": 2, "consumers": 0}, "ml": {"messages": 0, "consumers": 1}}
    assert answer["settings"] == {"maxmemory-policy": "noeviction", "appendonly": "yes"}
    worker.close()
    assert _resp.ask(asked(servers, users={"ml": None}))["queues"] == {"ml": {"messages": 0, "consumers": None}}


def test_what_a_user_may_not_know_is_not_told(servers: Servers) -> None:
    login = {"user": "airflow-local-etl", "password": SECRETS["broker_etl"]}
    answer = _resp.ask(asked(servers, **login))
    assert answer["queues"]["etl"] == {"messages": 0, "consumers": None}
    assert "no permissions" in answer["queues"]["ml"]["error"]
    assert answer["settings"] == {}


def test_a_broker_that_does_not_answer_says_why(servers: Servers) -> None:
    assert "WRONGPASS" in _resp.ask(asked(servers, password="x"))["error"]
    assert "refused" in _resp.ask(asked(servers, port=free_port()))["error"]
    with pytest.raises(OSError, match=r"no Sentinel names a master \(127.0.0.1:\d+: .*refused"):
        _resp.master([("127.0.0.1", free_port())], "airflow", (None, None))


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"$10\r\nabc", "the connection was closed"), (b"HTTP/1.1 400 Bad Request\r\n", "none of Redis's: 'HTTP/1.1 400")],
)
def test_an_answer_that_is_no_whole_one_of_redis_is_an_error(answer: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with closing(_resp.Redis("127.0.0.1", port)) as redis:
            served, _address = listener.accept()
            served.sendall(answer)
            served.close()
            with pytest.raises(EOFError, match=words):
                redis.call("PING")


def test_the_role_has_redis_listen_on_loopback_too_and_nowhere_twice(tmp_path: Path) -> None:
    wanted = {"": "* -::*", "0.0.0.0": "0.0.0.0", "127.0.0.1": "127.0.0.1", "127.0.0.2": "127.0.0.2 127.0.0.1"}
    write = {
        "ansible.builtin.copy": {"content": "{{ __airflow_broker_bind }}", "dest": f"{tmp_path}/bind {{{{ item }}}}"},
        "loop": list(wanted),
        "vars": {"airflow_broker_listen_addresses": "{{ [item] | select | list }}"},
    }
    tasks = [{"ansible.builtin.include_vars": {"file": str(ROOT / "roles/airflow_broker/vars/redis.yml")}}, write]
    play = {"hosts": "airflow_broker", "gather_facts": False, "tasks": tasks}
    run = Deployer(tmp_path, [play], {"airflow_broker": ["redis1"]}, {}, {})()
    assert run.failed == 0, run.said
    for given, expected in wanted.items():
        bind = (tmp_path / f"bind {given}").read_text(encoding="utf-8")
        assert bind == expected
        with one(tmp_path, bind=bind) as servers:
            assert client(servers.planned, "operator").ping()
