# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a stack shall be, what the Swarm has of it, and what has to be done in between. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import comparison, tasks

Object = Mapping[str, Any]

VXLAN = "com.docker.network.driver.overlay.vxlanid_list"
"""The option of a network that the Engine adds."""


class StackError(Exception):
    """What is wanted cannot be, in words for a person."""


@dataclass(frozen=True)
class Service:
    """wave: services of one are brought up together, after those of a lower one. timeout: seconds for one process's start."""

    spec: dict[str, Any]
    wave: int
    timeout: int

    @property
    def name(self) -> str:
        return str(self.spec["Name"])

    @property
    def is_job(self) -> bool:
        return "ReplicatedJob" in self.spec["Mode"]


@dataclass(frozen=True)
class Wanted:
    """name: of the stack. configs and secrets: content by name. nodes: {name, address, labels}; others have no labels of it."""

    name: str
    networks: Sequence[Object] = ()
    configs: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    nodes: Sequence[Object] = ()
    services: Sequence[Service] = ()


@dataclass(frozen=True)
class Found:
    """What the Engine says of a stack, by name, and of all networks and nodes there are.

    tasks: by the service's ID. time: when it said so, on its own clock.
    """

    services: Mapping[str, Object]
    networks: Mapping[str, Object]
    configs: Mapping[str, Object]
    secrets: Mapping[str, Object]
    nodes: Sequence[Object]
    network_names: Mapping[str, str]
    tasks: Mapping[str, Sequence[Object]]
    time: str


@dataclass(frozen=True)
class Labels:
    """All labels of a node. number: its ID. host: its name."""

    number: str
    host: str
    before: Mapping[str, str]
    after: Mapping[str, str]


@dataclass(frozen=True)
class Changes:
    """What has to be done, in this order. removed_*: names. again: jobs that failed."""

    networks: Sequence[Object]
    configs: Sequence[str]
    secrets: Sequence[str]
    labels: Sequence[Labels]
    services: Sequence[str]
    again: Sequence[str]
    removed_services: Sequence[str]
    removed_networks: Sequence[str]
    removed_configs: Sequence[str]
    removed_secrets: Sequence[str]

    def lines(self) -> list[str]:
        """What is done, for a person."""
        done = {
            "network created": [network["Name"] for network in self.networks],
            "config created": self.configs,
            "secret created": self.secrets,
            "node labelled": [node.host for node in self.labels],
            "service brought up": [name for name in self.services if name not in self.again],
            "job run again": self.again,
            "service removed": self.removed_services,
            "network removed": self.removed_networks,
            "config removed": self.removed_configs,
            "secret removed": self.removed_secrets,
        }
        return [f"{what}: {name}" for what, names in done.items() for name in names]


def changes(wanted: Wanted, found: Found) -> Changes:
    """What has to be done.

    :raises StackError: what is there cannot be changed, or what is wanted contradicts itself
    """
    _check(wanted, found)
    changed = [service.name for service in wanted.services if _differs(service, found)]
    again = [
        service.name
        for service in wanted.services
        if service.name not in changed and service.is_job and _has_failed(found, service.name)
    ]
    names = [service.name for service in wanted.services]
    kept = {kind: set(_kept(wanted, found, changed, kind)) for kind in ("Config", "Secret")}
    networks = [network["Name"] for network in wanted.networks]
    return Changes(
        networks=[network for network in wanted.networks if network["Name"] not in found.networks],
        configs=[name for name in wanted.configs if name not in found.configs],
        secrets=[name for name in wanted.secrets if name not in found.secrets],
        labels=list(_labels(wanted, found)),
        services=[name for name in names if name in changed or name in again],
        again=again,
        removed_services=[name for name in found.services if name not in names],
        removed_networks=[name for name in found.networks if name not in networks],
        removed_configs=[name for name in found.configs if name not in kept["Config"]],
        removed_secrets=[name for name in found.secrets if name not in kept["Secret"]],
    )


def diff(wanted: Wanted, found: Found, planned: Changes) -> list[dict[str, str]]:
    """What changes, as Ansible shows it. No content of a secret is in it."""
    entries = []
    specs = {service.name: service.spec for service in wanted.services}
    for name in [*(name for name in planned.services if name not in planned.again), *planned.removed_services]:
        before = found.services.get(name, {}).get("Spec")
        after = specs.get(name)
        entries.append(_entry(f"service {name}", _text(before, found.network_names), _text(after, found.network_names)))
        entries += _files(name, before, after, wanted, found)
    gone, new = [], []
    objects = (
        ("network", [network["Name"] for network in planned.networks], planned.removed_networks),
        ("config", planned.configs, planned.removed_configs),
        ("secret", planned.secrets, planned.removed_secrets),
        ("job run again", planned.again, ()),
    )
    for kind, created, removed in objects:
        gone += [f"{kind} {name}" for name in removed]
        new += [f"{kind} {name}" for name in created]
    for node in planned.labels:
        gone += _label_lines(node.host, node.before)
        new += _label_lines(node.host, node.after)
    if gone or new:
        entries.append(_entry(f"stack {wanted.name}", _lines(gone), _lines(new)))
    return entries


def told(service: Object, found: Found) -> dict[str, Any]:
    """What is known of a service that is there."""
    listed = found.tasks.get(service["ID"], ())
    mode = service["Spec"]["Mode"]
    is_job = "ReplicatedJob" in mode
    verdict = tasks.job(service, listed) if is_job else tasks.replicas(service, listed, is_changed=False)
    return {
        "image": service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"],
        "state": verdict.state,
        "replicas": mode["ReplicatedJob"]["TotalCompletions"] if is_job else mode["Replicated"]["Replicas"],
        "running": verdict.progress,
        "update": (service.get("UpdateStatus") or {}).get("State", ""),
        "errors": tasks.errors(listed, tasks.second(service["UpdatedAt"]), is_job),
    }


def _label_lines(host: str, labels: Mapping[str, str]) -> list[str]:
    return [f"node {host}: {key}={value}" for key, value in sorted(labels.items())]


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _entry(what: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": what, "after_header": what, "before": before, "after": after}


def _text(spec: Object | None, networks: Mapping[str, str]) -> str:
    return json.dumps(comparison.comparable(spec, networks), indent=2) + "\n" if spec else ""


def _files(
    name: str, before: Object | None, after: Object | None, wanted: Wanted, found: Found
) -> list[dict[str, str]]:
    """The configs of a service whose content changes."""
    files_before, files_after = comparison.config_files(before), comparison.config_files(after)
    changed = [
        path for path in sorted({*files_before, *files_after}) if files_before.get(path) != files_after.get(path)
    ]
    return [
        _entry(
            f"{path} of {name}",
            _content(found.configs.get(files_before.get(path, ""))),
            wanted.configs.get(files_after.get(path, ""), ""),
        )
        for path in changed
    ]


def _content(config: Object | None) -> str:
    return base64.b64decode(config["Spec"]["Data"]).decode(errors="replace") if config else ""


def _differs(service: Service, found: Found) -> bool:
    there = found.services.get(service.name)
    if there is None:
        return True
    names = found.network_names
    return comparison.comparable(service.spec, names) != comparison.comparable(there["Spec"], names)


def _has_failed(found: Found, name: str) -> bool:
    service = found.services[name]
    return tasks.job(service, found.tasks.get(service["ID"], ())).state == tasks.FAILED


def _kept(wanted: Wanted, found: Found, changed: Sequence[str], kind: str) -> Iterator[str]:
    """What the services refer to, and what they go back to when they are rolled back, by the Engine or by hand."""
    yield from wanted.configs if kind == "Config" else wanted.secrets
    for service in wanted.services:
        there = found.services.get(service.name, {})
        yield from comparison.references(service.spec, kind)
        yield from comparison.references(there.get("Spec" if service.name in changed else "PreviousSpec"), kind)


def _labels(wanted: Wanted, found: Found) -> Iterator[Labels]:
    """The nodes that have not the labels that they shall have. Only those of the stack are its own."""
    prefix = f"{wanted.name}."
    own = {_node(node, found)["ID"]: node["labels"] for node in wanted.nodes}
    for node in found.nodes:
        before = node["Spec"].get("Labels") or {}
        others = {key: value for key, value in before.items() if not key.startswith(prefix)}
        after = {**others, **own.get(node["ID"], {})}
        if before != after:
            yield Labels(node["ID"], node["Description"]["Hostname"], before, after)


def _node(node: Object, found: Found) -> Object:
    for each in found.nodes:
        if each["Description"]["Hostname"] == node["name"] or each["Status"].get("Addr") == node["address"]:
            return each
    there = ", ".join(f"{each['Description']['Hostname']} ({each['Status'].get('Addr')})" for each in found.nodes)
    raise StackError(
        f"{node['name']} ({node['address']}) is no node of the Swarm, which has {there}. Let it join (docker swarm join), or"
        " take it out of the inventory's group."
    )


def _check(wanted: Wanted, found: Found) -> None:
    for network in wanted.networks:
        there = found.networks.get(network["Name"])
        if there is not None:
            _check_network(network, there)
    for name, content in wanted.configs.items():
        if name in found.configs and _content(found.configs[name]) != content:
            raise StackError(
                f"the config {name} is there already with another content, and cannot be changed. Give the new one another"
                " name, such as one that holds a hash of its content."
            )
    for service in wanted.services:
        _check_references(service, wanted, found)
        there = found.services.get(service.name)
        if there and set(there["Spec"]["Mode"]) != set(service.spec["Mode"]):
            modes = [next(iter(spec["Mode"])) for spec in (there["Spec"], service.spec)]
            raise StackError(
                f"the service {service.name} is a {modes[0]} and shall be a {modes[1]}, which the Engine cannot change."
                f" Remove it first: docker service rm {service.name}"
            )


def _check_references(service: Service, wanted: Wanted, found: Found) -> None:
    known = {"Config": {*wanted.configs, *found.configs}, "Secret": {*wanted.secrets, *found.secrets}}
    for kind, names in known.items():
        for name in comparison.references(service.spec, kind):
            if name not in names:
                raise StackError(
                    f"the service {service.name} refers to the {kind.lower()} {name}, which is not among the stack's."
                )


def _check_network(network: Object, there: Object) -> None:
    before, after = _comparable_network(there), _comparable_network(network)
    if before != after:
        raise StackError(
            f"the network {network['Name']} is {json.dumps(before)} and shall be {json.dumps(after)}, which the Engine cannot"
            " change. Remove the stack first, or give the network another name."
        )


def _comparable_network(network: Object) -> dict[str, Any]:
    options = {key: value for key, value in (network.get("Options") or {}).items() if key != VXLAN}
    return {
        "Driver": network.get("Driver", "overlay"),
        "Internal": bool(network.get("Internal")),
        "Attachable": bool(network.get("Attachable")),
        "Options": options,
    }
