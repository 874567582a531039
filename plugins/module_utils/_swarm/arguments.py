# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the modules of a stack are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import comparison
from ansible_collections.airstack.backbone.plugins.module_utils._swarm.stack import Service, StackError, Wanted

STACK: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "socket": {"type": "path", "default": "/var/run/docker.sock"},
}

MODES = ("Replicated", "ReplicatedJob")


def wanted(parameters: Mapping[str, Any], version: str) -> tuple[Wanted, dict[str, list[str]]]:
    """What shall be, for an Engine of this API version; and what such a one ignores: services by key.

    :raises StackError: something is not as the Engine takes it
    """
    name = parameters["name"]
    if parameters["state"] == "absent":
        return Wanted(name), {}
    ignored: dict[str, list[str]] = {}
    services = []
    for at, service in enumerate(parameters["services"]):
        _check(f"services[{at}].spec", service["spec"])
        spec, unknown = comparison.adapted(service["spec"], version)
        for path in unknown:
            ignored.setdefault(path, []).append(spec["Name"])
        services.append(Service(comparison.labelled(spec, name), service["wave"], service["timeout"]))
    for at, network in enumerate(parameters["networks"]):
        if not isinstance(network.get("Name"), str):
            raise StackError(f"networks[{at}] is {network}, and has to have a Name.")
    return (
        Wanted(
            name,
            networks=[{"Driver": "overlay", **network} for network in parameters["networks"]],
            configs=_texts("configs", parameters["configs"]),
            secrets=_texts("secrets", parameters["secrets"]),
            nodes=[{**node, "address": node["address"] or node["name"]} for node in parameters["nodes"]],
            services=services,
        ),
        ignored,
    )


def _check(where: str, spec: Mapping[str, Any]) -> None:
    container = _dictionary(_dictionary(spec.get("TaskTemplate")).get("ContainerSpec"))
    mode = _dictionary(spec.get("Mode"))
    needed = {
        "Name": spec.get("Name"),
        "TaskTemplate.ContainerSpec.Image": container.get("Image"),
        f"Mode ({' or '.join(MODES)})": len(mode) == 1 and next(iter(mode)) in MODES,
    }
    missing = [key for key, value in needed.items() if not value]
    if missing:
        raise StackError(f"{where} has no {', no '.join(missing)}: it has to be a ServiceSpec of the Engine's API.")


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(where: str, contents: Mapping[str, Any]) -> dict[str, str]:
    for name, content in contents.items():
        if not isinstance(content, str):
            raise StackError(f"{where}.{name} is of the type {type(content).__name__}, and has to be a text.")
    return dict(contents)
