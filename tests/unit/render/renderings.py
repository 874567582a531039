# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What each platform's rendering gives a component, read out of it into one common form."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import (
    components,
    credentials,
    dns,
    placement,
    plan,
    resources,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._render import image, rollout, swarm
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import manifests, network, probes
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    Cluster,
    Platform,
    Target,
)
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.components import (
    component_files,
    component_units,
)
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import IMAGE, KEY, endpoints_of, small
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.test_network import lets, selects

CORE = "/opt/airflow/core/3.3.2-0123456789ab"
READY = "AIRFLOW_BACKBONE_READY"
SECOND = 10**9
SERVICES = ("database", "broker", "log_store")


@dataclass(frozen=True)
class Rendered:
    """A platform: its plan, its components and their secret values, and what a renderer made of them."""

    plan: dict[str, Any]
    model: list[dict[str, Any]]
    values: dict[str, dict[str, str]]
    made: Any


@dataclass(frozen=True)
class Running:
    """What a component has where it runs: on one host of systemd's, or in all of its containers.

    commands: program and arguments by machine, as the process gets them. hosts: where it may run.
    files, secrets: content by path. copies: path of a secret by that of its copy. environment: by name.
    sources: whether it is read-only, by path, of all that it sees of the DAG storage. writable: folders.
    user: that it runs as. start, stop: seconds. health: as the model writes it.
    tells_ready: whether it says by itself when it consumes its queues. is_signalled_alone: whether a signal goes to the main
    process and not to the tasks. rights: what it is kept from. requests, limits: CPUs and bytes; requests is None where
    nothing is promised. reaches: the components and services to which its way is open; None where hosts' own firewalls say that.
    entrance: its port to which people are let in. wave: its place in the order of an update.
    version: what is otherwise when the platform starts it anew.
    """

    commands: dict[str, list[str]]
    hosts: list[str]
    files: dict[str, str]
    secrets: dict[str, str]
    copies: dict[str, str]
    environment: dict[str, str]
    sources: dict[str, bool]
    writable: list[str]
    user: str | None
    start: int | None
    stop: int | None
    health: dict[str, Any]
    tells_ready: bool
    is_signalled_alone: bool
    rights: set[str]
    requests: dict[str, Decimal] | None
    limits: dict[str, Decimal]
    reaches: set[str] | None
    entrance: int | None
    wave: int
    version: Any


Seen = dict[str, list[Running]]


def rendered(
    platform: str,
    variables: Mapping[str, Any],
    groups: Mapping[str, list[str]],
    changed: Mapping[str, str] | None = None,
) -> Rendered:
    """A description and the hosts of its services on one of the platforms, with two hosts for each pool or three workers
    for the first one. changed: secrets that are otherwise.
    """
    told = {**variables, "airflow_platform": platform}
    pools = told["airflow_worker_pools"]
    if platform != "systemd":
        told["airflow_worker_pools"] = [{**pools[0], "replicas": 3}, *pools[1:]]
    hosts = {"airflow_control": ["control1", "control2"]}
    # On a Swarm a pool without a group may run anywhere.
    placed = pools if platform == "systemd" else pools[:-1]
    for at, pool in enumerate(placed):
        hosts[f"airflow_workers_{pool['name']}"] = [f"worker{at}a", f"worker{at}b"]
    if platform == "kubernetes":
        hosts = {"airflow_publisher": ["publisher1"]}
        told = {
            "airflow_api_url": "https://airflow.example.com",
            "airflow_cluster_networks": ["10.244.0.0/16"],
            **told,
        }
    inventory = Inventory({**groups, **hosts}, {})
    planned, problems = plan.make(told, inventory, tuple(placement.PLATFORMS))
    assert planned is not None, problems
    endpoints = endpoints_of(planned)
    model = components.model(planned, endpoints)
    secrets = {secret["name"]: f"value-of-{secret['name']}" for secret in planned["secrets"]} | dict(changed or {})
    values = {each["name"]: credentials.values(each, endpoints, secrets) for each in model}
    return Rendered(planned, model, values, RENDERERS[platform](planned, endpoints, model, values, secrets))


def _on_hosts(planned: Any, endpoints: Any, _model: Any, _values: Any, secrets: Any) -> dict[str, Any]:
    return {
        host["name"]: {
            "files": component_files(planned, endpoints, host["name"], CORE, secrets, 30),
            "units": component_units(planned, endpoints, host["name"]),
        }
        for host in planned["hosts"]
    }


def _as_stack(planned: Any, _endpoints: Any, model: Any, values: Any, _secrets: Any) -> dict[str, Any]:
    storage = planned["dag_storage"]
    nodes = [{"name": name, "address": name} for name in planned["nodes"]]
    port = planned["api"]["port"]
    place = swarm.Stack(planned["environment"], IMAGE, storage["path"], storage["sentinel"], nodes, port)
    return swarm.render(model, place, planned["routing"], values, KEY)


def _as_manifests(planned: Any, endpoints: Any, model: Any, values: Any, _secrets: Any) -> list[Any]:
    cluster: Cluster = small(model, values)
    return [list(step.manifests) for step in manifests.steps(model, Platform.of(planned, endpoints), cluster)]


RENDERERS: dict[str, Callable[..., Any]] = {"systemd": _on_hosts, "swarm": _as_stack, "kubernetes": _as_manifests}


def seen(platform: str, given: Rendered) -> Seen:
    """What each component has, by its name."""
    return READERS[platform](given)


def _under_systemd(given: Rendered) -> Seen:
    found: Seen = {}
    waves = _waves(given)
    for host, made in given.made.items():
        contents = {file["path"]: file["content"] for file in made["files"]["files"] if "content" in file}
        held = {
            file["path"]: made["files"]["secrets"][file["secret"]]
            for file in made["files"]["files"]
            if "secret" in file
        }
        watched = {unit["component"]: unit for unit in made["units"]}
        for path, text in contents.items():
            named = re.fullmatch(r"/etc/systemd/system/airflow-(.+)\.service", path)
            if named:
                wave = waves.get((named[1], host), -1)
                version = _version(f"airflow-{named[1]}.service", made["files"]["files"], {**contents, **held})
                unit = _Unit(named[1], text, contents, held, watched[named[1]], given.plan["dag_storage"]["path"])
                found.setdefault(named[1], []).append(unit.running(host, wave, version))
    return found


def _waves(given: Rendered) -> dict[tuple[str, str], int]:
    """In which step each component of a host restarts. Before them the role has the database set up."""
    listed = given.plan["components"]
    stale: dict[str, dict[str, str]] = {}
    for component in listed:
        for host in component["hosts"]:
            stale.setdefault(host, {})[component["name"]] = "stale"
    return {
        (name, host): at
        for at, step in enumerate(rollout.steps(listed, stale))
        for host, names in step["components"].items()
        for name in names
    }


def _version(unit: str, files: Iterable[Mapping[str, Any]], contents: Mapping[str, str]) -> dict[str, str]:
    return {file["path"]: contents[file["path"]] for file in files if unit in file["restarts"]}


@dataclass(frozen=True)
class _Unit:
    """A unit file, read as systemd reads it."""

    name: str
    text: str
    contents: Mapping[str, str]
    held: Mapping[str, str]
    watched: Mapping[str, Any]
    storage: str

    def values(self, key: str) -> list[str]:
        return re.findall(rf"^{key}=(.*)$", self.text, re.MULTILINE)

    def value(self, key: str) -> str | None:
        return next(iter(self.values(key)), None)

    def running(self, host: str, wave: int, version: Any) -> Running:
        own = f"/etc/airflow/{self.name}/"
        variables = dict(_words(text)[0].split("=", 1) for text in self.values("Environment"))
        for path in self.values("EnvironmentFile"):
            lines = self.contents.get(path, "").splitlines()
            variables |= dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        loaded = dict(entry.split(":", 1) for entry in self.values("LoadCredential"))
        start = self.value("TimeoutStartSec")
        return Running(
            commands={host: self.command(variables)},
            hosts=[host],
            files={
                path: text for path, text in self.contents.items() if path.startswith((own, "/etc/airflow/routing."))
            },
            secrets={
                f"/run/credentials/airflow-{self.name}.service/{name}": self.held[path]
                for name, path in loaded.items()
                if path in self.held
            },
            copies=_copied(self.values("ExecStartPre")),
            environment=variables,
            sources=self.sources(),
            writable=self.writable(),
            user=self.value("User"),
            start=min(int(start), self.watched["timeout"]) if start else None,
            stop=_number(self.value("TimeoutStopSec")),
            health=_watched(self.watched["health"]),
            tells_ready=self.value("Type") == "notify",
            is_signalled_alone=self.value("KillMode") == "mixed",
            rights={
                right
                for right, (key, value) in {
                    "more rights": ("NoNewPrivileges", "yes"),
                    "capabilities": ("CapabilityBoundingSet", ""),
                    "writing elsewhere": ("ProtectSystem", "strict"),
                }.items()
                if self.values(key) == [value]
            },
            requests=None,
            limits=self.limits(),
            reaches=None,
            entrance=None,
            wave=wave,
            version=version,
        )

    def limits(self) -> dict[str, Decimal]:
        quota, memory = self.value("CPUQuota"), self.value("MemoryMax")
        return {
            **({"cpu": Decimal(quota.rstrip("%")) / 100} if quota else {}),
            **({"memory": Decimal(memory)} if memory else {}),
        }

    def command(self, variables: Mapping[str, str]) -> list[str]:
        words = _words(self.value("ExecStart") or "")
        for name, value in variables.items():
            words = [word.replace(f"${{{name}}}", value) for word in words]
        return [words[0].removeprefix(f"{CORE}/bin/"), *(word.replace("$$", "$") for word in words[1:])]

    def sources(self) -> dict[str, bool]:
        if f"-{self.storage}" in self.values("InaccessiblePaths"):
            return {}
        found = {} if f"{self.storage}:ro" in self.values("TemporaryFileSystem") else {self.storage: False}
        for key, is_read_only in (("BindReadOnlyPaths", True), ("BindPaths", False)):
            found |= {path.lstrip("-"): is_read_only for path in self.values(key)}
        return found

    def writable(self) -> list[str]:
        tops = {"State": "/var/lib", "Logs": "/var/log", "Runtime": "/run"}
        made = [f"{top}/{folder}" for key, top in tops.items() for folder in self.values(f"{key}Directory")]
        return [*made, *(["/tmp"] if self.value("PrivateTmp") == "yes" else [])]


def _words(text: str) -> list[str]:
    return [word.replace("%%", "%") for word in shlex.split(text)]


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _copied(commands: Iterable[str]) -> dict[str, str]:
    """Where commands of install copy what to."""
    text = " && ".join(commands)
    found = re.findall(r"(?:^|&& |/)install (?:-m |--mode=)0?600 (\S+) (\S+)", text)
    return {target: source for source, target in found}


def _watched(health: Mapping[str, Any]) -> dict[str, Any]:
    if health["type"] == "http":
        port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/.*)", health["url"]).groups()  # type: ignore[union-attr]
        return {"type": "http", "port": int(port), "path": path}
    if health["type"] == "heartbeat":
        return {"type": "heartbeat", "component": health["component"]}
    return dict(health) if health["type"] == "port" else {"type": "end"}


def _on_swarm(given: Rendered) -> Seen:
    stack = given.made
    return {
        service["spec"]["Name"].removeprefix(f"{stack['name']}_"): [_service(service, stack)]
        for service in stack["services"]
    }


def _service(service: Mapping[str, Any], stack: Mapping[str, Any]) -> Running:
    spec = service["spec"]
    task = spec["TaskTemplate"]
    container = task["ContainerSpec"]
    mode = spec["Mode"]
    variables = {**image.ENVIRONMENT, **dict(text.split("=", 1) for text in container["Env"])}
    words, copies = _without_copies(container["Args"])
    names = [
        container["Hostname"].replace("{{.Task.Slot}}", str(slot))
        for slot in range(1, mode.get("Replicated", {"Replicas": 1})["Replicas"] + 1)
    ]
    check = container.get("Healthcheck", {})
    look = check.get("Test", ["NONE"])
    start = check["StartPeriod"] // SECOND if "StartPeriod" in check else service["timeout"]
    return Running(
        commands={name: [word.replace("%h", name) for word in words] for name in names},
        hosts=_nodes(task["Placement"], stack),
        files={each["File"]["Name"]: stack["configs"][each["ConfigName"]] for each in container["Configs"]},
        secrets={
            f"/run/secrets/{each['File']['Name']}": stack["secrets"][each["SecretName"]]
            for each in container["Secrets"]
        },
        copies=copies,
        environment=variables,
        sources={
            mount["Target"] if mount["Source"] == mount["Target"] else f"{mount['Source']} at {mount['Target']}": mount[
                "ReadOnly"
            ]
            for mount in container["Mounts"]
            if mount["Type"] == "bind"
        },
        writable=[mount["Target"] for mount in container["Mounts"] if mount["Type"] in ("volume", "tmpfs")],
        user=container.get("User"),
        start=start,
        stop=container["StopGracePeriod"] // SECOND if "StopGracePeriod" in container else None,
        health=_look(look),
        tells_ready=READY in variables and f'os.stat("{variables[READY]}")' in look[-1],
        is_signalled_alone=_keeps_signals(container.get("Init") is False and "Command" not in container, variables),
        rights={
            right
            for right, holds in {
                "more rights": container.get("Privileges") == {"NoNewPrivileges": True},
                "capabilities": container.get("CapabilityDrop") == ["ALL"] and "CapabilityAdd" not in container,
                "writing elsewhere": container.get("ReadOnly"),
            }.items()
            if holds
        },
        requests=_counted(task, "Reservations"),
        limits=_counted(task, "Limits"),
        reaches=_reached(task, stack),
        entrance=next((port["TargetPort"] for port in spec.get("EndpointSpec", {}).get("Ports", ())), None),
        wave=service["wave"],
        version=spec,
    )


def _counted(task: Mapping[str, Any], part: str) -> dict[str, Decimal]:
    """What the Engine counts, as everybody else does."""
    told = task.get("Resources", {}).get(part, {})
    units = {"NanoCPUs": ("cpu", SECOND), "MemoryBytes": ("memory", 1)}
    return {units[key][0]: Decimal(value) / units[key][1] for key, value in told.items()}


def _reached(task: Mapping[str, Any], stack: Mapping[str, Any]) -> set[str]:
    """Whoever is on a network of its own, and all services where one of them leads outside."""
    own = {each["Target"] for each in task["Networks"]}
    inner = {network["Name"] for network in stack["networks"] if network["Internal"]}
    names = {
        each["spec"]["Name"].removeprefix(f"{stack['name']}_")
        for each in stack["services"]
        for network in each["spec"]["TaskTemplate"]["Networks"]
        if network["Target"] in own & inner
    }
    return {*names, *(SERVICES if own - inner else ())}


def _nodes(placed: Mapping[str, Any], stack: Mapping[str, Any]) -> list[str]:
    wanted = {constraint.removeprefix("node.labels.") for constraint in placed.get("Constraints", ())}
    return [
        node["name"]
        for node in stack["nodes"]
        if wanted <= {f"{label}=={value}" for label, value in node["labels"].items()}
    ]


def _without_copies(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """A command, and what a shell copies before it runs it."""
    if words[:2] == ["sh", "-c"] and words[2].endswith(' && exec "$0" "$@"'):
        return words[3:], _copied([words[2].removesuffix(' && exec "$0" "$@"')])
    return words, {}


def _keeps_signals(has_entry_point: bool, variables: Mapping[str, str]) -> bool:
    """The image's entry point hands a signal to the main process alone, where it is told so."""
    return has_entry_point and variables.get("DUMB_INIT_SETSID") == "0"


def _look(test: list[str]) -> dict[str, Any]:
    """What a program of a few lines looks at."""
    text = test[-1]
    port = re.search(r'create_connection\(\("127\.0\.0\.1", (\d+)\)', text)
    path = re.search(r'b"GET (\S+) HTTP', text)
    component = re.search(r'\("metadatabase", "(\w+)"\)', text)
    if component:
        return {"type": "heartbeat", "component": component[1]}
    if port and path:
        return {"type": "http", "port": int(port[1]), "path": path[1]}
    return {"type": "port", "port": int(port[1])} if port else {"type": "end"}


def _on_kubernetes(given: Rendered) -> Seen:
    made = [manifest for step in given.made for manifest in step]
    names = {dns.label(each["name"]): each["name"] for each in given.model}
    platform = Platform.of(given.plan, endpoints_of(given.plan))
    target = Target(platform, small(given.model, given.values))
    services = {service: network.places(service, target) for service in ("database", "broker", "log_store")}
    found: Seen = {}
    for wave, step in enumerate(given.made):
        for each in step:
            if each["kind"] in ("Deployment", "StatefulSet", "Job"):
                label = each["metadata"]["labels"]["airstack.backbone/component"]
                found.setdefault(names.get(label, label), []).append(
                    _Pod(each, made, given.plan["dag_storage"]["path"], names, services).running(wave)
                )
    return found


@dataclass(frozen=True)
class _Pod:
    """A workload's pods, read as a cluster reads them."""

    workload: Mapping[str, Any]
    made: list[Mapping[str, Any]]
    storage: str
    names: Mapping[str, str]
    services: Mapping[str, list[tuple[str, int]]]

    def content(self, kind: str, name: str) -> Mapping[str, str]:
        return next(
            (each["data"] for each in self.made if each["kind"] == kind and each["metadata"]["name"] == name), {}
        )

    def running(self, wave: int) -> Running:
        spec = self.workload["spec"]
        pod = spec["template"]["spec"]
        [container] = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = [(mount, volumes[mount["name"]]) for mount in container["volumeMounts"] if mount["name"] in volumes]
        names = [f"{self.workload['metadata']['name']}-{at}" for at in range(spec.get("replicas", 1))]
        by_machine = {name: self.variables(container, name) for name in names}
        variables = next(iter(by_machine.values()))
        probe = container.get("readinessProbe", {})
        context = container.get("securityContext", {})
        return Running(
            commands={name: [_expanded(word, by_machine[name]) for word in container["args"]] for name in names},
            hosts=[],
            files={
                f"{mount['mountPath']}/{key}": text
                for mount, volume in mounts
                if "configMap" in volume
                for key, text in self.content("ConfigMap", volume["configMap"]["name"]).items()
            },
            secrets=self.secrets(mounts),
            copies=_copied(first["command"][2] for first in pod.get("initContainers", ()) if first["command"][2:]),
            environment=variables,
            sources={
                self.source(mount): mount.get("readOnly", False)
                for mount, volume in mounts
                if "persistentVolumeClaim" in volume
            },
            writable=[mount["mountPath"] for mount, volume in mounts if "emptyDir" in volume],
            user=str(pod["securityContext"].get("runAsUser")),
            start=self.start(container),
            stop=pod.get("terminationGracePeriodSeconds"),
            health=_probed(probe),
            tells_ready=READY in variables and variables[READY] in str(probe),
            is_signalled_alone=_keeps_signals("command" not in container, variables),
            rights={
                right
                for right, holds in {
                    "more rights": context.get("allowPrivilegeEscalation") is False,
                    "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
                    "writing elsewhere": context.get("readOnlyRootFilesystem"),
                }.items()
                if holds
            },
            requests=self.amounts(container, "requests"),
            limits=self.amounts(container, "limits"),
            reaches=self.reached(),
            entrance=self.entrance(),
            wave=wave,
            version=(self.workload["metadata"]["name"], spec["template"]),
        )

    def variables(self, container: Mapping[str, Any], machine: str) -> dict[str, str]:
        found = dict(image.ENVIRONMENT)
        for each in container["env"]:
            source = each.get("valueFrom", {})
            if "fieldRef" in source:
                found[each["name"]] = machine
            elif "configMapKeyRef" in source:
                key = source["configMapKeyRef"]
                found[each["name"]] = self.content("ConfigMap", key["name"]).get(key["key"], "")
            else:
                found[each["name"]] = _expanded(each["value"], found)
        return found

    def secrets(self, mounts: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, str]:
        found = {}
        for mount, volume in mounts:
            if "secret" in volume:
                data = self.content("Secret", volume["secret"]["secretName"])
                for item in volume["secret"]["items"]:
                    if item["key"] in data:
                        path = f"{mount['mountPath']}/{item['path']}"
                        found[path] = base64.b64decode(data[item["key"]]).decode()
        return found

    def source(self, mount: Mapping[str, Any]) -> str:
        whole = f"{self.storage}/{mount.get('subPath', '')}".rstrip("/")
        return whole if whole == mount["mountPath"] else f"{whole} at {mount['mountPath']}"

    def amounts(self, container: Mapping[str, Any], part: str) -> dict[str, Decimal]:
        told = container["resources"].get(part, {})
        numbers = {"cpu": resources.cpus, "memory": lambda text: Decimal(resources.octets(text))}
        return {kind: numbers[kind](text) for kind, text in told.items()}

    def of_kind(self, *kinds: str) -> list[Mapping[str, Any]]:
        return [each for each in self.made if each["kind"] in kinds]

    def reached(self) -> set[str]:
        """Components at the ports of their containers, and services at their hosts' ports, as policies let through."""
        policies = self.of_kind("NetworkPolicy")
        own = self.workload["spec"]["template"]["metadata"]["labels"]
        found = set()
        for other in self.of_kind("Deployment", "StatefulSet", "Job"):
            template = other["spec"]["template"]
            labels = template["metadata"]["labels"]
            [container] = template["spec"]["containers"]
            ports = [port["containerPort"] for port in container.get("ports", ())]
            for port in ports:
                if lets(policies, "Egress", own, labels, port) and lets(policies, "Ingress", labels, own, port):
                    found.add(self.names[labels["airstack.backbone/component"]])
        rules = [
            rule
            for policy in policies
            if selects(policy["spec"]["podSelector"], own)
            for rule in policy["spec"].get("egress", ())
        ]
        for service, places in self.services.items():
            if all(any(_leads_to(rule, host, port) for rule in rules) for host, port in places):
                found.add(service)
        return found

    def entrance(self) -> int | None:
        """Where an Ingress leads: the Service's port, and behind it the pods' own."""
        labels = self.workload["spec"]["template"]["metadata"]["labels"]
        for ingress in self.of_kind("Ingress"):
            backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            for service in self.of_kind("Service"):
                is_meant = service["metadata"]["name"] == backend["name"]
                if is_meant and selects({"matchLabels": service["spec"]["selector"]}, labels):
                    ports = {port["port"]: port["targetPort"] for port in service["spec"]["ports"]}
                    return ports.get(backend["port"]["number"])
        return None

    def start(self, container: Mapping[str, Any]) -> int | None:
        probe = container.get("startupProbe")
        if probe:
            return int(probe["periodSeconds"] * probe["failureThreshold"])
        delay = container.get("livenessProbe", {}).get("initialDelaySeconds")
        return delay or self.workload["spec"].get("activeDeadlineSeconds")


def _leads_to(rule: Mapping[str, Any], host: str, port: int) -> bool:
    """Whether a rule lets through to a host outside. Where hosts are names, it may be any."""
    blocks = [peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer] if "to" in rule else [f"{host}/32"]
    return f"{host}/32" in blocks and port in [each["port"] for each in rule.get("ports", ())]


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """Text with what Kubernetes replaces in it."""
    return re.sub(
        r"\$\$|\$\(([A-Za-z_]\w*)\)", lambda found: variables.get(found[1], found[0]) if found[1] else "$", text
    )


def _probed(probe: Mapping[str, Any]) -> dict[str, Any]:
    if "httpGet" in probe:
        return {"type": "http", "port": probe["httpGet"]["port"], "path": probe["httpGet"]["path"]}
    if "tcpSocket" in probe:
        return {"type": "port", "port": probe["tcpSocket"]["port"]}
    command = probe.get("exec", {}).get("command", [""])
    if probes.MONITOR in command:
        return {"type": "heartbeat", "component": command[-1]}
    return _look(command)


READERS: dict[str, Callable[[Rendered], Seen]] = {
    "systemd": _under_systemd,
    "swarm": _on_swarm,
    "kubernetes": _on_kubernetes,
}
