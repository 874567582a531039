# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Renderings that lose something, one thing each, on every platform; mostly of the workers of the pool etl."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

Made = Any
Mutation = Callable[[Made], None]

STORAGE = "/srv/airflow/dags"

NAMED = {
    "a component": "scheduler: not rendered",
    "a word of a command": "worker-etl: command is",
    "a setting": "worker-etl: setting core.executor is None",
    "a setting's value": "worker-etl: setting core.load_examples is 'True'",
    "a secret": "worker-etl: secret broker_url is not there",
    "a secret's value": "worker-etl: secret broker_url is not there",
    "that a secret is another's": "worker-etl: secrets besides its own is",
    "that secrets are files": "worker-etl: a secret stands in its environment",
    "a file": "worker-etl: file aws_config is not there",
    "a variable": "worker-etl: variable AIRFLOW_CONN_AIRFLOW_LOGS is None",
    "a source's mount": "worker-etl: mounts (read-only) is",
    "that a source is read-only": "worker-etl: mounts (read-only) is",
    "that other sources are hidden": "worker-etl: mounts (read-only) is",
    "the routing": "worker-etl: routing of etl is None",
    "where to write": "worker-etl: setting logging.base_log_folder is",
    "the time to stop": "worker-etl: stop timeout is",
    "the time to start": "worker-etl: start timeout is",
    "the look at it": "scheduler: health is {'type': 'end'}",
    "a replica": "worker-etl: replicas is",
    "where it may run": "worker-etl: hosts is",
    "its user": "worker-etl: user is",
    "the lock on rights": "worker-etl: rights that it is kept from is",
    "that tasks get no signal": "worker-etl: a signal for the main process alone is False",
    "that it tells when it consumes": "worker-etl: telling that it consumes is False",
    "what it may take": "worker-etl: limits is",
    "what it is promised": "worker-etl: requests is",
    "its way to others": "worker-etl: does not reach api-server",
    "its way to a service": "worker-etl: does not reach broker",
    "that it is kept from others": "scheduler: reaches worker-etl",
    "the port for people": "api-server: port for people is None",
    "the order": "worker: starts no later than scheduler",
}
"""What is lost, and how it is named."""


def _text(path: str, pattern: str, text: str = "") -> Mutation:
    def mutate(made: Made) -> None:
        for host in made.values():
            for file in host["files"]["files"]:
                if file["path"].endswith(path) and "content" in file:
                    file["content"] = re.sub(pattern, text, file["content"], flags=re.MULTILINE)

    return mutate


def _unit(pattern: str, text: str = "") -> Mutation:
    return _text("/airflow-worker-etl.service", pattern, text)


def _without_file(path: str, hosts: int | None = None) -> Mutation:
    def mutate(made: Made) -> None:
        holders = [host["files"] for host in made.values() if any(_ends(file, path) for file in host["files"]["files"])]
        for files in holders[:hosts]:
            files["files"] = [file for file in files["files"] if not _ends(file, path)]

    return mutate


def _ends(file: dict[str, Any], path: str) -> bool:
    return bool(file["path"].endswith(path))


def _other_secret(made: Made) -> None:
    for host in made.values():
        if "worker-etl/broker_url" in host["files"]["secrets"]:
            host["files"]["secrets"]["worker-etl/broker_url"] = "another"


def _unwatched(made: Made) -> None:
    for host in made.values():
        for unit in host["units"]:
            if unit["component"] == "scheduler":
                unit["health"] = {"type": "none"}


SYSTEMD: dict[str, Mutation] = {
    "a component": _without_file("/airflow-scheduler.service"),
    "a word of a command": _unit(" --without-gossip"),
    "a setting": _text("/worker-etl/airflow.cfg", r"^executor = .*\n"),
    "a setting's value": _text("/worker-etl/airflow.cfg", "^load_examples = False$", "load_examples = True"),
    "a secret": _unit(r"^LoadCredential=broker_url:.*\n"),
    "a secret's value": _other_secret,
    "that a secret is another's": _unit(
        "^LoadCredential=broker_url:(.*)$", r"LoadCredential=broker_url:\1\nLoadCredential=fernet_key:\1"
    ),
    "that secrets are files": _unit("^Environment=HOME=", "Environment=KEY=value-of-api\nEnvironment=HOME="),
    "a file": _without_file("/worker-etl/aws_config"),
    "a variable": _unit(r'^Environment="?AIRFLOW_CONN_.*\n'),
    "a source's mount": _unit(rf"^BindReadOnlyPaths=-{STORAGE}/etl\n"),
    "that a source is read-only": _unit(f"^BindReadOnlyPaths=-{STORAGE}/etl", f"BindPaths=-{STORAGE}/etl"),
    "that other sources are hidden": _unit(r"^TemporaryFileSystem=.*\n"),
    "the routing": _text("/routing.json", '"etl": {', '"other": {'),
    "where to write": _unit(r"^LogsDirectory=.*\n"),
    "the time to stop": _unit(r"^TimeoutStopSec=.*\n"),
    "the time to start": _unit(r"^TimeoutStartSec=.*\n"),
    "the look at it": _unwatched,
    "a replica": _without_file("/airflow-worker-etl.service", hosts=1),
    "where it may run": _without_file("/airflow-worker-etl.service", hosts=1),
    "its user": _unit(r"^User=.*\n"),
    "the lock on rights": _unit(r"^NoNewPrivileges=.*\n"),
    "what it may take": _unit(r"^MemoryMax=.*\n"),
    "that tasks get no signal": _unit("^KillMode=mixed$", "KillMode=control-group"),
    "that it tells when it consumes": _unit("^Type=notify$", "Type=exec"),
}


def _of_service(name: str, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Mutation:
    """A change of a service's specification and of its container's."""

    def mutate(made: Made) -> None:
        [spec] = [each["spec"] for each in made["services"] if each["spec"]["Name"] == f"airflow-local_{name}"]
        change(spec, spec["TaskTemplate"]["ContainerSpec"])

    return mutate


def _worker(change: Callable[[dict[str, Any]], Any]) -> Mutation:
    return _of_service("worker-etl", lambda _spec, container: change(container))


def _networks(name: str, *networks: str) -> Mutation:
    targets = [{"Target": f"airflow-local_{network}"} for network in networks]
    return _of_service(name, lambda spec, _container: spec["TaskTemplate"].update(Networks=targets))


def _config(pattern: str, text: str = "") -> Mutation:
    def mutate(made: Made) -> None:
        for name, content in made["configs"].items():
            if name.startswith("airflow-local_worker-etl."):
                made["configs"][name] = re.sub(pattern, text, content, flags=re.MULTILINE)

    return mutate


def _drop(items: list[Any], is_dropped: Callable[[Any], bool]) -> None:
    items[:] = [item for item in items if not is_dropped(item)]


def _is_source(mount: dict[str, Any]) -> bool:
    return bool(mount.get("Source") == f"{STORAGE}/etl")


def _without_service(made: Made) -> None:
    _drop(made["services"], lambda each: each["spec"]["Name"] == "airflow-local_scheduler")


def _all_at_once(made: Made) -> None:
    for service in made["services"]:
        service["wave"] = min(service["wave"], 2)


def _other_config(made: Made) -> None:
    for name in made["secrets"]:
        if name.startswith("airflow-local_broker_url"):
            made["secrets"][name] = "another"


def _read_only_no_more(container: dict[str, Any]) -> None:
    for mount in container["Mounts"]:
        if _is_source(mount):
            mount["ReadOnly"] = False


SWARM: dict[str, Mutation] = {
    "a component": _without_service,
    "a word of a command": _worker(lambda container: container["Args"].remove("--without-gossip")),
    "a setting": _config(r"^executor = .*\n"),
    "a setting's value": _config("^load_examples = False$", "load_examples = True"),
    "a secret": _worker(
        lambda container: _drop(container["Secrets"], lambda each: each["File"]["Name"] == "broker_url")
    ),
    "a secret's value": _other_config,
    "that a secret is another's": _worker(
        lambda container: container["Secrets"].append(
            {**container["Secrets"][0], "File": {**container["Secrets"][0]["File"], "Name": "fernet_key"}}
        )
    ),
    "that secrets are files": _worker(lambda container: container["Env"].append("KEY=value-of-api")),
    "a file": _worker(
        lambda container: _drop(container["Configs"], lambda each: each["File"]["Name"].endswith("/aws_config"))
    ),
    "a variable": _worker(lambda container: _drop(container["Env"], lambda each: each.startswith("AIRFLOW_CONN_"))),
    "a source's mount": _worker(lambda container: _drop(container["Mounts"], _is_source)),
    "that a source is read-only": _worker(_read_only_no_more),
    "that other sources are hidden": _worker(
        lambda container: container["Mounts"].append(
            {"Type": "bind", "Source": STORAGE, "Target": STORAGE, "ReadOnly": True}
        )
    ),
    "the routing": _config('"etl": {', '"other": {'),
    "where to write": _worker(lambda container: _drop(container["Mounts"], lambda each: each["Target"] == "/tmp")),
    "the time to stop": _worker(lambda container: container.pop("StopGracePeriod")),
    "the time to start": _worker(lambda container: container["Healthcheck"].update(StartPeriod=0)),
    "the look at it": _of_service(
        "scheduler",
        lambda _spec, container: container.update(Healthcheck={"Test": ["NONE"], "StartPeriod": 300 * 10**9}),
    ),
    "a replica": _of_service("worker-etl", lambda spec, _container: spec["Mode"]["Replicated"].update(Replicas=1)),
    "where it may run": _of_service("worker-etl", lambda spec, _container: spec["TaskTemplate"].update(Placement={})),
    "its user": _worker(lambda container: container.pop("User")),
    "the lock on rights": _worker(lambda container: container.pop("Privileges")),
    "what it may take": _of_service(
        "worker-etl", lambda spec, _container: spec["TaskTemplate"]["Resources"].pop("Limits")
    ),
    "what it is promised": _of_service(
        "worker-etl", lambda spec, _container: spec["TaskTemplate"]["Resources"].pop("Reservations")
    ),
    "its way to others": _networks("worker-etl", "data"),
    "its way to a service": _networks("worker-etl", "control"),
    "that it is kept from others": _networks("scheduler", "control", "data"),
    "the port for people": _of_service("api-server", lambda spec, _container: spec["EndpointSpec"].pop("Ports")),
    "that tasks get no signal": _worker(lambda container: container.update(Init=True)),
    "that it tells when it consumes": _worker(
        lambda container: _drop(container["Env"], lambda each: each.startswith("AIRFLOW_BACKBONE_READY="))
    ),
    "the order": _all_at_once,
}


def _of_pod(name: str, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Mutation:
    """A change of a workload's specification and of its container's."""

    def mutate(made: Made) -> None:
        [workload] = [
            each
            for step in made
            for each in step
            if each["kind"] in ("Deployment", "StatefulSet") and each["metadata"]["name"] == name
        ]
        change(workload["spec"], workload["spec"]["template"]["spec"]["containers"][0])

    return mutate


def _pod(change: Callable[[dict[str, Any]], Any]) -> Mutation:
    return _of_pod("worker-etl", lambda _spec, container: change(container))


def _whole_pod(change: Callable[[dict[str, Any]], Any]) -> Mutation:
    return _of_pod("worker-etl", lambda spec, _container: change(spec["template"]["spec"]))


def _data(kind: str, name: str, change: Callable[[dict[str, str]], Any]) -> Mutation:
    def mutate(made: Made) -> None:
        for step in made:
            for each in step:
                if each["kind"] == kind and re.fullmatch(rf"{name}(-[0-9a-f]{{10}})?", each["metadata"]["name"]):
                    change(each["data"])

    return mutate


def _in_map(pattern: str, text: str = "") -> Mutation:
    def change(data: dict[str, str]) -> None:
        data["airflow.cfg"] = re.sub(pattern, text, data["airflow.cfg"], flags=re.MULTILINE)

    return _data("ConfigMap", "worker-etl", change)


def _credentials(pod: dict[str, Any]) -> Any:
    [items] = [volume["secret"]["items"] for volume in pod["volumes"] if "secret" in volume]
    return items


def _dags(container: dict[str, Any]) -> Any:
    [mount] = [each for each in container["volumeMounts"] if each["mountPath"] == f"{STORAGE}/etl"]
    return mount


def _routed_elsewhere(data: dict[str, str]) -> None:
    data["routing.json"] = data["routing.json"].replace('"etl": {', '"other": {')


def _workers_first(made: Made) -> None:
    [workers] = [
        step for step in made if step[0]["metadata"]["name"] == "worker-etl" and step[0]["kind"] == "StatefulSet"
    ]
    made.remove(workers)
    made.insert(0, workers)


def _policy(name: str, change: Callable[[dict[str, Any]], Any]) -> Mutation:
    def mutate(made: Made) -> None:
        [policy] = [
            each
            for step in made
            for each in step
            if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == name
        ]
        change(policy["spec"])

    return mutate


def _to(port: int) -> Callable[[dict[str, Any]], bool]:
    return lambda rule: port in [each["port"] for each in rule["ports"]]


def _lets_all(*names: str) -> Mutation:
    """Policies of these components that let everything through."""

    def mutate(made: Made) -> None:
        for name in names:
            _policy(name, lambda spec: spec.update(ingress=[{}], egress=[{}]))(made)

    return mutate


def _without_entrance(made: Made) -> None:
    for step in made:
        _drop(step, lambda each: each["kind"] == "Ingress")


KUBERNETES: dict[str, Mutation] = {
    "a component": lambda made: (
        [
            _drop(step, lambda each: each["kind"] == "Deployment" and each["metadata"]["name"] == "scheduler")
            for step in made
        ]
        and None
    ),
    "a word of a command": _pod(lambda container: container["args"].remove("--without-gossip")),
    "a setting": _in_map(r"^executor = .*\n"),
    "a setting's value": _in_map("^load_examples = False$", "load_examples = True"),
    "a secret": _whole_pod(lambda pod: _drop(_credentials(pod), lambda item: item["key"] == "broker_url")),
    "a secret's value": _data(
        "Secret", "worker-etl", lambda data: data.update(broker_url=base64.b64encode(b"another").decode())
    ),
    "that a secret is another's": _whole_pod(
        lambda pod: _credentials(pod).append({"key": "broker_url", "path": "fernet_key"})
    ),
    "that secrets are files": _pod(lambda container: container["env"].append({"name": "KEY", "value": "value-of-api"})),
    "a file": _data("ConfigMap", "worker-etl", lambda data: data.pop("aws_config")),
    "a variable": _pod(
        lambda container: _drop(container["env"], lambda each: each["name"].startswith("AIRFLOW_CONN_"))
    ),
    "a source's mount": _pod(
        lambda container: _drop(container["volumeMounts"], lambda each: each["mountPath"] == f"{STORAGE}/etl")
    ),
    "that a source is read-only": _pod(lambda container: _dags(container).pop("readOnly")),
    "that other sources are hidden": _pod(lambda container: _dags(container).pop("subPath")),
    "the routing": _data("ConfigMap", "routing", _routed_elsewhere),
    "where to write": _pod(
        lambda container: _drop(container["volumeMounts"], lambda each: each["mountPath"] == "/var/log/airflow")
    ),
    "the time to stop": _whole_pod(lambda pod: pod.pop("terminationGracePeriodSeconds")),
    "the time to start": _pod(lambda container: container.pop("startupProbe")),
    "the look at it": _of_pod("scheduler", lambda _spec, container: container.pop("readinessProbe")),
    "a replica": _of_pod("worker-etl", lambda spec, _container: spec.update(replicas=1)),
    "its user": _whole_pod(lambda pod: pod["securityContext"].pop("runAsUser")),
    "the lock on rights": _pod(lambda container: container["securityContext"].pop("allowPrivilegeEscalation")),
    "what it may take": _pod(lambda container: container["resources"].pop("limits")),
    "what it is promised": _pod(lambda container: container["resources"]["requests"].update(memory="1Gi")),
    "its way to others": _policy("worker-etl", lambda spec: _drop(spec["egress"], _to(8080))),
    "its way to a service": _policy("worker-etl", lambda spec: _drop(spec["egress"], _to(5672))),
    "that it is kept from others": _lets_all("scheduler", "worker-etl"),
    "the port for people": _without_entrance,
    "that tasks get no signal": _pod(lambda container: container.update(command=["sh"])),
    "that it tells when it consumes": _pod(
        lambda container: _drop(container["env"], lambda each: each["name"] == "AIRFLOW_BACKBONE_READY")
    ),
    "the order": _workers_first,
}

MUTATIONS = {"systemd": SYSTEMD, "swarm": SWARM, "kubernetes": KUBERNETES}

ELSEWHERE = {
    "systemd": {
        "the order",
        "what it is promised",
        "its way to others",
        "its way to a service",
        "that it is kept from others",
        "the port for people",
    },
    "kubernetes": {"where it may run"},
}
"""What a rendering cannot lose: it does not say it. Steps on hosts are made of what was seen there (_render.rollout),
nobody is promised anything there, and hosts' own firewalls say who reaches whom; a cluster chooses among its nodes."""
