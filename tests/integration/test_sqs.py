# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A broker in SQS: its queues are as planned, what somebody changed is named, and other queues restart their workers.

It needs boto3, and credentials in the environment that may change queues, as the controller's do.
"""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import VERIFY, Platform, ansible_playbook
from ansible_collections.airstack.backbone.tests.integration.test_queues import MORE, QUEUES, described, processes

boto3 = pytest.importorskip("boto3", reason="asking SQS needs boto3, which is not installed")

pytestmark = [pytest.mark.disturbs, pytest.mark.broker]

SITE = "site.yml"
SHORT = 30
"""Seconds: the visibility timeout that AWS gives a queue where nobody said otherwise."""


class Queues:
    """The queues of a platform, as SQS's own API has them."""

    def __init__(self, plan: dict[str, t.Any]) -> None:
        self.broker = plan["broker"]
        self._client = boto3.client(
            "sqs", region_name=self.broker["region"], endpoint_url=self.broker["endpoint_url"] or None
        )

    def names(self) -> set[str]:
        listed = self._client.list_queues(QueueNamePrefix=self.broker["prefix"]).get("QueueUrls", [])
        return {url.rsplit("/", 1)[1] for url in listed}

    def attributes(self, name: str) -> dict[str, str]:
        return dict(self._client.get_queue_attributes(QueueUrl=self._url(name), AttributeNames=["All"])["Attributes"])

    def set_timeout(self, name: str, seconds: int) -> None:
        self._client.set_queue_attributes(QueueUrl=self._url(name), Attributes={"VisibilityTimeout": str(seconds)})

    def _url(self, name: str) -> str:
        return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])


@pytest.fixture(name="queues", scope="module")
def queues_of_the_platform(platform: Platform) -> Queues:
    if platform.plan["broker"]["kind"] != "sqs":
        pytest.skip(f"needs SQS; the broker is {platform.plan['broker']['provider']}")
    return Queues(platform.plan)


@pytest.fixture(name="shortened", scope="module")
def queue_with_a_short_timeout(platform: Platform, queues: Queues) -> str:
    """A queue whose visibility timeout somebody changed."""
    name: str = queues.broker["names"][platform.plan["sources"][0]["queues"][0]]
    queues.set_timeout(name, SHORT)
    return name


def test_each_queue_is_there_and_waits_for_the_longest_task(platform: Platform, queues: Queues) -> None:
    named = set(queues.broker["names"].values())
    assert queues.names() == named | {queues.broker["dead_letters"]}
    seconds = str(platform.plan["timeouts"]["visibility_timeout"]["seconds"])
    found = {name: queues.attributes(name) for name in named}
    assert {name: each["VisibilityTimeout"] for name, each in found.items()} == dict.fromkeys(named, seconds)
    for each in found.values():
        assert json.loads(each["RedrivePolicy"])["deadLetterTargetArn"].endswith(f":{queues.broker['dead_letters']}")


def test_nobody_can_tell_the_workers_and_that_is_said(platform: Platform, queues: Queues, tmp_path: t.Any) -> None:
    assert queues.names()
    seen = {"destination": str(tmp_path / "seen.json")}
    refused = ansible_playbook(platform.inventory, "tests/integration/look_at_queues.yml", seen, succeeds=False)
    assert "SQS has no remote control" in refused


def test_other_queues_restart_the_workers_that_get_them(platform: Platform, queues: Queues) -> None:
    names = {source["name"] for source in platform.plan["sources"]}
    pool = next((each for each in platform.plan["pools"] if each["name"] in names), None)
    if pool is None:
        pytest.skip("needs a pool and a source of one name")
    before, there = processes(platform), queues.names()
    more = described(platform, {pool["name"]: [MORE]})

    refused = ansible_playbook(platform.inventory, QUEUES, more, succeeds=False)
    assert f"airflow-worker-{pool['name']}.service on {pool['hosts'][0]}" in refused
    assert "SQS has no remote control" in refused
    assert "Run site.yml" in refused
    assert (processes(platform), queues.names()) == (before, there)

    ansible_playbook(platform.inventory, SITE, more)
    try:
        assert queues.names() == there | {queues.broker["prefix"] + MORE}
        restarted = {host for host, process in processes(platform).items() if process != before[host]}
        assert restarted == set(pool["hosts"])
    finally:
        ansible_playbook(platform.inventory, SITE, {})
    assert queues.names() == there


def test_the_doctor_names_a_queue_with_another_timeout(platform: Platform, shortened: str) -> None:
    output = ansible_playbook(platform.inventory, VERIFY, {"airflow_verify_timeout": 0}, succeeds=False)
    assert f"queue {shortened}: VisibilityTimeout is {SHORT}s" in output


def test_preflight_names_it_before_anything_is_changed(platform: Platform, queues: Queues, shortened: str) -> None:
    output = ansible_playbook(platform.inventory, SITE, {}, "--check", "--tags", "airflow_broker")
    assert f"queue {shortened}: VisibilityTimeout is {SHORT}s" in output
    assert queues.attributes(shortened)["VisibilityTimeout"] == str(SHORT)


def test_a_deployment_corrects_it(platform: Platform, queues: Queues, shortened: str) -> None:
    output = ansible_playbook(platform.inventory, SITE, {}, "--tags", "airflow_broker")
    assert re.search(r"changed=[1-9]", output), output
    planned = platform.plan["timeouts"]["visibility_timeout"]["seconds"]
    assert queues.attributes(shortened)["VisibilityTimeout"] == str(planned)
