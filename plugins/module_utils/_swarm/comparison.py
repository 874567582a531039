# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wanted of a service and what the Engine says of it, in a form in which both can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Spec = Mapping[str, Any]

NAMESPACE = "com.docker.stack.namespace"
"""The label by which docker's own commands, too, know what belongs to a stack."""

DEFAULTS: dict[tuple[str, ...], Any] = {
    ("TaskTemplate", "ContainerSpec", "Isolation"): "default",
    ("TaskTemplate", "Runtime"): "container",
    ("EndpointSpec", "Mode"): "vip",
}
"""What the Engine says where nothing was said."""

COUNTERS: tuple[tuple[str, ...], ...] = (("TaskTemplate", "ForceUpdate"),)
"""What counts updates, and says nothing of what is wanted."""

MEANINGFUL = ("Init", "Replicas")
"""Keys whose false or 0 is something else than nothing."""

SINCE: dict[tuple[str, ...], tuple[int, int]] = {
    ("TaskTemplate", "ContainerSpec", "Privileges", "NoNewPrivileges"): (1, 44),
    ("TaskTemplate", "ContainerSpec", "Healthcheck", "StartInterval"): (1, 44),
    ("TaskTemplate", "ContainerSpec", "OomScoreAdj"): (1, 46),
}
"""The version of the API with which an Engine knows a key (its version history). An older one ignores it."""


def adapted(spec: Spec, version: str) -> tuple[dict[str, Any], list[str]]:
    """A wanted service without the keys that an Engine of this API version ignores, and those keys."""
    number = tuple(int(part) for part in version.split("."))
    unknown = [path for path, since in SINCE.items() if number < since and _holds(spec, path)]
    for path in unknown:
        spec = _without(spec, path)
    return dict(spec), [".".join(path) for path in unknown]


def labelled(spec: Spec, stack: str) -> dict[str, Any]:
    """A wanted service, and its containers, with the label of the stack."""
    label = {NAMESPACE: stack}
    template = spec["TaskTemplate"]
    container = template["ContainerSpec"]
    container = {**container, "Labels": {**container.get("Labels", {}), **label}}
    return {
        **spec,
        "Labels": {**spec.get("Labels", {}), **label},
        "TaskTemplate": {**template, "ContainerSpec": container},
    }


def comparable(spec: Spec, networks: Mapping[str, str]) -> dict[str, Any]:
    """A service, wanted or found: names instead of the Engine's own numbers, and nothing that says nothing.

    networks: names by ID.
    """
    named = _named(spec, networks)
    for path in COUNTERS:
        named = _without(named, path)
    for path, default in DEFAULTS.items():
        if _value(named, path) == default:
            named = _without(named, path)
    return dict(_told(named))


def references(spec: Spec | None, kind: str) -> list[str]:
    """The names of the configs or secrets that a service's containers are given.

    :param kind: Config or Secret
    """
    container = ((spec or {}).get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return [each[f"{kind}Name"] for each in container.get(f"{kind}s") or ()]


def config_files(spec: Spec | None) -> dict[str, str]:
    """The names of the configs by the path at which a service's containers have them."""
    container = ((spec or {}).get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return {each["File"]["Name"]: each["ConfigName"] for each in container.get("Configs") or () if each.get("File")}


def resolved(spec: Spec, configs: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, Any]:
    """A wanted service with the IDs of its configs and secrets, which the Engine wants besides the names."""
    template = spec["TaskTemplate"]
    container = dict(template["ContainerSpec"])
    for kind, ids in (("Config", configs), ("Secret", secrets)):
        if f"{kind}s" in container:
            container[f"{kind}s"] = [{**each, f"{kind}ID": ids[each[f"{kind}Name"]]} for each in container[f"{kind}s"]]
    return {**spec, "TaskTemplate": {**template, "ContainerSpec": container}}


def _named(value: Any, networks: Mapping[str, str], key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {
            name: _named(each, networks, name) for name, each in value.items() if name not in ("ConfigID", "SecretID")
        }
    if key == "Networks" and isinstance(value, Sequence):
        return [{**each, "Target": networks.get(each["Target"], each["Target"])} for each in value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_named(each, networks) for each in value]
    return value


def _told(value: Any) -> Any:
    """Without what is empty, false or 0, which the Engine does not tell from what is absent."""
    if isinstance(value, Mapping):
        return dict(_entries(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_told(each) for each in value]
    return value


def _entries(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in sorted(value):
        told = _told(value[key])
        if told or (key in MEANINGFUL and told is not None):
            yield key, told


def _value(spec: Any, path: Sequence[str]) -> Any:
    for key in path:
        spec = (spec or {}).get(key)
    return spec


def _holds(spec: Spec, path: Sequence[str]) -> bool:
    return bool(_value(spec, path))


def _without(spec: Spec, path: Sequence[str]) -> Spec:
    key, *rest = path
    if key not in spec:
        return spec
    if not rest:
        return {name: value for name, value in spec.items() if name != key}
    return {**spec, key: _without(spec[key] or {}, rest)}
