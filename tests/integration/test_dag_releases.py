# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A team's repository is published while its DAG runs: the run keeps the code that it began with, the next one has the new.

The tests are steps of one story, in their order.
"""

from __future__ import annotations

import contextlib
import pathlib
import typing as t
import urllib.error
import uuid

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import (
    REFRESH_SECONDS,
    VERIFY,
    Airflow,
    Platform,
    ansible_playbook,
    quoted,
    wait_for,
)
from ansible_collections.airstack.backbone.tests.integration.repository import Repository, served

pytestmark = pytest.mark.disturbs

SITE = "site.yml"
ONLY = ["--tags", "airflow_dags,airflow_components"]
"""The parts of site.yml that another origin of a source is for; what a platform of several hosts has besides takes a minute."""
REPLACE = ["--tags", "airflow_components,airflow_verify"]
"""Those that other workers are for, the doctor included."""
PATIENCE = 1
"""Seconds that a run waits for a worker which is at work."""
KNOWN_WITHIN = 600
RUNS_WITHIN = 600
WORKER_STARTS_WITHIN = 600
RUN_ENDS_WITHIN = 900
"""Seconds, with the start of its worker."""
UPLOADED_WITHIN = 300
DAGS = "playbooks/dags.yml"
ROLLBACK = "playbooks/rollback_dags.yml"

COMMIT_PAGE = "https://git.example.com/team/commit/"

TWO_STEPS = '''
"""A DAG of two tasks, of which the first waits for something to happen between them."""

from __future__ import annotations

import time

from airflow.sdk import DAG, Variable, task
from release_story_code import VERSION

with DAG("release_story", schedule=None):

    @task
    def first() -> str:
        time.sleep(25)
        for _second in range(7200):
            if Variable.get("release_story", default="") == "go on":
                break
            time.sleep(1)
        return VERSION

    @task
    def second(_first: str) -> str:
        return VERSION

    second(first())
'''

BROKEN = """
from airflow.sdk import DAG, task
from a_module_that_nobody_has import anything
"""


class Story:
    """One source of the platform, as a repository describes it, and what Airflow makes of it."""

    def __init__(self, platform: Platform, repository: Repository) -> None:
        self.platform = platform
        self.repository = repository
        self.airflow: Airflow = platform.airflow
        self.source: dict[str, t.Any] = platform.plan["sources"][0]
        self.storage = pathlib.PurePosixPath(platform.plan["dag_storage"]["path"], self.source["name"])
        self.commits: list[str] = []
        self.releases: list[str] = []
        self.runs: dict[str, dict[str, t.Any]] = {}

    @property
    def workers(self) -> list[tuple[str, str]]:
        """(host, unit) of those that run the source's tasks."""
        return [(host, unit) for host, unit, pool in self.platform.workers if self.source["name"] in pool["sources"]]

    def replace_workers(self) -> None:
        """Give them room for a task more, and do not wait until they have ended those that they run."""
        pools = [
            {
                "name": pool["name"],
                "queues": pool["queues"],
                "concurrency": pool["concurrency"] + (self.source["name"] in pool["sources"]),
            }
            for pool in self.platform.plan["pools"]
        ]
        more = {"airflow_worker_pools": pools, "airflow_components_drain_wait": PATIENCE}
        self.run_playbook(SITE, *REPLACE, **more)

    def processes(self) -> list[tuple[str, str]]:
        """(state, process) of each worker, as systemd has them."""
        asked = [
            (host, f"systemctl is-active {unit}; systemctl show --value --property MainPID {unit}")
            for host, unit in self.workers
        ]
        answers = [self.platform.run(host, command).stdout.split() for host, command in asked]
        return [(answer[0], answer[1]) for answer in answers]

    def variables(self, **more: t.Any) -> dict[str, t.Any]:
        origin = {
            "repository": self.repository.url,
            "version": "main",
            "subdirectory": "dags",
            "view_url": f"{COMMIT_PAGE}{{commit}}",
        }
        others = [each for each in self.platform.plan["sources"] if each is not self.source]
        sources = [
            {"name": self.source["name"], "queues": self.source["queues"], **origin},
            *({"name": each["name"], "queues": each["queues"], **each["origin"]} for each in others),
        ]
        here = {"airflow_dag_sources": sources, "airflow_dags_only": self.source["name"]}
        return {**here, "airflow_dags_refresh_timeout": REFRESH_SECONDS, **more}

    def run_playbook(self, playbook: str = DAGS, *options: str, succeeds: bool = True, **more: t.Any) -> str:
        return ansible_playbook(self.platform.inventory, playbook, self.variables(**more), *options, succeeds=succeeds)

    def publish(self, version: str, playbook: str = DAGS, *options: str) -> None:
        # The token: what was published once is that release for good, also of another story.
        code = f'VERSION = "{version}"  # {uuid.uuid4()}\n'
        self.commits.append(self.repository.commit(release_story=TWO_STEPS, release_story_code=code))
        self.run_playbook(playbook, *options)
        self.releases.append(self.current())

    def current(self) -> str:
        return self.on_publisher(f"readlink {self.storage}/current").rsplit("/", 1)[-1]

    def on_publisher(self, command: str) -> str:
        return self.platform.run(self.platform.plan["dag_storage"]["publisher"], command).stdout.strip()

    def trigger(self) -> dict[str, t.Any]:
        return self.airflow.trigger("release_story")

    def let_go_on(self) -> None:
        """End the wait of the first tasks of all runs."""
        self.forget()
        self.airflow.ask("POST", "variables", {"key": "release_story", "value": "go on"})

    def forget(self) -> None:
        """Let the first tasks wait again."""
        with contextlib.suppress(urllib.error.HTTPError):  # it is not there
            self.airflow.ask("DELETE", "variables/release_story")

    def task(self, run: dict[str, t.Any], task: str) -> dict[str, t.Any]:
        return next(each for each in self.airflow.tasks(run) if each["task_id"] == task)

    def returned(self, run: dict[str, t.Any], task: str) -> t.Any:
        return self.airflow.returned(run, task)

    def ended(self, run: dict[str, t.Any]) -> str:
        return self.airflow.ended(run, RUN_ENDS_WITHIN)


@pytest.fixture(name="story", scope="module")
def a_source_from_a_repository(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Story]:
    """The first source comes from a repository of this machine; afterwards it is what the inventory says."""
    publisher = platform.plan["dag_storage"]["publisher"]
    # What the publisher's SSH server sees is the address at which it reaches this machine, too.
    address = platform.run(publisher, "echo $SSH_CONNECTION").stdout.split()[0]
    with served(tmp_path_factory.mktemp("git"), address) as repository:
        story = Story(platform, repository)
        story.forget()
        try:
            yield story
        finally:
            story.let_go_on()
            ansible_playbook(platform.inventory, SITE, {}, *ONLY)
            ansible_playbook(platform.inventory, VERIFY, {})
            story.forget()


@pytest.fixture(name="half_way", scope="module")
def a_run_between_its_tasks(story: Story) -> dict[str, t.Any]:
    """A run on the first release, whose first task was at work when the second was published and the workers restarted."""
    story.publish("v1", SITE, *ONLY)  # where a source's commits are seen is a setting of Airflow
    assert wait_for(lambda: story.airflow.knows("release_story"), KNOWN_WITHIN)
    run = story.trigger()
    assert wait_for(lambda: story.task(run, "first")["state"] == "running", RUNS_WITHIN)
    story.publish("v2")
    before = story.processes()
    story.replace_workers()
    processes = [before, story.processes()]
    assert story.task(run, "first")["state"] == "running", "the first task has to outlast what the playbooks do"
    return {**run, "processes": processes}


def test_what_is_published_is_what_airflow_has_when_the_playbook_ends(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way["state"] in ("queued", "running")
    dag = story.airflow.ask("GET", "dags/release_story")
    assert dag["bundle_version"] == story.releases[1]
    assert [release.partition("-")[0] for release in story.releases] == [commit[:12] for commit in story.commits]


def test_what_airflow_shows_of_a_version_leads_to_its_commit(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way
    versions = story.airflow.ask("GET", "dags/release_story/dagVersions")["dag_versions"]
    links = {version["bundle_version"]: version["bundle_url"] for version in versions}
    # A DAG that is the same as before stays the same version to Airflow, and that one moves to the new release.
    assert links[story.releases[-1]] == f"{COMMIT_PAGE}{story.commits[-1][:12]}"


def test_a_second_time_changes_nothing(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way
    assert "Nothing was changed." in story.run_playbook()


def test_a_release_that_a_run_needs_is_not_pruned(story: Story, half_way: dict[str, t.Any]) -> None:
    story.run_playbook(airflow_dags_keep=1, airflow_dags_minimum_age=0)
    assert story.task(half_way, "second")["state"] != "success", "the run has to outlast the pruning"
    assert set(story.on_publisher(f"ls {story.storage}/releases").split()) >= {*story.releases}


def test_a_run_ends_with_the_code_that_it_began_with(story: Story, half_way: dict[str, t.Any]) -> None:
    story.let_go_on()
    assert story.ended(half_way) == "success"
    assert [story.returned(half_way, task) for task in ("first", "second")] == ["v1", "v1"]
    run = story.airflow.ask("GET", f"dags/release_story/dagRuns/{quoted(half_way['dag_run_id'])}")
    assert run["bundle_version"] == story.releases[0]


def test_a_worker_that_is_replaced_ends_its_task_first_and_nobody_waits_for_it(
    story: Story, half_way: dict[str, t.Any]
) -> None:
    before, meanwhile = half_way["processes"]
    at_work = {process for state, process in meanwhile if state == "deactivating"}
    assert at_work
    assert at_work <= {process for _state, process in before}
    assert story.task(half_way, "first")["try_number"] == 1
    assert wait_for(lambda: {state for state, _process in story.processes()} == {"active"}, WORKER_STARTS_WITHIN)
    assert not at_work & {process for _state, process in story.processes()}


def test_the_next_run_has_the_new_code_and_after_a_rollback_the_old(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way
    new = story.runs["new"] = story.trigger()
    output = story.run_playbook(ROLLBACK)
    assert story.current() == story.releases[0]
    assert f"{story.source['name']}: {story.releases[0]} instead of {story.releases[1]}" in output
    old = story.trigger()
    assert [story.ended(run) for run in (new, old)] == ["success", "success"]
    assert [story.returned(run, "second") for run in (new, old)] == ["v2", "v1"]


def test_a_run_that_is_cleared_when_its_release_is_gone_says_so(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way
    run, gone = story.runs["new"], story.releases[1]
    story.on_publisher(f"rm -r {story.storage}/releases/{gone}")
    what = {"dry_run": False, "dag_run_id": run["dag_run_id"], "task_ids": ["second"], "only_failed": False}
    story.airflow.ask("POST", "dags/release_story/clearTaskInstances", {**what, "run_on_latest_version": False})
    assert story.ended(run) == "failed"
    says = f"Release {gone} of source '{story.source['name']}' is gone from"

    def log() -> str:
        return story.airflow.log(story.task(run, "second"))

    # A task has failed before its log is uploaded.
    assert wait_for(lambda: says in log(), UPLOADED_WITHIN), log()
    assert "Publish it again" in log()


def test_what_cannot_be_imported_is_not_released(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way
    before = story.current()
    story.repository.commit(broken=BROKEN)
    output = story.run_playbook(succeeds=False)
    assert "No module named 'a_module_that_nobody_has'" in output
    assert "broken.py" in output
    assert story.current() == before
    story.repository.commit(broken=None)


def test_a_branch_that_is_not_there_is_said_and_changes_nothing(story: Story, half_way: dict[str, t.Any]) -> None:
    assert half_way
    before = story.current()
    output = story.run_playbook(succeeds=False, airflow_dags_versions={story.source["name"]: "mian"})
    assert "has no branch or tag mian; near it are main" in output
    assert story.current() == before
