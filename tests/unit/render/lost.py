# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What of the component model is not, or is otherwise, where a component runs: one set of questions for all platforms."""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import resources
from ansible_collections.airstack.backbone.plugins.module_utils._render import image
from ansible_collections.airstack.backbone.tests.unit.render.renderings import Rendered, Running, Seen

ROUTING = "AIRFLOW_BACKBONE_ROUTING"

ORDER = (("setup",), ("api-server",), ("scheduler", "dag-processor", "triggerer"), ("worker",))
"""The kinds of component in the order in which they start and restart."""

USERS = {"systemd": "airflow", "swarm": "50000:0", "kubernetes": "50000"}

START_SLACK = 180
"""Seconds that a platform may give a component more than the model does, for its own part of a start."""

PLACES = {
    "dag_processor.dag_bundle_storage_path",
    "logging.base_log_folder",
    "logging.dag_processor_child_process_log_directory",
    "logging.file_task_handler_new_file_permissions",
    "logging.file_task_handler_new_folder_permissions",
}
"""The settings that every platform adds, of where files are and who reads them."""

VARIABLES = {
    "systemd": {"AIRFLOW_WORKER_QUEUES"},
    "swarm": {"AIRFLOW_BACKBONE_READY"},
    "kubernetes": {"AIRFLOW_BACKBONE_READY", ROUTING, "AIRFLOW_WORKER_QUEUES", "AIRFLOW_MACHINE"},
}
"""The variables that a platform adds."""

EVERYWHERE = {"AIRFLOW_CONFIG", "AIRFLOW_HOME", "HOME", "PYTHONUNBUFFERED", *image.ENVIRONMENT}
"""Those that are the same on all of them, with the image's."""


LISTENERS = {
    "api-server": ("triggerer", "worker"),
    "dag-processor": ("api-server",),
    "triggerer": ("api-server",),
    "worker": ("api-server",),
}
"""Which kinds of component each one calls: workers report what tasks do, and the UI has the logs of those who keep some."""

TALKERS = set(LISTENERS)

SERVICES = {"database": {"sql_alchemy_conn", "result_backend"}, "broker": {"broker_url"}}
"""With which credentials a component calls a service."""

LOG_STORE = "AIRFLOW_CONN_AIRFLOW_LOGS"


def lost(platform: str, given: Rendered, seen: Seen) -> list[str]:
    """Everything that is lost, each with its component before it."""
    names = [component["name"] for component in given.model]
    return [
        *(f"{name}: not rendered" for name in names if name not in seen),
        *(f"{name}: not in the model" for name in seen if name not in names),
        *(
            f"{component['name']}: {problem}"
            for component in given.model
            if component["name"] in seen
            for problem in _of_component(platform, component, given, seen[component["name"]])
        ),
        *_order(given, seen),
    ]


def _of_component(
    platform: str, component: Mapping[str, Any], given: Rendered, running: list[Running]
) -> Iterator[str]:
    yield from _placed(component, running)
    for each in running:
        yield from _commands(component, given, each)
        yield from _settings(component, given, each)
        yield from _variables(platform, component, given, each)
        yield from _secrets(component, given, each)
        yield from _sources(component, given, each)
        yield from _times(component, each)
        yield from _resources(component, each)
        yield from _ways(component, given, each)
        yield from _process(platform, component, each)


def _is(what: str, found: Any, wanted: Any) -> Iterator[str]:
    if found != wanted:
        yield f"{what} is {found!r} and not {wanted!r}"


def _placed(component: Mapping[str, Any], running: list[Running]) -> Iterator[str]:
    machines = [machine for each in running for machine in each.commands]
    yield from _is("replicas", len(machines), component["replicas"])
    yield from _is("hosts", sorted({host for each in running for host in each.hosts}), sorted(component["hosts"]))
    if component["kind"] == "worker":
        yield from _is("machines", machines, component["machines"])


def _commands(component: Mapping[str, Any], given: Rendered, running: Running) -> Iterator[str]:
    paths = _paths(component, given, running)
    for machine, command in running.commands.items():
        words = [word.replace("{host}", machine) for word in component["command"]]
        words = [word.replace("{queues}", ",".join(component["queues"])) for word in words]
        for name, path in paths.items():
            words = [word.replace(f"{{credential:{name}}}", path) for word in words]
        yield from _is("command", command, [component["program"], *words])


def _settings(component: Mapping[str, Any], given: Rendered, running: Running) -> Iterator[str]:
    found = _configuration(running)
    paths = _paths(component, given, running)
    wanted = {
        f"{section}.{key}": value for section, keys in component["settings"].items() for key, value in keys.items()
    }
    for name, credential in component["secret_settings"].items():
        wanted[f"{name}_cmd"] = f"cat {paths.get(credential)}"
    for name, value in wanted.items():
        yield from _is(f"setting {name}", found.get(name), value)
    for name, credential in component["copied_credentials"].items():
        copy = found.get(name, "")
        yield from _is(f"copy of secret {credential}", running.copies.get(copy), paths.get(credential))
        yield from _written(f"setting {name}", copy, running)
    for name in PLACES:
        if name.endswith(("folder", "path", "directory")):
            yield from _written(f"setting {name}", found.get(name, ""), running)
    more = set(found) - {*wanted, *component["copied_credentials"]}
    yield from _is("settings of the platform's", sorted(more), sorted(PLACES))


def _configuration(running: Running) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read_string(running.files.get(running.environment.get("AIRFLOW_CONFIG", ""), ""))
    return {f"{section}.{key}": parser[section][key] for section in parser.sections() for key in parser[section]}


def _paths(component: Mapping[str, Any], given: Rendered, running: Running) -> dict[str, str]:
    """The path of each secret that has the right content."""
    values = given.values[component["name"]]
    return {
        name: path
        for name in component["credentials"]
        for path, content in running.secrets.items()
        if path.endswith(f"/{name}") and content == values[name]
    }


def _written(what: str, path: str, running: Running) -> Iterator[str]:
    if not any(f"{path}/".startswith(f"{folder}/") for folder in running.writable):
        yield f"{what} is {path!r}, where it may not write"


def _variables(platform: str, component: Mapping[str, Any], given: Rendered, running: Running) -> Iterator[str]:
    found, paths = running.environment, _paths(component, given, running)
    for name, value in component["environment"].items():
        yield from _is(f"variable {name}", found.get(name), value)
    for name, source in component["environment_files"].items():
        path = found.get(name, "")
        if "credential" in source:
            yield from _is(f"variable {name}", path, paths.get(source["credential"]))
        else:
            yield from _is(f"file of {name}", running.files.get(path), component["files"][source["file"]])
    for name, credential in component["secret_commands"].items():
        yield from _is(f"variable {name}", found.get(name), f"cat {paths.get(credential)}")
    for name, text in component["files"].items():
        if text not in running.files.values():
            yield f"file {name} is not there"
    wanted = {*component["environment"], *component["environment_files"], *component["secret_commands"]}
    yield from _is("more variables", sorted(set(found) - wanted - EVERYWHERE - VARIABLES[platform]), [])
    for name in ("AIRFLOW_HOME", "HOME"):
        yield from _written(f"variable {name}", found.get(name, ""), running)


def _secrets(component: Mapping[str, Any], given: Rendered, running: Running) -> Iterator[str]:
    paths = _paths(component, given, running)
    for name in component["credentials"]:
        if name not in paths:
            yield f"secret {name} is not there"
    yield from _is("secrets besides its own", sorted(set(running.secrets) - set(paths.values())), [])
    values = set(given.values[component["name"]].values())
    read = {
        "environment": running.environment.values(),
        "files": running.files.values(),
        "command": [word for words in running.commands.values() for word in words],
    }
    for place, texts in read.items():
        if any(value in text for value in values for text in texts):
            yield f"a secret stands in its {place}"


def _sources(component: Mapping[str, Any], given: Rendered, running: Running) -> Iterator[str]:
    storage = given.plan["dag_storage"]
    parts = [storage["sentinel"], *component["sources"]] if component["sources"] else []
    yield from _is(
        "mounts (read-only)",
        dict(sorted(running.sources.items())),
        dict(sorted((f"{storage['path']}/{part}", True) for part in parts)),
    )
    if component["sources"]:
        path = running.environment.get(ROUTING, "/etc/airflow/routing.json")
        told = json.loads(running.files.get(path, "{}"))
        routing = given.plan["routing"]
        rest = {key: value for key, value in routing.items() if key != "sources"}
        yield from _is("routing", {key: told.get(key) for key in rest}, rest)
        for source in component["sources"]:
            yield from _is(f"routing of {source}", told.get("sources", {}).get(source), routing["sources"][source])


def _times(component: Mapping[str, Any], running: Running) -> Iterator[str]:
    yield from _is("stop timeout", running.stop, component["stop_timeout"])
    least = component["start_timeout"]
    if running.start is None or not least <= running.start <= least + START_SLACK:
        yield f"start timeout is {running.start} and not {least}"


def _resources(component: Mapping[str, Any], running: Running) -> Iterator[str]:
    """What is said; a platform may promise something of its own where nothing is."""
    numbers = {"cpu": resources.cpus, "memory": lambda text: Decimal(resources.octets(text))}
    said = {
        part: {kind: numbers[kind](text) for kind, text in component["resources"].get(part, {}).items()}
        for part in ("requests", "limits")
    }
    yield from _is("limits", running.limits, said["limits"])
    if running.requests is not None:
        yield from _is("requests", {kind: running.requests.get(kind) for kind in said["requests"]}, said["requests"])


def _ways(component: Mapping[str, Any], given: Rendered, running: Running) -> Iterator[str]:
    """To whom a component has to have a way, and from whom it is kept: who talks to nobody, and who listens to nobody."""
    if running.reaches is None:
        return
    kind = component["kind"]
    talks = {each["name"] for each in given.model if each["kind"] in LISTENERS.get(kind, ())}
    services = {name for name, credentials in SERVICES.items() if credentials.intersection(component["credentials"])}
    if LOG_STORE in component["environment"]:
        services.add("log_store")
    for name in sorted((talks | services) - running.reaches):
        yield f"does not reach {name}"
    others = {each["name"] for each in given.model if not (kind in TALKERS and each["kind"] in TALKERS)}
    for name in sorted(running.reaches & others):
        yield f"reaches {name}"
    yield from _is("port for people", running.entrance, component["port"] if kind == "api-server" else None)


def _process(platform: str, component: Mapping[str, Any], running: Running) -> Iterator[str]:
    health = {key: value for key, value in component["health"].items() if key != "processes"}
    yield from _is("health", running.health, health)
    yield from _is("user", running.user, USERS[platform])
    yield from _is("rights that it is kept from", running.rights, {"more rights", "capabilities", "writing elsewhere"})
    if component["kind"] == "worker":
        yield from _is("telling that it consumes", running.tells_ready, True)
    if not component["once"]:
        yield from _is("a signal for the main process alone", running.is_signalled_alone, True)


def _order(given: Rendered, seen: Seen) -> Iterator[str]:
    kinds = {component["name"]: component["kind"] for component in given.model}
    waves = {
        kind: [each.wave for name, running in seen.items() if kinds.get(name) == kind for each in running]
        for kind in dict.fromkeys(kinds.values())
    }
    for earlier, later in zip(ORDER, ORDER[1:]):
        for first in earlier:
            for second in later:
                if waves.get(first) and waves.get(second) and max(waves[first]) >= min(waves[second]):
                    yield f"{second}: starts no later than {first}"
