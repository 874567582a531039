# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What becomes of each part of the component model in a cluster; that none is lost, test_parity.py beside this folder says."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model import dns
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    PLATFORMS,
    Rendered,
    render,
    small,
)


def config_of(rendered: Rendered, component: str) -> dict[str, str]:
    """The files that a component's pod has from its ConfigMap."""
    (name,) = [
        volume["configMap"]["name"]
        for volume in rendered.pods()[component]["spec"]["volumes"]
        if volume["name"] == "configuration"
    ]
    (found,) = [each for each in rendered.of_kind("ConfigMap") if each["metadata"]["name"] == name]
    return found["data"]


def container(rendered: Rendered, component: str) -> dict[str, Any]:
    (found,) = rendered.pods()[component]["spec"]["containers"]
    return found


def variables_of(rendered: Rendered, component: str) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container(rendered, component)["env"]}


def job(rendered: Rendered) -> dict[str, Any]:
    (found,) = rendered.of_kind("Job")
    return found


def workloads(rendered: Rendered) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in rendered.of_kind("Deployment", "StatefulSet", "Job")}


def test_every_component_runs_and_nothing_else(rendered: Rendered) -> None:
    found = [name for name in rendered.pods() if name != "publisher"]
    assert found == [each["name"] for each in rendered.components]
    kinds = {name: each["kind"] for name, each in workloads(rendered).items()}
    for component in rendered.components:
        if component["once"]:
            continue
        assert kinds[component["name"]] == ("StatefulSet" if component["kind"] == "worker" else "Deployment")
        wanted = workloads(rendered)[component["name"]]["spec"].get("replicas")
        assert wanted == (None if component["name"] in rendered.target.cluster.scaling else component["replicas"])
    assert [name.rpartition("-")[0] for name, kind in kinds.items() if kind == "Job"] == ["setup"]


def test_every_credential_is_mounted_and_read_from_there(rendered: Rendered) -> None:
    for component in rendered.components:
        items = [
            item["path"]
            for volume in rendered.pods()[component["name"]]["spec"]["volumes"]
            for item in volume.get("secret", {}).get("items", [])
        ]
        assert items == component["credentials"]
        read = config_of(rendered, component["name"])["airflow.cfg"]
        for setting, credential in component["secret_settings"].items():
            assert f"{setting.split('.')[1]}_cmd = cat /run/secrets/airflow/{credential}\n" in read
        values = variables_of(rendered, component["name"])
        for variable, credential in component["secret_commands"].items():
            assert values[variable] == f"cat /run/secrets/airflow/{credential}"
        for setting, credential in component["copied_credentials"].items():
            assert f"{setting.split('.')[1]} = /run/airflow/{credential}\n" in read


def test_what_does_not_start_in_time_is_started_anew(rendered: Rendered) -> None:
    for component in rendered.components:
        made = looks(rendered, component["name"])
        if component["once"]:
            assert job(rendered)["spec"]["activeDeadlineSeconds"] == component["start_timeout"]
        elif "startup" in made:
            assert made["startup"]["periodSeconds"] * made["startup"]["failureThreshold"] == component["start_timeout"]
        else:
            assert made["liveness"]["initialDelaySeconds"] == component["start_timeout"]
    for deployment in rendered.of_kind("Deployment"):
        assert deployment["spec"]["progressDeadlineSeconds"] > 300


def test_a_workers_stop_outlasts_the_longest_task(rendered: Rendered) -> None:
    for pool in rendered.plan["pools"]:
        spec = rendered.pods()[f"worker-{pool['name']}"]["spec"]
        assert spec["terminationGracePeriodSeconds"] > rendered.plan["longest_task"]


def test_pods_run_on_the_nodes_that_the_cluster_is_told(variables: dict[str, Any]) -> None:
    pods = {name: pod["spec"] for name, pod in PLATFORMS["full"](variables).pods().items()}
    assert {name: pod["nodeSelector"] for name, pod in pods.items() if "nodeSelector" in pod} == {
        "worker-etl": {"example.com/purpose": "airflow"},
        "worker-ml": {"example.com/accelerator": "gpu"},
    }
    assert {name: pod["tolerations"] for name, pod in pods.items() if "tolerations" in pod} == {
        "worker-ml": [
            {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {
                "key": "example.com/spot",
                "operator": "Equal",
                "value": "true",
                "effect": "NoExecute",
                "tolerationSeconds": 120,
            },
        ]
    }


def looks(rendered: Rendered, component: str) -> dict[str, Any]:
    found = container(rendered, component)
    return {kind: found[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness") if f"{kind}Probe" in found}


def program(look: dict[str, Any]) -> str:
    """What a look runs in its container."""
    *python, text = look["exec"]["command"]
    assert python == ["python", "-I", "-S", "-c"]
    return text


def test_the_kubelet_asks_by_itself_where_others_do_too(rendered: Rendered) -> None:
    made = looks(rendered, "api-server")
    assert list(made) == ["startup", "liveness", "readiness"]
    asked = {"path": "/api/v2/version", "port": rendered.plan["api"]["port"], "scheme": "HTTP"}
    assert [look["httpGet"] for look in made.values()] == [asked] * 3


def test_a_scheduler_is_asked_on_its_own_machine(rendered: Rendered) -> None:
    made = looks(rendered, "scheduler")
    assert list(made) == ["startup", "liveness", "readiness"]
    assert all('"127.0.0.1", 8974' in program(look) and "GET /health " in program(look) for look in made.values())


def test_a_worker_is_ready_when_it_consumes_and_is_never_ended_for_its_log_server(rendered: Rendered) -> None:
    made = looks(rendered, "worker-etl")
    assert list(made) == ["startup", "readiness"]
    ready = variables_of(rendered, "worker-etl")["AIRFLOW_BACKBONE_READY"]
    assert all(f'os.stat("{ready}")' in program(look) and "8793" in program(look) for look in made.values())
    assert made["startup"]["terminationGracePeriodSeconds"] == 60
    assert "AIRFLOW_BACKBONE_READY" not in variables_of(rendered, "scheduler")


def test_where_heartbeats_tell_the_api_is_asked_for_them(rendered: Rendered) -> None:
    for component in rendered.components:
        if component["health"]["type"] == "heartbeat":
            made = looks(rendered, component["name"])
            assert list(made) == ["liveness", "readiness"]
            port, monitor = str(rendered.plan["api"]["port"]), "/api/v2/monitor/health"
            asked = made["readiness"]["exec"]["command"][-4:]
            assert asked == ["api-server", port, monitor, component["health"]["component"]]
            assert f'("api-server", {port})' in program(made["liveness"])


def test_the_api_server_is_where_the_model_says_it_is(rendered: Rendered) -> None:
    (service,) = [each for each in rendered.of_kind("Service") if each["metadata"]["name"] == "api-server"]
    (port,) = service["spec"]["ports"]
    assert rendered.plan["api"]["internal_url"] == f"http://{service['metadata']['name']}:{port['port']}"
    assert service["spec"]["selector"].items() <= rendered.pods()["api-server"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", ["etl", "data_science", "a_"])
def test_a_workers_machines_are_its_pods(variables: dict[str, Any], name: str) -> None:
    etl, ml = variables["airflow_worker_pools"]
    rendered = PLATFORMS["small"]({**variables, "airflow_worker_pools": [{**etl, "name": name}, ml]})
    by_component = {
        each["metadata"]["labels"]["airstack.backbone/component"]: each for each in rendered.of_kind("StatefulSet")
    }
    for component in rendered.components:
        if component["kind"] == "worker":
            stateful = by_component[dns.label(component["name"])]
            pods = [f"{stateful['metadata']['name']}-{ordinal}" for ordinal in range(stateful["spec"]["replicas"])]
            assert pods == component["machines"]
            assert stateful["spec"]["serviceName"] in [each["metadata"]["name"] for each in rendered.of_kind("Service")]


def test_selectors_find_their_own_pods_alone(rendered: Rendered) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in rendered.pods().items()}
    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
        for each in rendered.of_kind(kind):
            wanted = each["spec"]["selector"]["matchLabels"].items()
            assert [name for name, own in labels.items() if wanted <= own.items()] == [each["metadata"]["name"]]


def mounted_dags(rendered: Rendered, component: str) -> list[tuple[str, str]]:
    spec = rendered.pods()[component]["spec"]
    return [
        (mount["mountPath"], mount["subPath"])
        for each in spec["containers"]
        for mount in each["volumeMounts"]
        if mount["name"] == "dags" and mount["readOnly"]
    ]


def test_readers_have_their_sources_and_the_sentinel(rendered: Rendered) -> None:
    storage = rendered.plan["dag_storage"]
    folder = rendered.target.cluster.dags.path.strip("/")
    for component in rendered.components:
        parts = [storage["sentinel"], *component["sources"]] if component["sources"] else []
        wanted = [(f"{storage['path']}/{part}", f"{folder}/{part}".lstrip("/")) for part in parts]
        assert mounted_dags(rendered, component["name"]) == wanted
        spec = rendered.pods()[component["name"]]["spec"]
        assert ("dags" in [each["name"] for each in spec["volumes"]]) == bool(parts)
        groups = list(rendered.target.cluster.dags.groups) if parts else []
        assert spec["securityContext"].get("supplementalGroups", []) == groups


@st.composite
def routes(draw: st.DrawFn) -> dict[str, Any]:
    """Sources and pools that go together somehow."""
    queues = [f"queue{number}" for number in range(draw(st.integers(1, 4)))]
    names = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True).filter(lambda name: name != "core")
    pools = draw(st.lists(names, min_size=len(queues), max_size=len(queues), unique=True))
    sources = draw(st.lists(names, min_size=len(queues), max_size=6, unique=True))
    return {
        "airflow_worker_pools": [{"name": pool, "queues": [queue]} for pool, queue in zip(pools, queues)],
        "airflow_dag_sources": [
            {"name": source, "path": f"/dags/{source}", "queues": [queues[at % len(queues)]]}
            for at, source in enumerate(sources)
        ],
    }


@given(described=routes())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_worker_sees_the_sources_of_its_pool_and_no_others(described: dict[str, Any], variables: Any) -> None:
    rendered = render({**variables, **described}, {}, small)
    by_name = {pool["name"]: set(pool["sources"]) for pool in rendered.plan["pools"]}
    workers = rendered.of_kind("StatefulSet")
    assert len(workers) == len(by_name)
    seen = []
    for worker in workers:
        spec = worker["spec"]["template"]["spec"]
        for each in (*spec["initContainers"], *spec["containers"]):
            mounts = [mount for mount in each["volumeMounts"] if mount["name"] == "dags"]
            assert all(mount["readOnly"] for mount in mounts)
            seen.append({mount["subPath"] for mount in mounts} - {".airflow-dag-storage"})
    wanted = [sources for pool in by_name.values() for sources in (pool, pool)]
    assert seen == wanted


def texts(value: Any) -> Iterator[str]:
    """All text in a manifest, with what is written in base64 in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value
        try:
            yield base64.b64decode(value, validate=True).decode()
        except ValueError:
            return


def test_no_secrets_value_is_outside_of_a_secret(rendered: Rendered) -> None:
    secrets = {value for values in rendered.values.values() for value in values.values()}
    assert secrets
    for manifest in rendered.manifests:
        found = [text for text in texts(manifest) if "value-of-" in text or any(value in text for value in secrets)]
        assert not found or manifest["kind"] == "Secret"


def test_a_component_has_its_own_secrets_and_no_others(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    secrets = {each["metadata"]["name"]: each["data"] for each in rendered.of_kind("Secret")}
    for component in rendered.components:
        (name,) = [
            volume["secret"]["secretName"]
            for volume in rendered.pods()[component["name"]]["spec"]["volumes"]
            if "secret" in volume
        ]
        decoded = {key: base64.b64decode(value).decode() for key, value in secrets.pop(name).items()}
        assert decoded == rendered.values[component["name"]]
    assert secrets == {}


def test_queues_and_routing_are_told_to_whom_they_are_for(rendered: Rendered) -> None:
    maps = {each["metadata"]["name"]: each["data"] for each in rendered.of_kind("ConfigMap")}
    assert json.loads(maps["routing"]["routing.json"]) == rendered.plan["routing"]
    for component in rendered.components:
        mounts = {each["mountPath"] for each in container(rendered, component["name"])["volumeMounts"]}
        told = variables_of(rendered, component["name"]).get("AIRFLOW_BACKBONE_ROUTING")
        assert told == ("/etc/airflow-routing/routing.json" if component["sources"] else None)
        assert ("/etc/airflow-routing" in mounts) == bool(component["sources"])
    for pool in rendered.plan["pools"]:
        found = container(rendered, f"worker-{pool['name']}")
        (source,) = [each["valueFrom"] for each in found["env"] if each["name"] == "AIRFLOW_WORKER_QUEUES"]
        read = maps[source["configMapKeyRef"]["name"]][source["configMapKeyRef"]["key"]]
        assert read == ",".join(pool["queues"])
        assert "$(AIRFLOW_WORKER_QUEUES)" in found["args"]


def restarted(before: Rendered, after: Rendered) -> list[str]:
    """The components whose pods another description starts anew."""
    return [name for name, pod in after.pods().items() if pod != before.pods()[name]]


def with_queues(variables: dict[str, Any], queues: list[str]) -> dict[str, Any]:
    etl, ml = variables["airflow_dag_sources"]
    pool, other = variables["airflow_worker_pools"]
    return {
        **variables,
        "airflow_dag_sources": [{**etl, "queues": queues}, ml],
        "airflow_worker_pools": [{**pool, "queues": queues}, other],
    }


def test_other_queues_start_their_workers_anew_and_nothing_else(variables: dict[str, Any]) -> None:
    fewer = with_queues(variables, ["etl"])
    assert restarted(PLATFORMS["small"](variables), PLATFORMS["small"](fewer)) == ["worker-etl"]


def test_another_setting_restarts_its_components(variables: dict[str, Any]) -> None:
    changed = {**variables, "airflow_settings": {"core": {"parallelism": "64"}}}
    before, after = PLATFORMS["small"](variables), PLATFORMS["small"](changed)
    assert restarted(before, after) == [each["name"] for each in before.components]


@pytest.mark.parametrize("address", ["airflow.utils.net.getfqdn", None])
def test_logs_are_found_by_the_pods_address_unless_the_user_says_otherwise(
    variables: dict[str, Any], address: str | None
) -> None:
    told = {"airflow_settings": {"core": {"hostname_callable": address}}} if address else {}
    rendered = PLATFORMS["small"]({**variables, **told})
    wanted = address or "airflow.utils.net.get_host_ip_address"
    assert f"\nhostname_callable = {wanted}\n" in config_of(rendered, "worker-etl")["airflow.cfg"]
