# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whatever runs the components, nothing of the model is lost on the way: this walks the model, platform by platform.

How a platform writes something down, its own tests know. Here stand, for each, the texts in which a component's things have
to be found, and where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.filter.components import component_files
from ansible_collections.airstack.backbone.plugins.module_utils._model import components, placement, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.tests.unit.render import swarm_stacks
from ansible_collections.airstack.backbone.tests.unit.render.conftest import ADDRESSES, GROUPS
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes import conftest as clusters

Component = Mapping[str, Any]
STORAGE = "/srv/airflow/dags"


@dataclass(frozen=True)
class Rendered:
    """What a platform makes of one component.

    files: its configuration, content by name. secrets: content by the name of the credential. command: its words, as text.
    environment: its variables. mounts: the paths that it sees of the DAG storage. writable: those of them that it may change.
    stop: seconds that it is given to stop. start: seconds that it is given to start.
    """

    files: Mapping[str, str]
    secrets: Mapping[str, str]
    command: str
    environment: Mapping[str, str]
    mounts: set[str]
    writable: set[str]
    stop: int
    start: int


def values(unit: str, key: str) -> list[str]:
    """What a unit file says under a key."""
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]


def on_systemd(planned: dict[str, Any], endpoints: dict[str, Any], component: Component) -> Rendered:
    secrets = {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]}
    made = component_files(planned, endpoints, component["hosts"][0], "/core", secrets, 30)
    name = component["name"]
    contents = {file["path"]: file["content"] for file in made["files"] if "content" in file}
    unit = contents[f"/etc/systemd/system/airflow-{name}.service"]
    folder = f"/etc/airflow/{name}/"
    files = {path.removeprefix(folder): text for path, text in contents.items() if path.startswith(folder)}
    words = [entry.strip('"').replace('\\"', '"').replace("%%", "%") for entry in values(unit, "Environment")]
    queues = files.pop("queues", "").rpartition("=")[2].strip()
    return Rendered(
        files=files,
        secrets={key.partition("/")[2]: text for key, text in made["secrets"].items() if key.startswith(f"{name}/")},
        command=values(unit, "ExecStart")[-1].replace("${AIRFLOW_WORKER_QUEUES}", queues),
        environment=dict(word.split("=", 1) for word in words),
        mounts={path.removeprefix("-") for path in values(unit, "BindReadOnlyPaths")},
        writable={path.removeprefix("-") for path in values(unit, "BindPaths")},
        stop=int(values(unit, "TimeoutStopSec")[0]),
        start=int(values(unit, "TimeoutStartSec")[0]),
    )


def on_swarm(planned: dict[str, Any], endpoints: dict[str, Any], component: Component) -> Rendered:
    stack = swarm_stacks.rendered(planned, endpoints)
    [service] = [each for each in stack["services"] if each["spec"]["Name"] == f"airflow-local_{component['name']}"]
    container = service["spec"]["TaskTemplate"]["ContainerSpec"]
    mounts = [mount for mount in container["Mounts"] if mount["Type"] == "bind"]
    return Rendered(
        files={
            config["File"]["Name"].rpartition("/")[2]: stack["configs"][config["ConfigName"]]
            for config in container["Configs"]
        },
        secrets={each["File"]["Name"]: stack["secrets"][each["SecretName"]] for each in container["Secrets"]},
        command=" ".join(container["Args"]),
        environment=dict(word.split("=", 1) for word in container["Env"]),
        mounts={mount["Target"] for mount in mounts},
        writable={mount["Target"] for mount in mounts if not mount["ReadOnly"]},
        stop=container["StopGracePeriod"] // 10**9,
        start=service["timeout"],
    )


def on_kubernetes(planned: dict[str, Any], endpoints: dict[str, Any], component: Component) -> Rendered:
    made = clusters.render_plan(planned, endpoints, clusters.small)
    pod = made.pods()[component["name"]]["spec"]
    [container] = pod["containers"]
    held = {(each["kind"], each["metadata"]["name"]): each["data"] for each in made.of_kind("ConfigMap", "Secret")}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    secret = volumes["credentials"]["secret"]
    dags = [mount for mount in container["volumeMounts"] if mount["name"] == "dags"]
    looks = [container[f"{kind}Probe"] for kind in ("startup", "liveness") if f"{kind}Probe" in container]
    given = [look.get("initialDelaySeconds", look["periodSeconds"] * look["failureThreshold"]) for look in looks]
    return Rendered(
        files=held["ConfigMap", volumes["configuration"]["configMap"]["name"]],
        secrets={item["path"]: held["Secret", secret["secretName"]][item["key"]] for item in secret["items"]},
        command=" ".join(
            clusters.expanded(word, {"AIRFLOW_WORKER_QUEUES": ",".join(component["queues"])})
            for word in container["args"]
        ),
        environment={
            each["name"]: clusters.expanded(each["value"], {}) for each in container["env"] if "value" in each
        },
        mounts={mount["mountPath"] for mount in dags},
        writable={mount["mountPath"] for mount in dags if not mount["readOnly"]},
        stop=pod["terminationGracePeriodSeconds"],
        start=given[0] if given else made.of_kind("Job")[0]["spec"]["activeDeadlineSeconds"],
    )


RENDERERS: dict[str, Callable[..., Rendered]] = {
    "systemd": on_systemd,
    "swarm": on_swarm,
    "kubernetes": on_kubernetes,
}
INVENTORIES = {
    "systemd": Inventory(GROUPS, ADDRESSES),
    "swarm": Inventory({**swarm_stacks.SERVICES, **swarm_stacks.NODES}),
    "kubernetes": Inventory(swarm_stacks.SERVICES),
}


@pytest.fixture(name="platform", params=sorted(RENDERERS))
def each_platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(name="planned", params=["teams", "one team"])
def each_plan(variables: dict[str, Any], platform: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    etl, ml = variables["airflow_worker_pools"]
    described = {
        **variables,
        "airflow_platform": platform,
        "airflow_multi_team": request.param == "teams",
        "airflow_worker_pools": [etl, {**ml, "team": "machines"}],
    }
    made, problems = plan.make(described, INVENTORIES[platform], tuple(placement.PLATFORMS))
    assert made is not None, problems
    return made


@pytest.fixture(name="pairs")
def model_and_rendered(
    platform: str, planned: dict[str, Any], endpoints: dict[str, Any]
) -> list[tuple[Component, Rendered]]:
    endpoints["broker"] = {**endpoints["broker"], "scheme": "amqps", "ca": "-----BEGIN CERTIFICATE-----"}
    model = components.model(planned, endpoints)
    return [(component, RENDERERS[platform](planned, endpoints, component)) for component in model]


def test_every_platform_of_the_model_has_a_renderer() -> None:
    assert set(RENDERERS) == set(placement.PLATFORMS)


def test_every_setting_stands_in_the_configuration(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        lines = rendered.files["airflow.cfg"].splitlines()
        for section, keys in component["settings"].items():
            begin = lines.index(f"[{section}]")
            end = lines.index("", begin) if "" in lines[begin:] else len(lines)
            wanted = {f"{key} = {value.replace('%', '%%')}" for key, value in keys.items()}
            assert wanted <= set(lines[begin:end])
        for setting in [*component["secret_settings"], *component["copied_credentials"]]:
            assert any(line.startswith(setting.split(".")[1]) for line in lines)


def test_every_credential_is_there_and_no_other(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        assert set(rendered.secrets) == set(component["credentials"])
        assert all(rendered.secrets.values())
        shown = json.dumps([dict(rendered.files), rendered.command, dict(rendered.environment)])
        assert "value-of-" not in shown


def test_every_file_is_there(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        for name, content in component["files"].items():
            assert rendered.files[name] == content


def test_every_variable_is_set(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        assert dict(component["environment"]).items() <= dict(rendered.environment).items()
        for variable, source in component["environment_files"].items():
            assert rendered.environment[variable].endswith(f"/{source.get('credential') or source['file']}")
        for variable, credential in component["secret_commands"].items():
            assert rendered.environment[variable].startswith("cat /")
            assert rendered.environment[variable].endswith(f"/{credential}")


def test_every_word_of_the_command_is_said(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        plain = [word for word in component["command"] if "{" not in word]
        assert [word for word in [component["program"], *plain] if word not in rendered.command] == []
        assert ",".join(component["queues"]) in rendered.command
        assert "{" not in rendered.command


def test_the_sources_are_mounted_and_no_others(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        parts = [".airflow-dag-storage", *component["sources"]] if component["sources"] else []
        assert rendered.mounts == {f"{STORAGE}/{part}" for part in parts}
        assert rendered.writable == set()


def test_timeouts_are_kept(pairs: list[tuple[Component, Rendered]]) -> None:
    for component, rendered in pairs:
        assert rendered.stop == component["stop_timeout"]
        assert rendered.start >= component["start_timeout"]
