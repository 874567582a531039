# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real Redis with the role's TLS: its clients talk to who has the certificate of its address, and nobody else."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

from ansible_collections.airstack.backbone.plugins.module_utils import _resp
from ansible_collections.airstack.backbone.plugins.modules import health_info, redis_server, redis_server_info
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority
from ansible_collections.airstack.backbone.tests.unit.services.redis_platform import (
    application,
    module,
    runs,
    sentinels_of,
    three,
    workers_answer,
)
from ansible_collections.airstack.backbone.tests.unit.services.redis_servers import (
    ADDRESS,
    POOLS,
    SECRETS,
    Servers,
    client,
    one,
    wait_for,
)

pytestmark = needs.redis

NOBODY = "10.89.64.99"


@pytest.fixture(name="authority", scope="module")
def authority_of_the_platform(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "authority")


@pytest.fixture(name="stranger", scope="module")
def another_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "stranger")


@pytest.fixture(name="servers")
def one_server(authority: Authority, tmp_path: Path) -> Iterator[Servers]:
    with one(tmp_path, authority) as servers:
        yield servers


def asked(servers: Servers, tls: ssl.SSLContext | None) -> dict[str, Any]:
    login = {"user": servers.planned["user"], "password": SECRETS["broker"]}
    return _resp.ask({"host": ADDRESS, "port": servers.planned["port"], **login, "tls": tls, "users": {"etl": None}})


def trusting(authority: Authority) -> ssl.SSLContext:
    return _resp.trusting(authority.ca.read_text(encoding="utf-8"))


def shown(servers: Servers) -> str:
    """The certificate that the server shows, and which server it is."""
    identity = client(servers.planned, "operator").info("server")["run_id"]
    return f"{ssl.get_server_certificate((ADDRESS, servers.planned['port']))} {identity}"


def test_tasks_and_commands_go_through_tls(servers: Servers) -> None:
    scheduler = application(servers, None)
    for pool in POOLS:
        servers.worker(pool)
    workers_answer(servers, scheduler, len(POOLS))
    for number, queue in enumerate(servers.planned["queues"]):
        scheduler.send_task("run", args=[number], queue=queue)
    wait_for(lambda: sorted(runs(servers)) == [0, 1, 2], "three tasks run")


def test_nobody_is_let_in_without_tls(servers: Servers) -> None:
    with pytest.raises(redis.ConnectionError):
        redis.Redis(ADDRESS, servers.planned["port"]).ping()
    assert asked(servers, None)["error"]
    assert client(servers.planned, "operator").config_get("port") == {"port": "0"}


def test_another_authoritys_certificate_is_refused(servers: Servers, authority: Authority, stranger: Authority) -> None:
    assert asked(servers, trusting(authority))["queues"] == {"etl": {"messages": 0, "consumers": None}}
    assert "certificate verify failed" in asked(servers, trusting(stranger))["error"]
    servers.planned["tls"]["ca"] = str(stranger.ca)
    with pytest.raises((redis.ConnectionError, OperationalError), match="certificate verify failed"):
        application(servers, None).connection_for_write().connect()


def test_a_certificate_of_another_address_is_refused(authority: Authority, tmp_path: Path) -> None:
    with one(tmp_path, authority) as servers:
        authority.equip(servers.tls, NOBODY)
        servers.kill(servers.planned["port"])
        servers.revive(servers.planned["port"])
        assert "not valid for" in asked(servers, trusting(authority))["error"]
        with pytest.raises((redis.ConnectionError, OperationalError), match="not valid for"):
            application(servers, None).connection_for_write().connect()
        options = module(servers).params
        assert "not valid for" in redis_server_info.look(options)["error"]
        reached = {**options, "tls": {**options["tls"], "name": NOBODY}}
        assert redis_server_info.look(reached)["error"] is None


def test_a_new_certificate_is_taken_without_a_restart(servers: Servers, authority: Authority) -> None:
    before = shown(servers)
    waiting = client(servers.planned, "core")
    assert waiting.ping()
    authority.equip(servers.tls, ADDRESS)
    result = redis_server.run(module(servers, load_certificate=True))
    assert (result["changed"], result["restarted"]) == (True, False)
    after = shown(servers)
    assert after != before
    assert after.split()[-1] == before.split()[-1]
    assert waiting.ping()


def test_users_and_a_certificate_that_changed_together_are_loaded(servers: Servers, authority: Authority) -> None:
    before = shown(servers)
    authority.equip(servers.tls, ADDRESS)
    path = servers.folder / str(servers.planned["port"]) / "users.acl"
    path.write_text(path.read_text(encoding="utf-8") + "user new on #" + "0" * 64 + "\n", encoding="utf-8")
    assert not redis_server.run(module(servers, load_certificate=True, load_users=True))["restarted"]
    assert "new" in client(servers.planned, "operator").acl_users()
    assert shown(servers) != before


def test_a_key_of_another_certificate_is_told_and_the_former_goes_on(servers: Servers, authority: Authority) -> None:
    before = shown(servers)
    _certificate, key = authority.certify(ADDRESS)
    (servers.tls / "key.pem").write_text(key, encoding="utf-8")
    with pytest.raises(redis_server.Failed, match=r"does not take the certificate of .*certificate\.pem") as failure:
        redis_server.run(module(servers, load_certificate=True))
    assert "see that the key belongs to it" in str(failure.value)
    assert shown(servers) == before


def test_a_new_authority_restarts_the_server(servers: Servers, stranger: Authority) -> None:
    before = shown(servers)
    stranger.equip(servers.tls, ADDRESS)
    with pytest.raises(ssl.SSLCertVerificationError):
        redis_server.run(module(servers))
    result = redis_server.run(module(servers, load_certificate=True))
    assert (result["changed"], result["restarted"], result["role"]) == (True, True, "master")
    servers.planned["tls"]["ca"] = str(stranger.ca)
    assert shown(servers).split()[-1] != before.split()[-1]


def test_the_doctor_asks_the_master_that_encrypted_sentinels_name(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    with three(tmp_path, authority) as servers:
        client(servers.planned, "core").lpush("etl", "a task")
        answer = look(servers, authority)
        assert answer["queues"]["etl"]["messages"] == 1
        assert answer["broker_settings"] == {"maxmemory-policy": "noeviction", "appendonly": "yes"}
        assert "certificate verify failed" in look(servers, stranger)["queues"][""]["error"]
        plain = redis.Redis(ADDRESS, sentinels_of(servers)[0])
        with pytest.raises(redis.ConnectionError):
            plain.ping()


def look(servers: Servers, authority: Authority) -> dict[str, Any]:
    plan = {"hosts": [], "pools": [{"name": name, "queues": queues, "machines": []} for name, queues in POOLS.items()]}
    endpoint = {**servers.planned, "ca": authority.ca.read_text(encoding="utf-8")}
    options = {"plan": plan, "broker": endpoint, "broker_password": SECRETS["broker"]}
    ask: Callable[[], dict[str, Any]] = health_info.Look(SimpleNamespace(params=options), options["plan"])._asked_broker  # type: ignore[arg-type]
    return ask()
