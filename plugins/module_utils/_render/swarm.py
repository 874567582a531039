# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the components of a platform as one stack of Docker Swarm.

Pure: the result is plain data, in the form that the module ``airstack.backbone.swarm_stack`` takes. A service is written as
the Engine's own API takes it (ServiceSpec), so that what the Engine says of it can be compared with it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import placement, resources

from . import configuration, image, probes
from .configuration import Component, Places

CONTROL = "control"
"""The network on which components talk to each other. It leads nowhere else."""

DATA = "data"
"""The network on which components reach what is outside: database, broker, log store."""

TALKING = ("api-server", "dag-processor", "triggerer", "worker")
"""Who talks to another component: workers and triggerers have the logs that the API servers show, workers report to them,
and the health of a DAG processor and of a triggerer is what they say."""

PLACES = Places(
    files=configuration.FOLDER,
    credentials="/run/secrets",
    copies=image.SCRATCH,
    state=image.ENVIRONMENT["AIRFLOW_HOME"],
    logs=f"{image.ENVIRONMENT['AIRFLOW_HOME']}/logs",
)

WRITERS = ("dag-processor", "triggerer", "worker")
"""Who writes more than fits in memory: logs, and what tasks make. What is on a disk may also be run, as tasks do."""

HOST = "%h"
"""What Celery replaces with the name of its container; the Engine itself replaces nothing in a command."""

SLOT = "{{.Task.Slot}}"

READY = f"{image.SCRATCH}/consumes"
"""The file that a worker makes when it consumes its queues."""

LONGEST_NAME = 64
"""Characters of the name of a config or a secret (swarmkit, manager/controlapi)."""

SIGNS = 12
"""Hexadecimal digits of a hash in a name."""

BILLION = 10**9
"""The Engine counts CPUs in billionths."""

SECONDS = 10**9
"""The Engine counts nanoseconds."""

RETRY = 10
"""Seconds until a component that ended is started again."""

LOOK = 10
"""Seconds between two looks at a component."""

LOOKS = 6
"""Looks without success until a component is replaced: in a minute a database has come back from most failures."""

MONITOR = 30
"""Seconds for which a component that works has to go on doing so before the next one is replaced."""

WAVES = {"setup": 0, "api-server": 1, "worker": 3}
"""The order in which services are updated, as far as it is not the middle (2)."""


@dataclass(frozen=True)
class Stack:
    """What is the same for all components.

    environment, storage, sentinel: as of systemd.Place. image: the core's, by its digest. nodes: the Swarm's, by their names
    in the inventory. api_port: of the API servers. publish: ingress, where each node takes requests in, or host, where those
    nodes alone do which run an API server. is_encrypted: whether the networks are, which takes ESP in the nodes' kernels.
    """

    environment: str
    image: str
    storage: str
    sentinel: str
    nodes: Sequence[Mapping[str, str]]
    api_port: int
    publish: str = "ingress"
    is_encrypted: bool = True

    @property
    def name(self) -> str:
        """The name of the stack."""
        return placement.stack(self.environment)


def render(
    components: Sequence[Component],
    stack: Stack,
    routing: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, str]],
    key: str,
) -> dict[str, Any]:
    """The stack: name, networks, configs, secrets, nodes and services, as swarm_stack takes them.

    routing: the plan's. secrets: content of the credentials by component and name. key: a secret that is long and random,
    without which nobody can try whether a secret's name belongs to a guess.
    """
    configs: dict[str, str] = {}
    credentials: dict[str, str] = {}
    services = []
    for component in components:
        named = {
            path: (config_name(stack, component["name"], path, content), content)
            for path, content in _files(component, routing).items()
        }
        configs |= dict(named.values())
        held = {
            name: secret_name(stack, name, secrets[component["name"]][name], key) for name in component["credentials"]
        }
        credentials |= {held[name]: secrets[component["name"]][name] for name in held}
        spec = _service(component, stack, {path: name for path, (name, _content) in named.items()}, held)
        services.append({"wave": WAVES.get(component["kind"], 2), "timeout": _timeout(component), "spec": spec})
    return {
        "name": stack.name,
        "networks": [_network(stack, name) for name in (CONTROL, DATA)],
        "configs": configs,
        "secrets": credentials,
        "nodes": [
            {**node, "labels": {_label(each, stack): "true" for each in components if node["name"] in each["hosts"]}}
            for node in stack.nodes
        ],
        "services": services,
    }


def config_name(stack: Stack, component: str, path: str, content: str) -> str:
    """A name that changes with the content, since a config's own content cannot change."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    return _versioned(f"{stack.name}_{component}.{path.rsplit('/', 1)[1]}", digest)


def secret_name(stack: Stack, name: str, content: str, key: str) -> str:
    """A name that changes with the content, and tells nothing of it to whoever has no key."""
    message = f"{stack.name}\n{name}\n{content}"
    return _versioned(f"{stack.name}_{name}", hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest())


def _versioned(name: str, digest: str) -> str:
    return f"{name[: LONGEST_NAME - SIGNS - 1]}_{digest[:SIGNS]}"


def service_name(stack: Stack, component: Component) -> str:
    """The name of a component's service."""
    return placement.service(stack.environment, component["name"])


def _timeout(component: Component) -> int:
    """How many seconds one of its processes may take until it counts as started.

    More than the Engine takes to find that it does not: so the Engine has brought back what ran before when that is told.
    """
    return int(component["start_timeout"]) + (LOOKS + 1) * LOOK * 2 + MONITOR


def _network(stack: Stack, name: str) -> dict[str, Any]:
    return {
        "Name": f"{stack.name}_{name}",
        "Driver": "overlay",
        "Internal": name == CONTROL,
        "Options": {"encrypted": ""} if stack.is_encrypted else {},
    }


def _label(component: Component, stack: Stack) -> str:
    """The label of the nodes on which a component may run: that of all the platform's nodes, or one of its own.

    The Swarm may have more nodes, which have neither the DAG storage nor a way to the database.
    """
    is_anywhere = set(component["hosts"]) == {node["name"] for node in stack.nodes}
    return f"{stack.name}.{'node' if is_anywhere else component['name']}"


def _files(component: Component, routing: Mapping[str, Any]) -> dict[str, str]:
    """The configuration files of a component's container, by path.

    Whoever reads DAG files has the routing file with its own sources alone, so that others' are no reason to restart it.
    """
    files = {f"{PLACES.files}/{name}": text for name, text in configuration.files(component, PLACES).items()}
    if not component["sources"]:
        return files
    sources = {name: source for name, source in routing["sources"].items() if name in component["sources"]}
    return {**files, configuration.ROUTING: configuration.routing({**routing, "sources": sources})}


def _service(
    component: Component, stack: Stack, configs: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, Any]:
    spec = {
        "Name": service_name(stack, component),
        "TaskTemplate": {
            "ContainerSpec": _container(component, stack, configs, secrets),
            "RestartPolicy": _restart(component),
            **_resources(component),
            "Placement": {"Constraints": [f"node.labels.{_label(component, stack)}==true"]},
            "Networks": list(_networks(component, stack)),
        },
    }
    if component["once"]:
        return {**spec, "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}}
    return {
        **spec,
        "Mode": {"Replicated": {"Replicas": component["replicas"]}},
        "UpdateConfig": {**_update(component, stack), "FailureAction": "rollback"},
        "RollbackConfig": {**_update(component, stack), "FailureAction": "pause"},
        "EndpointSpec": _endpoint(component, stack),
    }


def _container(
    component: Component, stack: Stack, configs: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, Any]:
    user, group = image.USER.split(":")
    ready = READY if component["kind"] == "worker" else None
    look = probes.command(component["health"], placement.API_NAME, stack.api_port, ready)
    variables = {**configuration.environment(component, PLACES), **({probes.READY: ready} if ready else {})}
    return {
        "Image": stack.image,
        "Args": _command(component),
        "Hostname": component["name"] if component["once"] else f"{component['name']}-{SLOT}",
        "Env": [f"{name}={value}" for name, value in sorted(variables.items())],
        "User": image.USER,
        "Privileges": {"NoNewPrivileges": True},
        "CapabilityDrop": ["ALL"],
        "ReadOnly": True,
        # The image has one of its own, which hands a signal to the main process alone.
        "Init": False,
        "Mounts": [_scratch(component), *_sources(component, stack)],
        "StopGracePeriod": component["stop_timeout"] * SECONDS,
        "Healthcheck": _healthcheck(component, look) if look else {"Test": ["NONE"]},
        "Configs": [
            {"ConfigName": name, "File": {"Name": path, "UID": "0", "GID": "0", "Mode": 0o444}}
            for path, name in sorted(configs.items())
        ],
        "Secrets": [
            {"SecretName": secret, "File": {"Name": name, "UID": user, "GID": group, "Mode": 0o400}}
            for name, secret in sorted(secrets.items())
        ],
    }


def _command(component: Component) -> list[str]:
    words = [configuration.argument(word, component, PLACES, HOST) for word in component["command"]]
    command = [component["program"], *(word.replace("{queues}", ",".join(component["queues"])) for word in words)]
    copies = [
        f"install -m 600 {PLACES.credential(name)} {PLACES.copy(name)}"
        for name in component["copied_credentials"].values()
    ]
    return ["sh", "-c", " && ".join([*copies, 'exec "$0" "$@"']), *command] if copies else command


def _scratch(component: Component) -> dict[str, Any]:
    """The place for temporary files, which is gone with the container."""
    if component["kind"] in WRITERS:
        return {"Type": "volume", "Target": image.SCRATCH}
    return {"Type": "tmpfs", "Target": image.SCRATCH, "TmpfsOptions": {"Mode": 0o1777}}


def _sources(component: Component, stack: Stack) -> Iterator[dict[str, Any]]:
    """The component's own sources and no others; where one is not there, the Engine tries again until it is."""
    parts = [stack.sentinel, *component["sources"]] if component["sources"] else []
    for part in parts:
        path = f"{stack.storage}/{part}"
        yield {"Type": "bind", "Source": path, "Target": path, "ReadOnly": True}


def _healthcheck(component: Component, look: Sequence[str]) -> dict[str, Any]:
    return {
        "Test": ["CMD", *look],
        "Interval": LOOK * SECONDS,
        "Timeout": LOOK * SECONDS,
        "Retries": LOOKS,
        "StartPeriod": component["start_timeout"] * SECONDS,
    }


def _restart(component: Component) -> dict[str, Any]:
    return {"Condition": "none"} if component["once"] else {"Condition": "any", "Delay": RETRY * SECONDS}


def _resources(component: Component) -> dict[str, Any]:
    """What a node has to have left for it, and what it may take."""
    named = {"Reservations": "requests", "Limits": "limits"}
    made = {name: _amounts(component["resources"].get(part, {})) for name, part in named.items()}
    said = {name: amounts for name, amounts in made.items() if amounts}
    return {"Resources": said} if said else {}


def _amounts(told: Mapping[str, str]) -> dict[str, int]:
    return {
        **({"NanoCPUs": int(resources.cpus(told["cpu"]) * BILLION)} if "cpu" in told else {}),
        **({"MemoryBytes": resources.octets(told["memory"])} if "memory" in told else {}),
    }


def _networks(component: Component, stack: Stack) -> Iterator[dict[str, Any]]:
    if component["kind"] in TALKING:
        aliases = {"Aliases": [placement.API_NAME]} if component["kind"] == "api-server" else {}
        yield {"Target": f"{stack.name}_{CONTROL}", **aliases}
    yield {"Target": f"{stack.name}_{DATA}"}


def _update(component: Component, stack: Stack) -> dict[str, Any]:
    """Half of a pool's workers at a time; of the others, one after the other."""
    is_pool = component["kind"] == "worker"
    return {
        "Parallelism": max(1, component["replicas"] // 2) if is_pool else 1,
        "Monitor": MONITOR * SECONDS,
        "Order": "start-first" if _may_overlap(component, stack) else "stop-first",
    }


def _may_overlap(component: Component, stack: Stack) -> bool:
    """Whether the new process starts before the old one stops: API servers know nothing of each other. Where each has a port
    of its node, two on one node are in each other's way."""
    return component["kind"] == "api-server" and stack.publish == "ingress"


def _endpoint(component: Component, stack: Stack) -> dict[str, Any]:
    if component["kind"] != "api-server":
        return {"Mode": "dnsrr"}
    return {
        "Mode": "vip" if stack.publish == "ingress" else "dnsrr",
        "Ports": [
            {
                "Protocol": "tcp",
                "TargetPort": stack.api_port,
                "PublishedPort": stack.api_port,
                "PublishMode": stack.publish,
            }
        ],
    }
