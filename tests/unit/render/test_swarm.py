# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a platform becomes as a stack of Docker Swarm. The golden files show it whole."""

from __future__ import annotations

import configparser
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._model import components
from ansible_collections.airstack.backbone.plugins.module_utils._render import probes, swarm
from ansible_collections.airstack.backbone.tests.unit.render import golden_files
from ansible_collections.airstack.backbone.tests.unit.render.swarm_stacks import Rendered, made, rendered

CENTRAL = ("api-server", "scheduler", "dag-processor", "triggerer")


@pytest.fixture(name="planned")
def planned_platform(variables: dict[str, Any]) -> dict[str, Any]:
    return made(variables)


@pytest.fixture(name="stack")
def rendered_stack(planned: dict[str, Any], endpoints: dict[str, Any]) -> Rendered:
    return rendered(planned, endpoints)


def specs(stack: Rendered) -> dict[str, Any]:
    return {service["spec"]["Name"].removeprefix("airflow-local_"): service["spec"] for service in stack["services"]}


def container(stack: Rendered, name: str) -> dict[str, Any]:
    return specs(stack)[name]["TaskTemplate"]["ContainerSpec"]


def text_of(stack: Rendered, name: str, path: str) -> str:
    """The content of a config at a path in a component's container."""
    [config] = [each for each in container(stack, name)["Configs"] if each["File"]["Name"] == path]
    return stack["configs"][config["ConfigName"]]


def changed(before: Rendered, after: Rendered) -> set[str]:
    """The services that are otherwise."""
    return {name for name, spec in specs(after).items() if spec != specs(before).get(name)}


def test_the_stack_is_the_golden_one(stack: Rendered) -> None:
    files = {f"/services/{name}.json": json.dumps(spec, indent=2) + "\n" for name, spec in specs(stack).items()}
    files |= {f"/configs/{name.rpartition('_')[0]}": text for name, text in stack["configs"].items()}
    rest = {key: stack[key] for key in ("name", "networks", "nodes")} | {"secrets": list(stack["secrets"])}
    files["/stack.json"] = json.dumps(rest, indent=2) + "\n"
    assert files == golden_files.of("swarm", files)


def test_the_stack_is_plain_data(stack: Rendered) -> None:
    assert json.loads(json.dumps(stack)) == stack


def test_no_secret_stands_outside_of_secrets(stack: Rendered) -> None:
    assert "value-of-" not in json.dumps({**stack, "secrets": list(stack["secrets"])})
    assert "value-of-" in json.dumps(stack["secrets"])


def test_a_component_has_just_the_secrets_that_it_reads(stack: Rendered) -> None:
    for name in specs(stack):
        spec = container(stack, name)
        held = {f"/run/secrets/{each['File']['Name']}" for each in spec["Secrets"]}
        words = [*spec["Env"], *spec["Args"], text_of(stack, name, "/etc/airflow/airflow.cfg")]
        assert held
        assert set(re.findall(r"/run/secrets/[^\s\"]+", "\n".join(words))) == held
        assert {(each["File"]["UID"], each["File"]["GID"], each["File"]["Mode"]) for each in spec["Secrets"]} == {
            ("50000", "0", 0o400)
        }


def test_every_config_and_secret_is_somebodys(stack: Rendered) -> None:
    used = [container(stack, name) for name in specs(stack)]
    assert {config["ConfigName"] for spec in used for config in spec["Configs"]} == set(stack["configs"])
    assert {secret["SecretName"] for spec in used for secret in spec["Secrets"]} == set(stack["secrets"])


def test_a_pool_mounts_its_sources_read_only_and_no_others(stack: Rendered) -> None:
    def bound(name: str) -> list[tuple[str, bool]]:
        return [(each["Source"], each["ReadOnly"]) for each in container(stack, name)["Mounts"] if "Source" in each]

    storage = "/srv/airflow/dags"
    assert bound("worker-ml") == [(f"{storage}/.airflow-dag-storage", True), (f"{storage}/ml", True)]
    assert bound("worker-etl") == [(f"{storage}/.airflow-dag-storage", True), (f"{storage}/etl", True)]
    assert [bound(name) for name in ("api-server", "scheduler", "triggerer", "setup")] == [[], [], [], []]
    assert [path for path, _is_read_only in bound("dag-processor")][1:] == [f"{storage}/etl", f"{storage}/ml"]


def test_who_reads_dags_is_told_of_its_own_sources(stack: Rendered) -> None:
    readers = ("dag-processor", "worker-etl", "worker-ml")
    told = [json.loads(text_of(stack, name, "/etc/airflow/routing.json"))["sources"] for name in readers]
    assert [list(sources) for sources in told] == [["etl", "ml"], ["etl"], ["ml"]]


def test_another_queue_of_a_source_restarts_its_readers(
    variables: dict[str, Any], endpoints: dict[str, Any], stack: Rendered
) -> None:
    etl, ml = variables["airflow_dag_sources"]
    after = rendered(made(variables, airflow_dag_sources=[{**etl, "queues": ["etl_highmem", "etl"]}, ml]), endpoints)
    assert changed(stack, after) == {"dag-processor", "worker-etl"}


def test_another_pools_source_restarts_no_worker_of_this_one(
    variables: dict[str, Any], endpoints: dict[str, Any], stack: Rendered
) -> None:
    etl, ml = variables["airflow_dag_sources"]
    other = {"name": "more", "path": "/dags/more", "queues": ["ml"]}
    after = rendered(made(variables, airflow_dag_sources=[etl, ml, other]), endpoints)
    assert changed(stack, after) == {*CENTRAL, "setup", "worker-ml"}


def test_a_name_changes_with_the_content(planned: dict[str, Any], endpoints: dict[str, Any], stack: Rendered) -> None:
    after = rendered(planned, endpoints, {"broker_ml": "another"})
    assert changed(stack, after) == {"worker-ml"}
    assert len(set(stack["secrets"]) - set(after["secrets"])) == 1


def test_the_name_of_a_secret_tells_nothing_without_the_key(
    planned: dict[str, Any], endpoints: dict[str, Any], stack: Rendered
) -> None:
    assert not set(stack["secrets"]) & set(rendered(planned, endpoints, key="another key")["secrets"])


def test_names_are_as_long_as_the_engine_allows(variables: dict[str, Any], endpoints: dict[str, Any]) -> None:
    planned = made(variables, airflow_environment="a" * 32)
    stack = rendered(planned, endpoints)
    names = [*stack["configs"], *stack["secrets"]]
    assert max(map(len, names)) == swarm.LONGEST_NAME
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name)] == []


def test_a_node_keeps_what_is_requested_and_a_container_to_its_limits(planned: Any, endpoints: Any) -> None:
    told = {"worker": {"requests": {"cpu": "500m"}, "limits": {"cpu": "2", "memory": "1Gi"}}}
    stack = rendered({**planned, "resources": told}, endpoints)
    assert specs(stack)["worker-ml"]["TaskTemplate"]["Resources"] == {
        "Reservations": {"NanoCPUs": 500_000_000},
        "Limits": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 2**30},
    }
    assert "Resources" not in specs(stack)["scheduler"]["TaskTemplate"]


def test_a_worker_may_finish_its_tasks(stack: Rendered, planned: dict[str, Any]) -> None:
    assert container(stack, "worker-etl")["StopGracePeriod"] > planned["longest_task"] * 10**9


def test_the_engine_judges_before_the_one_who_waits(stack: Rendered) -> None:
    for service in stack["services"]:
        look = service["spec"]["TaskTemplate"]["ContainerSpec"]["Healthcheck"]
        if "Interval" in look:
            one = look["Interval"] + look["Timeout"]
            assert service["timeout"] * 10**9 > look["StartPeriod"] + look["Retries"] * one


def test_what_is_replaced_comes_back_when_it_fails(stack: Rendered) -> None:
    services = {name: spec for name, spec in specs(stack).items() if name != "setup"}
    assert {spec["UpdateConfig"]["FailureAction"] for spec in services.values()} == {"rollback"}
    orders = {name: spec["UpdateConfig"]["Order"] for name, spec in services.items()}
    assert orders.pop("api-server") == "start-first"
    assert set(orders.values()) == {"stop-first"}


def test_api_servers_with_a_port_of_their_node_are_replaced_in_place(planned: Any, endpoints: Any) -> None:
    spec = specs(rendered(planned, endpoints, publish="host"))["api-server"]
    assert spec["UpdateConfig"]["Order"] == "stop-first"
    assert (spec["EndpointSpec"]["Mode"], spec["EndpointSpec"]["Ports"][0]["PublishMode"]) == ("dnsrr", "host")


def test_networks_may_do_without_encryption(planned: Any, endpoints: Any, stack: Rendered) -> None:
    assert [network["Options"] for network in stack["networks"]] == [{"encrypted": ""}] * 2
    assert [network["Options"] for network in rendered(planned, endpoints, is_encrypted=False)["networks"]] == [{}] * 2


def test_a_component_runs_on_its_hosts_else_on_the_platforms_nodes(stack: Rendered) -> None:
    placed = {name: spec["TaskTemplate"]["Placement"]["Constraints"] for name, spec in specs(stack).items()}
    assert placed.pop("worker-etl") == ["node.labels.airflow-local.worker-etl==true"]
    assert list(placed.values()) == [["node.labels.airflow-local.node==true"]] * 6
    labels = {node["name"]: list(node["labels"]) for node in stack["nodes"]}
    both = ["airflow-local.node", "airflow-local.worker-etl"]
    assert labels == {"node1": both[:1], "node2": both, "node3": both}


def test_users_of_teams_are_a_copy_that_airflow_may_open(variables: dict[str, Any], endpoints: dict[str, Any]) -> None:
    etl, ml = variables["airflow_worker_pools"]
    planned = made(variables, airflow_multi_team=True, airflow_worker_pools=[etl, {**ml, "team": "machines"}])
    spec = container(rendered(planned, endpoints), "api-server")
    copy = "install -m 600 /run/secrets/simple_auth_manager_passwords /tmp/simple_auth_manager_passwords"
    assert spec["Args"] == ["sh", "-c", f'{copy} && exec "$0" "$@"', "airflow", "api-server"]


def test_configuration_survives_the_parser_that_airflow_uses(
    stack: Rendered, planned: dict[str, Any], endpoints: dict[str, Any]
) -> None:
    for component in components.model(planned, endpoints):
        parser = configparser.ConfigParser()
        parser.read_string(text_of(stack, component["name"], "/etc/airflow/airflow.cfg"))
        for section, keys in component["settings"].items():
            assert {key: parser[section][key] for key in keys} == keys


def test_a_container_gives_an_address_that_others_reach(stack: Rendered) -> None:
    for name in specs(stack):
        assert "hostname_callable = airflow.utils.net.get_host_ip_address" in text_of(
            stack, name, "/etc/airflow/airflow.cfg"
        )


# --- looks at a component ---------------------------------------------------------------------------------------------

HEALTHY = {"metadatabase": {"status": "healthy"}, "dag_processor": {"status": "healthy"}}
SILENT = {**HEALTHY, "dag_processor": {"status": "unhealthy"}}


@contextmanager
def answering(status: int, body: str) -> Iterator[int]:
    """The port of a server that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def looks_well(health: dict[str, Any], api_port: int = 1, ready: str | None = None) -> bool:
    command = probes.command(health, "127.0.0.1", api_port, ready)
    assert command is not None
    return subprocess.run([sys.executable, *command[1:]], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(("status", "works"), [(200, True), (500, False), (404, False)])
def test_a_look_by_http(status: int, works: bool) -> None:
    with answering(status, "{}") as port:
        assert looks_well({"type": "http", "port": port, "path": "/health"}) is works


@pytest.mark.parametrize("kind", ["http", "port"])
def test_a_look_where_nobody_listens(kind: str) -> None:
    assert not looks_well({"type": kind, "port": unused_port(), "path": "/"})


def test_a_look_at_a_port() -> None:
    with answering(403, "") as port:
        assert looks_well({"type": "port", "port": port})


def test_a_worker_works_when_it_says_that_it_consumes(tmp_path: Path, stack: Rendered) -> None:
    ready = tmp_path / "ready"
    with answering(403, "") as port:
        assert not looks_well({"type": "port", "port": port}, ready=str(ready))
        ready.touch()
        assert looks_well({"type": "port", "port": port}, ready=str(ready))
    worker = container(stack, "worker-ml")
    assert f"AIRFLOW_BACKBONE_READY={swarm.READY}" in worker["Env"]
    assert f'os.stat("{swarm.READY}")' in worker["Healthcheck"]["Test"][-1]


@pytest.mark.parametrize(
    ("status", "body", "works"),
    [
        (200, json.dumps(HEALTHY), True),
        (200, json.dumps(SILENT), False),
        (200, json.dumps({**SILENT, "metadatabase": {"status": "unhealthy"}}), True),
        (200, json.dumps({**HEALTHY, "dag_processor": {"status": None}}), True),
        (500, "Internal Server Error", True),
        (200, "[]", True),
    ],
)
def test_a_look_for_heartbeats_blames_what_is_silent_alone(status: int, body: str, works: bool) -> None:
    with answering(status, body) as port:
        assert looks_well({"type": "heartbeat", "component": "dag_processor"}, port) is works


def test_a_look_for_heartbeats_blames_nobody_for_a_silent_api() -> None:
    assert looks_well({"type": "heartbeat", "component": "triggerer"}, unused_port())


def test_every_kind_of_health_has_its_look(planned: dict[str, Any], endpoints: dict[str, Any]) -> None:
    model = components.model(planned, endpoints)
    without = [each["name"] for each in model if probes.command(each["health"], "api-server", 8080) is None]
    assert without == ["setup"]
