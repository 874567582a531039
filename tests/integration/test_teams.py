# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What Airflow's own teams keep from each other: tried by a task of each team, and by its users."""

from __future__ import annotations

import json
import pathlib
import typing as t
import uuid

import pytest

from ansible_collections.airstack.backbone.tests.integration import deployed
from ansible_collections.airstack.backbone.tests.integration.deployed import Airflow, Platform, quoted, wait_for

BORROWER = '''
"""Waits as a trigger, then asks for what the run's configuration names, and says what it got."""

from __future__ import annotations

import datetime
import json

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, Connection, Variable, get_current_context, task


def given(ask):
    try:
        return ask()
    except Exception as error:
        return f"refused: {type(error).__name__}"


patient = {"retries": 3, "retry_delay": datetime.timedelta(seconds=1)}

with DAG(
    "%(dag)s", schedule=None, default_args=patient, params={"connections": [], "variables": [], "xcoms": []}
):

    @task
    def lend() -> str:
        return "%(team)s"

    @task
    def borrow(params: dict) -> str:
        task_instance = get_current_context()["ti"]

        def pull(dag):
            return task_instance.xcom_pull(dag_id=dag, task_ids="lend", run_id=task_instance.run_id)

        return json.dumps({
            **{f"connection {name}": given(lambda: Connection.get(name).password) for name in params["connections"]},
            **{f"variable {name}": given(lambda: Variable.get(name)) for name in params["variables"]},
            **{f"xcom {dag}": given(lambda: pull(dag)) for dag in params["xcoms"]},
        })

    wait = TimeDeltaSensor(task_id="wait", delta=datetime.timedelta(seconds=1), deferrable=True)
    lend() >> wait >> borrow()
'''

IN_A_POOL = """
from airflow.sdk import DAG, task

with DAG("in_a_pool", schedule=None):

    @task(pool="%(pool)s")
    def wait() -> None: ...

    wait()
"""

pytestmark = pytest.mark.broker

PARSED_WITHIN = 90
RUN_SECONDS = 300
EVERYONE = "test_everyone"

Team = dict[str, t.Any]


def own(team: Team) -> str:
    """The name of a connection, a variable and a pool that are the team's."""
    return f"test_{team['name']}"


def dag_of(team: Team) -> str:
    return f"borrower_{team['name']}"


@pytest.fixture(name="teams", scope="module")
def teams_of_platform(platform: Platform) -> list[Team]:
    if len(platform.plan["teams"]) < 2:
        pytest.skip("needs a platform of two teams: airflow_multi_team")
    return list(platform.plan["teams"])


@pytest.fixture(name="belongings", scope="module")
def connections_and_variables(airflow: Airflow, teams: list[Team]) -> t.Iterator[None]:
    """A connection and a variable of each team, and a connection of nobody's; each holds the name of who owns it."""
    names = {EVERYONE: None, **{own(team): team["name"] for team in teams}}
    for name, team in names.items():
        connection = {"connection_id": name, "conn_type": "generic", "password": team or EVERYONE, "team_name": team}
        airflow.ask("POST", "connections", connection)
        airflow.ask("POST", "variables", {"key": name, "value": team or EVERYONE, "team_name": team})
    try:
        yield
    finally:
        for name in names:
            airflow.ask("DELETE", f"connections/{name}")
            airflow.ask("DELETE", f"variables/{name}")


@pytest.fixture(name="borrowed", scope="module")
def what_tasks_of_each_team_get(
    platform: Platform,
    airflow: Airflow,
    teams: list[Team],
    belongings: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[dict[str, dict[str, str]]]:
    """By team, what its task was given of all; the teams' runs follow each other, so that there is an XCom to ask for."""
    assert belongings is None
    folder, run = tmp_path_factory.mktemp("sources"), f"test-{uuid.uuid4()}"
    dags = {
        team["sources"][0]: {dag_of(team): BORROWER % {"dag": dag_of(team), "team": team["name"]}} for team in teams
    }
    with deployed.further_dags(platform, folder, dags, airflow_dags_gate_enabled=False):
        assert wait_for(lambda: all(airflow.knows(dag_of(team)) for team in teams), PARSED_WITHIN)
        yield {team["name"]: borrow(airflow, team, teams[: at + 1], teams, run) for at, team in enumerate(teams)}


def borrow(airflow: Airflow, team: Team, lenders: list[Team], teams: list[Team], run: str) -> dict[str, str]:
    """What a run of the team's DAG was given, when it has ended."""
    dag = dag_of(team)
    names = [EVERYONE, *(own(other) for other in teams)]
    asked = {"connections": names, "variables": names, "xcoms": [dag_of(other) for other in lenders]}
    airflow.ask("PATCH", f"dags/{dag}", {"is_paused": False})
    airflow.ask("POST", f"dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": asked})
    path = f"dags/{dag}/dagRuns/{quoted(run)}"
    ended = wait_for(lambda: airflow.ask("GET", path)["state"] in ("success", "failed"), RUN_SECONDS)
    tasks = {task["task_id"]: task["state"] for task in airflow.tasks({"dag_id": dag, "dag_run_id": run})}
    assert ended, tasks
    assert set(tasks.values()) == {"success"}, tasks
    value = airflow.ask("GET", f"{path}/taskInstances/borrow/xcomEntries/return_value")["value"]
    given: dict[str, str] = json.loads(value)
    return given


@pytest.mark.disturbs
def test_a_task_gets_what_is_its_teams_or_everyones(borrowed: dict[str, dict[str, str]], teams: list[Team]) -> None:
    for team in teams:
        given = borrowed[team["name"]]
        for kind in ("connection", "variable"):
            assert given[f"{kind} {own(team)}"] == team["name"]
            assert given[f"{kind} {EVERYONE}"] == EVERYONE
        assert given[f"xcom {dag_of(team)}"] == team["name"]


@pytest.mark.disturbs
@pytest.mark.parametrize("kind", ["connection", "variable"])
def test_a_task_is_refused_what_is_another_teams(
    borrowed: dict[str, dict[str, str]], teams: list[Team], kind: str
) -> None:
    for team in teams:
        for other in teams:
            if other is not team:
                assert borrowed[team["name"]][f"{kind} {own(other)}"].startswith("refused: ")


@pytest.mark.disturbs
def test_a_task_is_refused_the_xcoms_of_another_team(borrowed: dict[str, dict[str, str]], teams: list[Team]) -> None:
    first, second, *_others = teams
    assert borrowed[second["name"]][f"xcom {dag_of(first)}"].startswith("refused: ")


@pytest.mark.disturbs
def test_the_gate_refuses_a_pool_of_another_team(
    platform: Platform, airflow: Airflow, teams: list[Team], tmp_path: pathlib.Path
) -> None:
    """No task of this team would ever be scheduled in it."""
    mine, other, *_others = teams
    pool = own(other)
    text = IN_A_POOL % {"pool": pool}
    airflow.ask("POST", "pools", {"name": pool, "slots": 1, "team_name": other["name"]})
    try:
        changed = deployed.copies(platform, tmp_path, {mine["sources"][0]: {"in_a_pool": text}})
        told = deployed.publish(platform, changed, succeeds=False)
    finally:
        airflow.ask("DELETE", f"pools/{pool}")
    assert f"DAG 'in_a_pool' names the pool '{pool}', which is another team's, in task 'wait'" in told


def test_a_teams_user_sees_the_dags_of_the_team_alone(platform: Platform, airflow: Airflow, teams: list[Team]) -> None:
    users = [user for user in platform.plan["api"]["users"] if user["teams"]]
    if not users:
        pytest.skip("needs a user of a team: airflow_team_users")
    sources = {team["name"]: set(team["sources"]) for team in teams}
    everything = {dag["bundle_name"] for dag in airflow.dags()}
    for user in users:
        seen = platform.airflow_as(user["name"], platform.secrets[user["secret"]]).dags()
        allowed = set().union(*(sources[team] for team in user["teams"]))
        assert {dag["bundle_name"] for dag in seen} == everything & allowed
