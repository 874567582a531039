# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Real Celery workers on SQS, for which moto's server stands: how often a task runs, and what a pool's rights keep it from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("pycurl", reason="pycurl, without which kombu does not consume from SQS, is not installed here")
pytest.importorskip("boto3", reason="boto3 is not installed here")
pytest.importorskip("moto.server", reason="moto's server, which stands for AWS, is not installed here")

from airflow_backbone import celery_sqs
from ansible_collections.airstack.backbone.plugins.module_utils._services import sqs
from ansible_collections.airstack.backbone.tests.unit.services import aws, sqs_app
from ansible_collections.airstack.backbone.tests.unit.services.aws import Aws
from ansible_collections.airstack.backbone.tests.unit.services.sqs_plans import broker_of, planned

START_SECONDS = 120
PATIENCE_SECONDS = 120

KEYS = {"core": "AKIACORE", "etl": "AKIAETL", "ml": "AKIAML"}


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with aws.running() as found:
        yield found


class Platform:
    """A plan whose queues are there, its workers, and what they ran."""

    def __init__(self, server: Aws, folder: Path) -> None:
        self.aws = server
        self.folder = folder
        self.ran_file = folder / "ran"
        self.plan = planned(
            airflow_broker_endpoint_url=server.url, airflow_broker_users=KEYS, airflow_longest_task="1m"
        )

    def make_queues(self, **attributes: str) -> None:
        client = self.aws.client("sqs")
        for queue in sqs.queues(self.plan):
            timeout = {"VisibilityTimeout": str(queue["visibility_timeout"])} if "visibility_timeout" in queue else {}
            client.create_queue(QueueName=queue["name"], Attributes={**timeout, **attributes})

    def send(self, queue: str, name: str, seconds: float = 0, until: Path | None = None) -> None:
        """A task that ends after its seconds, and not before a file is there where one is named."""
        broker = broker_of(self.plan, "scheduler", None)
        sqs_app.application(**broker).send_task("run", args=[name, seconds, str(until or "")], queue=queue)

    def ran(self) -> Counter[str]:
        """How often each task began to run."""
        return Counter(self.ran_file.read_text(encoding="utf-8").split()) if self.ran_file.exists() else Counter()

    def messages(self, queue: str) -> tuple[int, int]:
        """To be delivered, and in work."""
        found = self.aws.attributes(f"airflow-local-{queue}")
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    def is_empty(self) -> bool:
        return all(self.messages(queue) == (0, 0) for queue in self.plan["broker"]["queues"])

    @contextmanager
    def worker(
        self, pool: str, queues: str, concurrency: int = 1, wait: int | None = 1
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of the pool, which may be told any queue: what keeps it from others' are its rights."""
        broker = broker_of(self.plan, "worker", pool)
        settings = {**broker["settings"], **({"wait_time_seconds": str(wait)} if wait else {})}
        settings["predefined_queues"] = broker_of(self.plan, "scheduler", None)["settings"]["predefined_queues"]
        environment = {
            **os.environ,
            "SQS_BROKER": json.dumps({"url": broker["url"], "settings": settings}),
            "SQS_RAN": str(self.ran_file),
            "NOTIFY_SOCKET": "",
        }
        log = self.folder / f"{pool}.log"
        command = [sys.executable, "-m", "celery", "--app", "sqs_app", "worker", "-O", "fair", "--loglevel", "INFO"]
        command += ["--queues", queues, "--concurrency", str(concurrency), "--hostname", f"{pool}@here"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=Path(__file__).parent, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            assert wait_for(lambda: b" ready." in log.read_bytes() or process.poll() is not None, START_SECONDS)
            assert process.poll() is None, log.read_text(encoding="utf-8")
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE_SECONDS)


def wait_for(is_so: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.2)
    return is_so()


@pytest.fixture
def platform(server: Aws, tmp_path: Path) -> Iterator[Platform]:
    yield Platform(server, tmp_path)
    server.clear()


def test_a_task_longer_than_the_timeout_of_its_queue_runs_twice(platform: Platform) -> None:
    """Whatever Celery's own visibility_timeout says: for a queue that is there already, it means nothing."""
    platform.make_queues(VisibilityTimeout="3")
    assert broker_of(platform.plan, "worker", "etl")["settings"]["visibility_timeout"] == "660"
    platform.send("etl", "long", 15)
    with platform.worker("etl", "etl", concurrency=2):
        assert wait_for(lambda: platform.ran()["long"] >= 2, PATIENCE_SECONDS)


def test_with_the_timeout_of_the_plan_it_runs_once(platform: Platform) -> None:
    platform.make_queues()
    platform.send("etl", "long", 7)
    with platform.worker("etl", "etl", concurrency=2):
        assert wait_for(lambda: platform.ran()["long"] == 1, PATIENCE_SECONDS)
        assert wait_for(platform.is_empty, PATIENCE_SECONDS)
    assert platform.ran() == {"long": 1}


def test_no_message_waits_in_a_worker_while_its_time_passes(platform: Platform, tmp_path: Path) -> None:
    """Two queues, a worker whose one process is busy, and another one without anything to do."""
    platform.make_queues()
    queues = ["etl", "etl_highmem"]
    both_run = tmp_path / "both run"
    for queue in queues:
        platform.send(queue, queue, until=both_run)
    with platform.worker("etl", ",".join(queues)):
        assert wait_for(lambda: len(platform.ran()) == 1, PATIENCE_SECONDS)
        with platform.worker("ml", ",".join(queues)):
            assert wait_for(lambda: len(platform.ran()) == 2, PATIENCE_SECONDS)
            both_run.touch()
            assert wait_for(platform.is_empty, PATIENCE_SECONDS)
    assert platform.ran() == {"etl": 1, "etl_highmem": 1}


def test_what_comes_to_a_worker_that_stops_is_given_to_another(platform: Platform) -> None:
    platform.make_queues()
    with platform.worker("etl", "etl", concurrency=4, wait=6) as stopping:
        platform.aws.asked.clear()
        assert wait_for(lambda: platform.aws.asked["ReceiveMessage"] > 0, PATIENCE_SECONDS)
        stopping.send_signal(signal.SIGTERM)
        assert wait_for(lambda: b"Warm shutdown" in (platform.folder / "etl.log").read_bytes(), PATIENCE_SECONDS)
        platform.send("etl", "late")
        assert stopping.wait(PATIENCE_SECONDS) == 0
    # What Celery had taken already, kombu gives back with a wait of its own, of 6 s here.
    assert wait_for(lambda: platform.messages("etl") == (1, 0) or platform.ran()["late"] == 1, PATIENCE_SECONDS)
    with platform.worker("etl", "etl"):
        assert wait_for(lambda: platform.ran()["late"] == 1 and platform.is_empty(), PATIENCE_SECONDS)


def test_a_stopping_worker_finishes_its_tasks(platform: Platform) -> None:
    platform.make_queues()
    platform.send("etl", "running", 4)
    with platform.worker("etl", "etl") as stopping:
        assert wait_for(lambda: platform.ran()["running"] == 1, PATIENCE_SECONDS)
        stopping.send_signal(signal.SIGTERM)
        assert stopping.wait(PATIENCE_SECONDS) == 0
    assert platform.is_empty()


def test_the_task_of_a_killed_worker_runs_again(platform: Platform) -> None:
    platform.make_queues(VisibilityTimeout="6")
    platform.send("etl", "lost", 30)
    with platform.worker("etl", "etl") as killed:
        assert wait_for(lambda: platform.ran()["lost"] == 1, PATIENCE_SECONDS)
        killed.kill()
    with platform.worker("etl", "etl"):
        assert wait_for(lambda: platform.ran()["lost"] == 2, PATIENCE_SECONDS)


@pytest.fixture
def walled(platform: Platform) -> Platform:
    """Each key may do what the policy of its pool allows."""
    platform.make_queues()
    platform.aws.policies = {KEYS[policy["who"]]: policy["policy"] for policy in sqs.policies(platform.plan)}
    return platform


def test_a_pool_reaches_no_queue_but_its_own(walled: Platform) -> None:
    walled.send("ml", "of-ml")
    urls = walled.plan["broker"]["urls"]
    thief = walled.aws.client("sqs", KEYS["etl"])
    for call in (
        lambda: thief.receive_message(QueueUrl=urls["ml"]),
        lambda: thief.send_message(QueueUrl=urls["ml"], MessageBody="x"),
        lambda: thief.send_message(QueueUrl=urls["etl"], MessageBody="x"),
        lambda: thief.purge_queue(QueueUrl=urls["ml"]),
        lambda: thief.delete_queue(QueueUrl=urls["etl"]),
    ):
        with pytest.raises(thief.exceptions.ClientError, match="AccessDenied"):
            call()
    with pytest.raises(AssertionError, match="AccessDenied"), walled.worker("etl", "etl,ml"):
        pass
    assert walled.messages("ml") == (1, 0)


def test_a_worker_goes_on_where_one_queue_is_denied_and_asks_it_again(walled: Platform) -> None:
    allowed = dict(walled.aws.policies)
    walled.aws.policies[KEYS["etl"]] = allowed[KEYS["etl"]] | {
        "Statement": [*allowed[KEYS["etl"]]["Statement"], *allowed[KEYS["ml"]]["Statement"]]
    }
    with walled.worker("etl", "etl,ml", concurrency=4) as worker:
        walled.aws.policies = allowed
        # What was asked before is answered yet.
        log = walled.folder / "etl.log"
        assert wait_for(lambda: b"is asked again" in log.read_bytes(), PATIENCE_SECONDS)
        walled.send("ml", "of-ml")
        walled.send("etl", "of-etl")
        assert wait_for(lambda: walled.ran()["of-etl"] == 1, PATIENCE_SECONDS)
        assert walled.ran()["of-ml"] == 0
        assert worker.poll() is None
        walled.aws.policies = {}
        assert wait_for(lambda: walled.ran()["of-ml"] == 1, PATIENCE_SECONDS)


def test_a_worker_needs_no_more_than_its_rights(walled: Platform) -> None:
    walled.send("etl", "task")
    with walled.worker("etl", "etl,etl_highmem", concurrency=2) as worker:
        assert wait_for(lambda: walled.ran()["task"] == 1 and walled.is_empty(), PATIENCE_SECONDS)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0
    assert b"AccessDenied" not in (walled.folder / "etl.log").read_bytes()


def test_one_queue_does_not_wait_for_a_question_to_another(platform: Platform) -> None:
    """One process, two queues, the longest wait: a question to the empty one is a brief one."""
    platform.make_queues()
    names = {f"airflow-local-{queue}" for queue in ("etl", "etl_highmem")}
    platform.aws.waits.clear()
    with platform.worker("etl", "etl,etl_highmem", wait=None):
        assert wait_for(lambda: all(len(platform.aws.waits[name]) >= 2 for name in names), PATIENCE_SECONDS)
        platform.send("etl_highmem", "soon")
        assert wait_for(lambda: platform.ran()["soon"] == 1, PATIENCE_SECONDS)
    assert {seconds for name in names for seconds in platform.aws.waits[name]} == {celery_sqs.BRIEF_SECONDS}
