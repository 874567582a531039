# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Airflow's own teams: who belongs to which, what is refused, and what components are told of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    components,
    credentials,
    demands,
    explain,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.model.plans import made, refused

Variables = dict[str, Any]

ALICE = {"name": "alice", "role": "op", "teams": ["etl"]}
BOB = {"name": "bob", "teams": ["etl", "machines"]}


@pytest.fixture(name="described")
def platform_with_teams(variables: Variables) -> Variables:
    etl, ml = variables["airflow_worker_pools"]
    return {
        **variables,
        "airflow_multi_team": True,
        "airflow_worker_pools": [etl, {**ml, "team": "machines"}],
        "airflow_team_users": [ALICE, BOB],
    }


@pytest.fixture(name="planned")
def planned_platform(described: Variables, inventory: Inventory) -> dict[str, Any]:
    return made(described, inventory)


@pytest.fixture(name="model")
def component_model(planned: dict[str, Any], endpoints: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in components.model(planned, endpoints)}


def platform(variables: Variables, pools: dict[str, dict[str, Any]], sources: dict[str, list[str]]) -> Variables:
    """Pools and sources by name; each pool has a host."""
    return {
        **variables,
        "airflow_multi_team": True,
        "airflow_worker_pools": [{"name": name, **pool} for name, pool in pools.items()],
        "airflow_dag_sources": [
            {"name": name, "path": f"/dags/{name}", "queues": queues} for name, queues in sources.items()
        ],
    }


def hosts(inventory: Inventory, *pools: str) -> Inventory:
    groups = {name: group for name, group in inventory.groups.items() if not name.startswith("airflow_workers_")}
    return Inventory({**groups, **{f"airflow_workers_{pool}": [f"worker-{pool}1"] for pool in pools}})


# --- who belongs to which team ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pools", "sources", "teams"),
    [
        pytest.param(
            {"etl": {"queues": ["a"]}, "web": {"queues": ["b"]}},
            {"s": ["a"], "t": ["b"]},
            {"etl": (["etl"], ["s"]), "web": (["web"], ["t"])},
            id="pools that share nothing are teams of their own",
        ),
        pytest.param(
            {"etl": {"queues": ["a", "b"]}},
            {"s": ["a"], "t": ["b"]},
            {"etl": (["etl"], ["s", "t"])},
            id="a pool that serves two sources makes them one team",
        ),
        pytest.param(
            {"etl": {"queues": ["a"]}, "web": {"queues": ["b"]}},
            {"s": ["a", "b"]},
            {"etl": (["etl", "web"], ["s"])},
            id="a source on two pools makes them one team",
        ),
        pytest.param(
            {"one": {"queues": ["a"]}, "two": {"queues": ["c"]}, "tie": {"queues": ["b"]}, "own": {"queues": ["d"]}},
            {"s": ["a", "b"], "t": ["b", "c"], "u": ["d"]},
            {"one": (["one", "two", "tie"], ["s", "t"]), "own": (["own"], ["u"])},
            id="what is joined through others is one team, named after its first pool",
        ),
        pytest.param(
            {"etl": {"queues": ["a"]}, "web": {"queues": ["b"], "team": "crew"}},
            {"s": ["a", "b"]},
            {"crew": (["etl", "web"], ["s"])},
            id="one pool names the team of all that are joined with it",
        ),
        pytest.param(
            {
                "etl": {"queues": ["a"], "team": "crew"},
                "web": {"queues": ["b"]},
                "gpu": {"queues": ["c"], "team": "crew"},
            },
            {"s": ["a"], "t": ["b"], "u": ["c"]},
            {"crew": (["etl", "gpu"], ["s", "u"]), "web": (["web"], ["t"])},
            id="pools that name the same team are in it together",
        ),
        pytest.param(
            {"etl": {"queues": ["a"], "team": "web"}, "web": {"queues": ["b"]}},
            {"s": ["a"], "t": ["b"]},
            {"web": (["etl", "web"], ["s", "t"])},
            id="a pool may name the team that another one's name gives",
        ),
    ],
)
def test_teams_are_what_sources_queues_and_pools_connect(
    variables: Variables,
    inventory: Inventory,
    pools: dict[str, dict[str, Any]],
    sources: dict[str, list[str]],
    teams: dict[str, tuple[list[str], list[str]]],
) -> None:
    planned = made(platform(variables, pools, sources), hosts(inventory, *pools))
    assert {team["name"]: (team["pools"], team["sources"]) for team in planned["teams"]} == teams
    assert {pool["name"]: pool["team"] for pool in planned["pools"]} == {
        pool: team for team, (names, _sources) in teams.items() for pool in names
    }
    assert {source["name"]: source["team"] for source in planned["sources"]} == {
        source: team for team, (_pools, names) in teams.items() for source in names
    }


def test_what_names_no_queue_is_of_the_default_pools_team(variables: Variables, inventory: Inventory) -> None:
    pools = {"etl": {"queues": ["a"]}, "web": {"queues": ["b"]}}
    described = platform(variables, pools, {"s": ["a"]})
    described["airflow_dag_sources"].append({"name": "stray", "path": "/dags/stray"})
    planned = made({**described, "airflow_default_pool": "web"}, hosts(inventory, *pools))
    assert {source["name"]: source["team"] for source in planned["sources"]} == {"s": "etl", "stray": "web"}


def test_without_teams_nothing_says_a_word_of_them(variables: Variables, inventory: Inventory, endpoints: Any) -> None:
    planned = made({**variables, "airflow_multi_team": False}, inventory)
    assert (planned["teams"], planned["api"]["users"]) == ([], [])
    text = json.dumps([component["settings"] for component in components.model(planned, endpoints)])
    assert [word for word in ("multi_team", "team_name", "simple_auth_manager", "=celery") if word in text] == []


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_name_that_airflow_does_not_take_for_a_team_is_refused_with_advice(
    variables: Variables, inventory: Inventory
) -> None:
    wrong = refused({**variables, "airflow_multi_team": True}, inventory)
    assert list(wrong) == ["airflow_worker_pools[1].name"]
    assert "team: ml_team" in wrong["airflow_worker_pools[1].name"]


@pytest.mark.parametrize("team", ["ml", "Machines", "machine-learning", "1st", "x" * 51, 7])
def test_a_team_has_a_name_of_its_own_form(described: Variables, inventory: Inventory, team: Any) -> None:
    described["airflow_worker_pools"][1]["team"] = team
    assert "of 3 to 50 characters" in refused(described, inventory)["airflow_worker_pools[1].team"]


@pytest.mark.parametrize("section", ["celery", "core", "logging", "api_auth", "smtp"])
def test_a_section_of_airflows_configuration_is_no_teams_name(
    described: Variables, inventory: Inventory, section: str
) -> None:
    described["airflow_settings"] = {"smtp": {"smtp_host": "mail"}}
    described["airflow_worker_pools"][1]["team"] = section
    assert "is a section of Airflow's configuration" in refused(described, inventory)["airflow_worker_pools[1].team"]


def test_a_pool_that_has_the_name_of_a_section_has_to_say_its_team(variables: Variables, inventory: Inventory) -> None:
    pools = {"etl": {"queues": ["a"]}, "workers": {"queues": ["b"]}}
    wrong = refused(platform(variables, pools, {"s": ["a"], "t": ["b"]}), hosts(inventory, *pools))
    assert list(wrong) == ["airflow_worker_pools[1].name"]
    assert "team: workers_team" in wrong["airflow_worker_pools[1].name"]


def test_one_team_of_two_names_is_refused(variables: Variables, inventory: Inventory) -> None:
    pools = {"etl": {"queues": ["a"], "team": "one"}, "web": {"queues": ["b"], "team": "two"}}
    wrong = refused(platform(variables, pools, {"s": ["a", "b"]}), hosts(inventory, *pools))
    assert wrong == {
        "airflow_worker_pools[1].team": "one, as airflow_worker_pools[0] (etl) says: their tasks share a source or a queue"
    }


def test_all_problems_of_users_come_at_once(described: Variables, inventory: Inventory) -> None:
    described["airflow_team_users"] = [
        {"name": "admin", "teams": ["etl"]},
        {"name": "carol", "teams": ["etl", "nobody"]},
    ]
    assert refused(described, inventory) == {
        "airflow_team_users[0].name": "another one: airflow_admin_user has it",
        "airflow_team_users[1].teams[1]": "a team: etl, machines",
    }


def test_users_go_with_teams(variables: Variables, inventory: Inventory) -> None:
    wrong = refused({**variables, "airflow_team_users": [ALICE]}, inventory)
    assert "airflow_multi_team: true" in wrong["airflow_team_users"]


@pytest.mark.parametrize("multi_team", [True, False])
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("multi_team", "airflow_multi_team decides it"),
        ("auth_manager", "the plan decides it"),
        ("executor", "the plan decides it"),
        ("simple_auth_manager_users", "the plan decides it"),
        ("simple_auth_manager_all_admins", "the plan decides it"),
        ("simple_auth_manager_passwords_file", "where the components keep their files"),
    ],
)
def test_what_makes_teams_is_no_setting(
    described: Variables, inventory: Inventory, multi_team: bool, key: str, reason: str
) -> None:
    described |= {"airflow_multi_team": multi_team, "airflow_settings": {"core": {key: "x"}}}
    described["airflow_team_users"] = []
    assert reason in refused(described, inventory)[f"airflow_settings.core.{key}"]


# --- what components are told -----------------------------------------------------------------------------------------


def test_everybody_but_a_worker_knows_every_team(model: dict[str, dict[str, Any]]) -> None:
    executors = {name: each["settings"]["core"]["executor"] for name, each in model.items()}
    everyone = "CeleryExecutor;etl=CeleryExecutor;machines=CeleryExecutor"
    assert executors.pop("worker-etl") == "CeleryExecutor;etl=CeleryExecutor"
    assert executors.pop("worker-ml") == "CeleryExecutor;machines=CeleryExecutor"
    assert set(executors.values()) == {everyone}
    assert {each["settings"]["core"]["multi_team"] for each in model.values()} == {"True"}


def test_a_bundle_is_its_teams(model: dict[str, dict[str, Any]]) -> None:
    bundles = json.loads(model["dag-processor"]["settings"]["dag_processor"]["dag_bundle_config_list"])
    assert {bundle["name"]: bundle["team_name"] for bundle in bundles} == {"etl": "etl", "ml": "machines"}


def test_the_settings_of_celery_are_said_again_for_each_team(
    described: Variables, inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    described["airflow_settings"] = {"celery": {"sync_parallelism": 2}}
    model = {each["name"]: each for each in components.model(made(described, inventory), endpoints)}
    scheduler = model["scheduler"]["settings"]
    assert scheduler["celery"]["sync_parallelism"] == "2"
    for section in ("celery", "operators"):
        assert scheduler[f"etl={section}"] == scheduler[f"machines={section}"] == scheduler[section]
    own = {name for name in model["worker-ml"]["settings"] if "=" in name}
    assert own == {"machines=celery", "machines=operators"}
    assert [name for name in model["api-server"]["settings"] if "=" in name] == []


def test_a_teams_worker_logs_as_the_others_do(
    described: Variables, inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    described["airflow_settings"] = {
        "logging": {"logging_level": "DEBUG", "json_logs": True, "colored_console_log": False}
    }
    model = {each["name"]: each for each in components.model(made(described, inventory), endpoints)}
    own = model["worker-ml"]["settings"]["machines=logging"]
    assert own == {"logging_level": "DEBUG", "json_logs": "True"}


BROKERS: dict[str, tuple[Variables, list[str]]] = {
    "rabbitmq": ({}, ["a", "b", "c"]),
    "redis": ({"airflow_broker_provider": "redis"}, ["a"]),
    "sentinels": ({"airflow_broker_provider": "redis"}, ["a", "b", "c"]),
    "sqs": ({"airflow_broker_provider": "sqs", "airflow_broker_account": "123456789012"}, []),
    "external": ({"airflow_broker_provider": "external", "airflow_broker_url": "rediss://airflow@redis/0"}, []),
}
TLS: Variables = {
    "airflow_broker_tls": True,
    "airflow_broker_tls_certificate": "/pki/broker.pem",
    "airflow_broker_tls_ca": "/pki/ca.pem",
}


def on_broker(
    described: Variables, inventory: Inventory, endpoints: dict[str, Any], broker: str, **more: Any
) -> dict[str, dict[str, Any]]:
    """The component model on another broker."""
    variables, nodes = BROKERS[broker]
    planned = made({**described, **variables, **more}, Inventory({**inventory.groups, "airflow_broker": nodes}))
    authority = {"ca": "PEM"} if more else {}
    given = {**endpoints, "broker": {**planned["broker"], **authority}}
    return {component["name"]: component for component in components.model(planned, given)}


@pytest.mark.parametrize(
    ("broker", "more"), [*((name, {}) for name in BROKERS), ("rabbitmq", TLS), ("redis", TLS), ("sentinels", TLS)]
)
def test_every_broker_is_reached_for_a_team_as_for_all(
    described: Variables, inventory: Inventory, endpoints: dict[str, Any], broker: str, more: Variables
) -> None:
    model = on_broker(described, inventory, endpoints, broker, **more)
    for name, served in {"scheduler": ["etl", "machines"], "worker-ml": ["machines"]}.items():
        component = model[name]
        settings, files = component["settings"], component["environment_files"]
        common = {section for section in settings if section.startswith(("celery", "operators"))}
        for team in served:
            assert {section: settings[f"{team}={section}"] for section in common} == {
                section: settings[section] for section in common
            }
            variable = f"AIRFLOW__{team.upper()}___CELERY__"
            assert component["secret_commands"][f"{variable}BROKER_URL_CMD"] == "broker_url"
            assert files.get(f"{variable}SSL_CACERT") == files.get("AIRFLOW__CELERY__SSL_CACERT")
        assert ("AIRFLOW__CELERY__SSL_CACERT" in files) == bool(more)


def test_a_team_asks_the_sentinels_and_knows_the_queues_of_its_pool_alone(
    described: Variables, inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    section = "machines=celery_broker_transport_options"
    redis = on_broker(described, inventory, endpoints, "sentinels")
    for name in ("scheduler", "worker-ml"):
        assert redis[name]["settings"][section] == {"visibility_timeout": "30600", "master_name": "airflow"}
    sqs = on_broker(described, inventory, endpoints, "sqs")
    known = {
        name: set(json.loads(sqs[name]["settings"][section]["predefined_queues"]))
        for name in ("scheduler", "worker-ml")
    }
    assert known == {"scheduler": {"etl", "etl_highmem", "ml"}, "worker-ml": {"ml"}}
    assert sqs["worker-ml"]["settings"]["machines=celery"]["worker_enable_remote_control"] == "False"


def test_a_team_reaches_the_broker_as_the_component_that_serves_it(model: dict[str, dict[str, Any]]) -> None:
    assert model["worker-ml"]["secret_commands"] == {
        "AIRFLOW__MACHINES___CELERY__BROKER_URL_CMD": "broker_url",
        "AIRFLOW__MACHINES___CELERY__RESULT_BACKEND_CMD": "result_backend",
    }
    assert set(model["scheduler"]["secret_commands"].values()) == {"broker_url", "result_backend"}
    assert {name.split("___")[0] for name in model["scheduler"]["secret_commands"]} == {
        "AIRFLOW__ETL",
        "AIRFLOW__MACHINES",
    }
    assert [name for name, each in model.items() if each["secret_commands"]] == ["scheduler", "worker-etl", "worker-ml"]


def test_a_team_knows_a_broker_with_tls_by_its_authority(planned: dict[str, Any], endpoints: dict[str, Any]) -> None:
    safe = {**endpoints, "broker": {**endpoints["broker"], "ca": "PEM"}}
    [worker] = [each for each in components.model(planned, safe) if each["name"] == "worker-ml"]
    files = worker["environment_files"]
    assert files["AIRFLOW__MACHINES___CELERY__SSL_CACERT"] == files["AIRFLOW__CELERY__SSL_CACERT"]


def test_a_worker_and_a_triggerer_say_their_team(model: dict[str, dict[str, Any]]) -> None:
    assert model["worker-ml"]["command"][-2:] == ["--team", "machines"]
    assert model["triggerer-machines"]["command"] == ["triggerer", "--team-name", "machines", "--skip-serve-logs"]
    assert model["triggerer"]["command"] == ["triggerer"]


def test_a_triggerer_in_a_container_serves_its_logs_itself(
    described: Variables, inventory: Inventory, endpoints: dict[str, Any]
) -> None:
    planned = made({**described, "airflow_platform": "swarm"}, inventory)
    triggerers = [each for each in components.model(planned, endpoints) if each["kind"] == "triggerer"]
    assert [each["logs"] for each in triggerers] == [each["name"] for each in triggerers]
    assert [each["port"] for each in triggerers] == [8794] * 3
    assert triggerers[2]["command"] == ["triggerer", "--team-name", "machines"]


def test_the_triggerers_of_a_host_share_the_logs_that_one_of_them_serves(
    model: dict[str, dict[str, Any]], planned: dict[str, Any]
) -> None:
    triggerers = [each for each in model.values() if each["kind"] == "triggerer"]
    assert [each["name"] for each in triggerers] == ["triggerer", "triggerer-etl", "triggerer-machines"]
    assert {each["logs"] for each in triggerers} == {"triggerer"}
    assert [each["port"] for each in triggerers] == [8794, None, None]
    assert [port["port"] for port in demands.of("control1", planned)["ports"]].count(8794) == 1
    # The API's monitor does not tell them apart, so that one's heartbeat says nothing of the others.
    assert {each["health"]["processes"] for each in triggerers} == {3}


def test_the_teams_are_made_before_anything_looks_for_them(model: dict[str, dict[str, Any]]) -> None:
    command = model["setup"]["command"]
    assert [command[at + 1] for at, word in enumerate(command) if word == "--team"] == ["etl", "machines"]
    # FAB's first user would be nobody's.
    assert "--admin-user" not in command
    assert model["setup"]["credentials"] == ["sql_alchemy_conn", "fernet_key"]


def test_users_have_roles_and_teams_and_their_passwords_are_a_credential_of_the_api_server_alone(
    model: dict[str, dict[str, Any]], planned: dict[str, Any], endpoints: dict[str, Any]
) -> None:
    settings = model["api-server"]["settings"]["core"]
    assert settings["simple_auth_manager_users"] == "admin:admin,alice:op:etl,bob:user:etl|machines"
    secrets = {each["name"]: f"<{each['name']}>" for each in planned["secrets"]}
    held = credentials.values(model["api-server"], endpoints, secrets)["simple_auth_manager_passwords"]
    assert json.loads(held) == {"admin": "<admin>", "alice": "<user_alice>", "bob": "<user_bob>"}
    holders = [name for name, each in model.items() if "simple_auth_manager_passwords" in each["credentials"]]
    assert holders == ["api-server"]
    assert "simple_auth_manager_users" not in model["scheduler"]["settings"]["core"]


def test_the_plan_shows_teams_and_users_to_a_person(planned: dict[str, Any]) -> None:
    text = explain.text(planned)
    assert "TEAMS (EXPERIMENTAL IN AIRFLOW 3.3)" in text
    assert "airflow_secret_user_bob" in text
    assert [line.split() for line in text.splitlines() if line.strip().startswith("machines")] == [
        ["machines", "ml", "ml"]
    ]
