# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Other queues for the workers of a running platform, as playbooks/queues.yml gives them."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, ansible_playbook

pytestmark = pytest.mark.disturbs

QUEUES = "playbooks/queues.yml"
MORE = "test_queue"
CORE = "/opt/airflow/core/current/bin/python"
ASK = (
    "import json; from airflow.providers.celery.executors.celery_executor import app;"
    "found = app.control.inspect(timeout=5).active_queues() or {};"
    "print(json.dumps({name: sorted(each['name'] for each in queues) for name, queues in found.items()}))"
)


def described(platform: Platform, more: dict[str, list[str]]) -> dict[str, t.Any]:
    """The platform's description, with further queues for some sources and pools, by their names."""
    plan = platform.plan
    sources = [
        {"name": each["name"], "queues": [*each["queues"], *more.get(each["name"], [])], **each["origin"]}
        for each in plan["sources"]
    ]
    pools = [
        {
            "name": each["name"],
            "queues": [*each["queues"], *more.get(each["name"], [])],
            "concurrency": each["concurrency"],
        }
        for each in plan["pools"]
    ]
    return {"airflow_dag_sources": sources, "airflow_worker_pools": pools}


def processes(platform: Platform) -> dict[str, str]:
    """What tells one start of each worker from the next."""
    return {
        host: platform.run(host, f"systemctl show --property=InvocationID --value {unit}").stdout.strip()
        for host, unit, _pool in platform.workers
    }


def consumed(platform: Platform) -> dict[str, list[str]]:
    """What each worker consumes, as it says itself to the scheduler's application."""
    host = next(each["hosts"][0] for each in platform.plan["components"] if each["kind"] == "scheduler")
    unit = "airflow-scheduler.service"
    script = (
        f"systemd-run --quiet --pipe --wait --collect --property=LoadCredential=broker_url:{credential('broker_url')}"
        f" --property=LoadCredential=result_backend:{credential('result_backend')}"
        f" --property=LoadCredential=sql_alchemy_conn:{credential('sql_alchemy_conn')}"
        f" --unit=airflow-queues-test --setenv=AIRFLOW_CONFIG=/etc/airflow/queues-test.cfg {CORE} -c {shlex.quote(ASK)}"
    )
    rewritten = (
        f"sed 's,/run/credentials/{unit}/,/run/credentials/airflow-queues-test.service/,'"
        " /etc/airflow/scheduler/airflow.cfg > /etc/airflow/queues-test.cfg"
    )
    try:
        answer = platform.run(host, f"{rewritten} && {script}").stdout
    finally:
        platform.run(host, "rm -f /etc/airflow/queues-test.cfg")
    found: dict[str, list[str]] = json.loads(answer.strip().splitlines()[-1])
    return found


def credential(name: str) -> str:
    return f"/etc/airflow/credentials/scheduler/{name}"


@pytest.fixture(name="pool")
def pool_with_a_source_of_its_name(platform: Platform) -> t.Iterator[dict[str, t.Any]]:
    """A pool whose source has its name, which has its queues back in the end."""
    names = {source["name"] for source in platform.plan["sources"]}
    pool = next((each for each in platform.plan["pools"] if each["name"] in names), None)
    if pool is None:
        pytest.skip("needs a pool and a source of one name")
    yield pool
    ansible_playbook(platform.inventory, QUEUES, {})


def test_workers_get_another_queue_without_a_restart(platform: Platform, pool: dict[str, t.Any]) -> None:
    before, workers = processes(platform), consumed(platform)
    mine = {f"{pool['name']}@{host}" for host in pool["hosts"]}
    more = described(platform, {pool["name"]: [MORE]})

    told = ansible_playbook(platform.inventory, QUEUES, more, "--check", "--diff")
    assert all(f"{worker} would consume" in told for worker in mine), told
    assert consumed(platform) == workers

    told = ansible_playbook(platform.inventory, QUEUES, more)
    assert all(f"{worker} consumes" in told for worker in mine), told
    assert consumed(platform) == {
        worker: sorted([*queues, MORE]) if worker in mine else queues for worker, queues in workers.items()
    }
    assert processes(platform) == before
    written = {
        platform.run(host, f"cat /etc/airflow/worker-{pool['name']}/queues").stdout.splitlines()[-1]
        for host in pool["hosts"]
    }
    assert written == {f"AIRFLOW_WORKER_QUEUES={','.join([*pool['queues'], MORE])}"}

    again = ansible_playbook(platform.inventory, QUEUES, more)
    assert set(re.findall(r"changed=(\d+)", again)) == {"0"}, again

    ansible_playbook(platform.inventory, QUEUES, {})
    assert consumed(platform) == workers
    assert processes(platform) == before


def test_the_next_start_finds_the_same_queues(platform: Platform, pool: dict[str, t.Any]) -> None:
    ansible_playbook(platform.inventory, QUEUES, described(platform, {pool["name"]: [MORE]}))
    host = pool["hosts"][0]
    platform.run(host, f"systemctl restart airflow-worker-{pool['name']}")
    assert consumed(platform)[f"{pool['name']}@{host}"] == sorted([*pool["queues"], MORE])


def test_a_queue_that_needs_another_mount_is_refused(platform: Platform, pool: dict[str, t.Any]) -> None:
    other = next((each for each in platform.plan["pools"] if not set(each["sources"]) & set(pool["sources"])), None)
    if other is None:
        pytest.skip("needs a pool that reads other sources")
    before, workers = processes(platform), consumed(platform)
    lent = described(platform, {})
    for each in lent["airflow_worker_pools"]:
        if each["name"] == pool["name"]:
            each["queues"] = [*each["queues"], *other["queues"]]
    refused = ansible_playbook(platform.inventory, QUEUES, lent, succeeds=False)
    assert f"airflow-worker-{pool['name']}.service on {pool['hosts'][0]}" in refused
    assert "Run site.yml" in refused
    assert (processes(platform), consumed(platform)) == (before, workers)
