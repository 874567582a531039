# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Other queues for the workers of a running platform, as playbooks/queues.yml gives them."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, ansible_playbook

pytestmark = [pytest.mark.disturbs, pytest.mark.broker]

QUEUES = "playbooks/queues.yml"
MORE = "test_queue"


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
            **({"team": each["team"]} if each["team"] not in (None, each["name"]) else {}),
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


@pytest.fixture(name="look")
def what_the_module_tells(platform: Platform, tmp_path: pathlib.Path) -> t.Callable[[], dict[str, t.Any]]:
    def look() -> dict[str, t.Any]:
        destination = tmp_path / "seen.json"
        ansible_playbook(platform.inventory, "tests/integration/look_at_queues.yml", {"destination": str(destination)})
        seen: dict[str, t.Any] = json.loads(destination.read_text(encoding="utf-8"))
        return seen

    return look


@pytest.fixture(name="consumed")
def what_each_worker_consumes(look: t.Callable[[], dict[str, t.Any]]) -> t.Callable[[], dict[str, list[str]]]:
    return lambda: {name: worker["queues"] for name, worker in look()["workers"].items()}


@pytest.fixture(name="pool")
def pool_with_a_source_of_its_name(platform: Platform) -> t.Iterator[dict[str, t.Any]]:
    """A pool whose source has its name, which has its queues back in the end."""
    if platform.plan["broker"]["kind"] == "sqs":
        pytest.skip("needs a broker with remote control, which SQS has not: see test_sqs.py")
    names = {source["name"] for source in platform.plan["sources"]}
    pool = next((each for each in platform.plan["pools"] if each["name"] in names), None)
    if pool is None:
        pytest.skip("needs a pool and a source of one name")
    yield pool
    ansible_playbook(platform.inventory, QUEUES, {})


@pytest.mark.usefixtures("pool")
def test_a_platform_as_described_has_nothing_that_does_not_fit(look: t.Any) -> None:
    seen = look()
    assert (seen["missing"], seen["without_worker"], seen["without_source"]) == ([], {}, {})
    assert not seen["changed"]


def test_workers_get_another_queue_without_a_restart(
    platform: Platform, pool: dict[str, t.Any], consumed: t.Any
) -> None:
    before, workers = processes(platform), consumed()
    mine = {f"{pool['name']}@{host}" for host in pool["hosts"]}
    more = described(platform, {pool["name"]: [MORE]})

    told = ansible_playbook(platform.inventory, QUEUES, more, "--check", "--diff")
    assert all(f"{worker} would consume" in told for worker in mine), told
    assert consumed() == workers

    told = ansible_playbook(platform.inventory, QUEUES, more)
    assert all(f"{worker} consumes" in told for worker in mine), told
    assert consumed() == {
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
    assert consumed() == workers
    assert processes(platform) == before


def test_the_next_start_finds_the_same_queues(platform: Platform, pool: dict[str, t.Any], consumed: t.Any) -> None:
    ansible_playbook(platform.inventory, QUEUES, described(platform, {pool["name"]: [MORE]}))
    host = pool["hosts"][0]
    platform.run(host, f"systemctl restart airflow-worker-{pool['name']}")
    assert consumed()[f"{pool['name']}@{host}"] == sorted([*pool["queues"], MORE])


def test_a_queue_that_needs_another_mount_is_refused(
    platform: Platform, pool: dict[str, t.Any], consumed: t.Any
) -> None:
    other = next((each for each in platform.plan["pools"] if not set(each["sources"]) & set(pool["sources"])), None)
    if other is None:
        pytest.skip("needs a pool that reads other sources")
    before, workers = processes(platform), consumed()
    # A pool that reads another team's sources is of that team, and may leave its own one to nobody.
    lent = {**described(platform, {}), "airflow_team_users": []}
    for each in lent["airflow_worker_pools"]:
        if each["name"] == pool["name"]:
            each["queues"] = [*each["queues"], *other["queues"]]
    refused = ansible_playbook(platform.inventory, QUEUES, lent, succeeds=False)
    assert f"airflow-worker-{pool['name']}.service on {pool['hosts'][0]}" in refused
    assert "Run site.yml" in refused
    assert (processes(platform), consumed()) == (before, workers)
