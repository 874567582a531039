# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the components of one host as systemd units, with all the files that they need.

Pure: the result is text, in the form that the module ``airstack.backbone.file_set`` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import resources

from . import configuration, hardening
from .configuration import HEADER, ROUTING, Component, Places

Entries = Sequence[tuple[str, str]]

CONFIGURATION = configuration.FOLDER
CREDENTIALS = f"{CONFIGURATION}/credentials"
STATE = "/var/lib/airflow"
LOGS = "/var/log/airflow"
RUNTIME = "/run/airflow"
UNITS = "/etc/systemd/system"
CLEANING = "/etc/tmpfiles.d/airflow-components.conf"
USER = "airflow"

TARGET = "airflow.target"
"""Starts the host's components at boot, and stops them together."""

RELOAD = "daemon-reload"
"""The label of files that systemd itself reads."""

RETRY = 10
"""Seconds until a component that ended, or whose DAG storage is not there, tries again."""

WAIT = (
    'for path; do [ -e "$$path" ] && continue; echo "<3>$$path is not there: is the DAG storage mounted?'
    f' Trying again in {RETRY} seconds."; exit 1; done'
)
"""Waits for the paths in its arguments, by failing: systemd tries again, and tries to mount again."""

QUEUES = "queues"
"""The file of a worker's queues. It is no part of the unit file, so that it can change without a restart."""

QUEUES_VARIABLE = "AIRFLOW_WORKER_QUEUES"
"""What that file sets, and the worker's command names."""


TYPES = {"setup": "oneshot", "worker": "notify"}
"""How systemd sees that a component has started, where its process alone does not tell: the core's own package lets a
worker say so when it consumes its queues."""


@dataclass(frozen=True)
class Place:
    """The host that components are rendered for.

    name: its name in the inventory. environment: the platform's. core: the directory of the core's release.
    storage: the path of the DAG storage. sentinel: the file in it that tells it from an empty mount point.
    """

    name: str
    environment: str
    core: str
    storage: str
    sentinel: str


def unit_name(component: Component) -> str:
    """The name of a component's unit."""
    return f"airflow-{component['name']}.service"


def _places(component: Component) -> Places:
    name = component["name"]
    return Places(
        files=f"{CONFIGURATION}/{name}",
        credentials=f"/run/credentials/{unit_name(component)}",
        copies=f"{RUNTIME}/{name}",
        state=f"{STATE}/{name}",
        logs=f"{LOGS}/{component['logs']}",
    )


def file_set(
    components: Sequence[Component],
    place: Place,
    routing: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, str]],
    log_days: int,
) -> dict[str, Any]:
    """Everything that the components of one host need: directories, files, secrets and prune, as file_set takes them.

    routing: the plan's. secrets: content of the credentials by component and name. log_days: after how many days
    a local log file is removed. Files are labelled with the unit that reads them, or with RELOAD.
    """
    own = _own(components, place, secrets)
    if components:
        own["files"] += [
            _file(f"{UNITS}/{TARGET}", target(components, place), [RELOAD]),
            routing_file(routing),
            _file(CLEANING, f"{HEADER}\ne {LOGS}/*/ - - - {log_days}d\n", []),
        ]
    return {
        **own,
        "prune": [
            {"path": CREDENTIALS, "recurse": True, "restarts": []},
            {"path": CONFIGURATION, "patterns": ["airflow.cfg", "aws_config", QUEUES], "recurse": True, "restarts": []},
            {"path": UNITS, "patterns": UNIT_PATTERNS, "restarts": [RELOAD]},
            {"path": "/etc/tmpfiles.d", "patterns": [CLEANING.rsplit("/", 1)[1]], "restarts": []},
        ],
    }


def setup_files(
    components: Sequence[Component], place: Place, secrets: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """What is needed of that to set up the database, which comes before all else: directories, files and secrets."""
    return _own([component for component in components if component["once"]], place, secrets)


def _own(components: Sequence[Component], place: Place, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What belongs to one component each."""
    named = [component["name"] for component in components]
    folders = [CONFIGURATION, *(f"{CONFIGURATION}/{name}" for name in named)] if named else []
    private = [CREDENTIALS, *(f"{CREDENTIALS}/{name}" for name in named)] if named else []
    return {
        "directories": [
            *({"path": path, "owner": "root", "group": "root", "mode": "0755"} for path in folders),
            *({"path": path, "owner": "root", "group": "root", "mode": "0700"} for path in private),
        ],
        "files": [file for component in components for file in _files(component, place)],
        "secrets": {f"{name}/{key}": value for name in named for key, value in secrets[name].items()},
    }


def queue_files(components: Iterable[Component], routing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The files of one host that say which queues there are and who consumes them."""
    return [*(file for component in components for file in _queues(component)), routing_file(routing)]


def routing_file(routing: Mapping[str, Any]) -> dict[str, Any]:
    """What the queue policy inside Airflow reads, whenever it changes."""
    return _file(ROUTING, configuration.routing(routing), [])


def _queues(component: Component) -> list[dict[str, Any]]:
    if not component["queues"]:
        return []
    text = f"{HEADER}\n{QUEUES_VARIABLE}={','.join(component['queues'])}\n"
    restarts = [] if component["is_told_queues"] else [unit_name(component)]
    return [_file(_queues_path(component), text, restarts)]


def _queues_path(component: Component) -> str:
    return f"{CONFIGURATION}/{component['name']}/{QUEUES}"


UNIT_PATTERNS = [
    *(f"airflow-{kind}.service" for kind in ("api-server", "scheduler", "dag-processor", "triggerer", "setup")),
    "airflow-triggerer-*.service",
    "airflow-worker-*.service",
    TARGET,
]
"""The unit files that are this renderer's. Other roles may have units whose names begin with airflow-, too."""


def _files(component: Component, place: Place) -> list[dict[str, Any]]:
    name, unit = component["name"], unit_name(component)
    places = _places(component)
    return [
        _file(f"{UNITS}/{unit}", service(component, place), [RELOAD, unit]),
        *(
            _file(f"{places.files}/{file}", text, [unit], group=USER, mode="0640")
            for file, text in configuration.files(component, places).items()
        ),
        *_queues(component),
        *(
            {
                "path": f"{CREDENTIALS}/{name}/{credential}",
                "secret": f"{name}/{credential}",
                "owner": "root",
                "group": "root",
                "mode": "0600",
                "restarts": [unit],
            }
            for credential in component["credentials"]
        ),
    ]


def _file(path: str, content: str, restarts: list[str], group: str = "root", mode: str = "0644") -> dict[str, Any]:
    return {"path": path, "content": content, "owner": "root", "group": group, "mode": mode, "restarts": restarts}


def unit(component: Component, api_urls: Sequence[str]) -> dict[str, Any]:
    """How a component's unit is watched: {component, name, files, timeout, health}.

    files: what it reads at its start, besides its own unit file. timeout: seconds that it may take to start.
    health: as systemd_units takes it. api_urls: the API servers, the nearest first.
    """
    return {
        "component": component["name"],
        "name": unit_name(component),
        "files": _read(component),
        "timeout": component["start_timeout"],
        "health": _health(component, api_urls),
    }


def _health(component: Component, api_urls: Sequence[str]) -> dict[str, Any]:
    health = component["health"]
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "http": lambda: {"type": "http", "url": f"http://127.0.0.1:{health['port']}{health['path']}"},
        "heartbeat": lambda: {
            "type": "heartbeat",
            "component": health["component"],
            "urls": list(api_urls),
            "hosts": health["processes"],
        },
        "port": lambda: {"type": "port", "port": health["port"]},
        "end": lambda: {"type": "none"},
    }
    return made[health["type"]]()


def _read(component: Component) -> list[str]:
    name = component["name"]
    return [
        *(f"{CONFIGURATION}/{name}/{file}" for file in ("airflow.cfg", *component["files"])),
        *(f"{CREDENTIALS}/{name}/{credential}" for credential in component["credentials"]),
        *(file["path"] for file in _queues(component) if file["restarts"]),
    ]


def target(components: Iterable[Component], place: Place) -> str:
    """The target that holds a host's components together."""
    units = [unit_name(component) for component in components if not component["once"]]
    return _text(
        {
            "Unit": [
                ("Description", f"Airflow ({place.environment})"),
                *(("Wants", unit) for unit in units),
            ],
            "Install": [("WantedBy", "multi-user.target")],
        }
    )


def service(component: Component, place: Place) -> str:
    """A component's unit file."""
    program = f"{place.core}/bin/{component['program']}"
    arguments = [
        configuration.argument(word, component, _places(component), place.name) for word in component["command"]
    ]
    stays = [("Restart", "always"), ("RestartSec", str(RETRY)), ("KillMode", "mixed"), ("OOMPolicy", "continue")]
    return _text(
        {
            "Unit": [
                ("Description", f"Airflow {component['name']} ({place.environment})"),
                ("Wants", "network-online.target"),
                ("After", "network-online.target"),
                *_mounts(component, place),
                *([] if component["once"] else [("PartOf", TARGET), ("StartLimitIntervalSec", "0")]),
            ],
            "Service": [
                ("Type", TYPES.get(component["kind"], "exec")),
                *_identity(component["name"], component["logs"]),
                *_environment(component),
                *_credentials(component),
                *_copies(component),
                *_dag_storage(component, place),
                ("ExecStart", " ".join(_command_word(word) for word in (program, *arguments))),
                ("TimeoutStartSec", str(component["start_timeout"])),
                ("TimeoutStopSec", str(component["stop_timeout"])),
                *([] if component["once"] else stays),
                *_limits(component),
                *hardening.of(component["kind"]).items(),
            ],
        }
    )


def _limits(component: Component) -> Entries:
    """What its processes may take together. Nothing is promised here: a host's components are all there are on it."""
    limits = component["resources"].get("limits", {})
    quota = [("CPUQuota", f"{(resources.cpus(limits['cpu']) * 100).normalize():f}%")] if "cpu" in limits else []
    return [*quota, *([("MemoryMax", str(resources.octets(limits["memory"])))] if "memory" in limits else [])]


def mount_units(path: str) -> list[str]:
    """The names of the units that would mount a path or one of its parents (systemd-escape --path)."""
    parts = path.strip("/").split("/")
    escaped = ["".join(_escape(sign) for sign in part) for part in parts]
    if escaped[0].startswith("."):
        escaped[0] = f"\\x2e{escaped[0][1:]}"
    return ["-".join(escaped[:depth]) + ".mount" for depth in range(1, len(parts) + 1)]


def _escape(sign: str) -> str:
    return sign if sign.isalnum() or sign in ":_." else f"\\x{ord(sign):02x}"


def _mounts(component: Component, place: Place) -> Entries:
    """Has the DAG storage mounted first.

    Wanted, not required (RequiresMountsFor=): a unit whose required mount fails is not tried again, and one whose
    required mount is taken away is stopped, its running tasks with it.
    """
    units = mount_units(place.storage) if component["sources"] else []
    return [(key, unit) for unit in units for key in ("Wants", "After")]


def _identity(name: str, logs: str) -> Entries:
    return [
        ("User", USER),
        ("Group", USER),
        ("SyslogIdentifier", f"airflow-{name}"),
        ("StateDirectory", f"airflow/{name}"),
        ("StateDirectoryMode", "0750"),
        ("LogsDirectory", f"airflow/{logs}"),
        ("LogsDirectoryMode", "0750"),
        ("WorkingDirectory", f"{STATE}/{name}"),
    ]


def _environment(component: Component) -> Entries:
    places = _places(component)
    variables = {
        **configuration.environment(component, places),
        "AIRFLOW_HOME": places.state,
        "HOME": places.state,
    }
    files = [("EnvironmentFile", _queues_path(component))] if component["queues"] else []
    return [*(("Environment", _word(f"{variable}={value}")) for variable, value in sorted(variables.items())), *files]


def _credentials(component: Component) -> Entries:
    folder = f"{CREDENTIALS}/{component['name']}"
    return [("LoadCredential", f"{credential}:{folder}/{credential}") for credential in component["credentials"]]


def _copies(component: Component) -> Entries:
    """Copies that the component may open for writing, in memory and for as long as its unit runs."""
    places = _places(component)
    copied = [
        f"{places.credential(credential)} {places.copy(credential)}"
        for credential in component["copied_credentials"].values()
    ]
    if not copied:
        return []
    return [
        ("RuntimeDirectory", f"airflow/{component['name']}"),
        ("RuntimeDirectoryMode", "0700"),
        *(("ExecStartPre", f"/usr/bin/install --mode=0600 {paths}") for paths in copied),
    ]


def _dag_storage(component: Component, place: Place) -> Entries:
    """The component's own sources read-only, and nothing else of the DAG storage."""
    if not component["sources"]:
        return [("InaccessiblePaths", f"-{place.storage}")]
    needed = [f"{place.storage}/{part}" for part in (place.sentinel, *component["sources"])]
    return [
        ("TemporaryFileSystem", f"{place.storage}:ro"),
        # What is not there is left out (-), so that the first command can say so; systemd itself would only fail.
        *(("BindReadOnlyPaths", f"-{path}") for path in needed),
        ("ExecStartPre", " ".join(["/bin/sh", "-c", f"'{WAIT}'", "wait", *needed])),
    ]


def _command_word(text: str) -> str:
    """A word of a command, taken literally but for the queues."""
    parts = [_word(part.replace("$", "$$")) if part else "" for part in text.split("{queues}")]
    return f"${{{QUEUES_VARIABLE}}}".join(parts) or _word("")


def _word(text: str) -> str:
    """A word of a unit file, taken literally but for the dollar sign: quoted where it must be."""
    literal = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{literal}"' if not text or any(sign in text for sign in " \t'\"\\;") else literal


def _text(sections: Mapping[str, Entries]) -> str:
    lines = [HEADER]
    for section, entries in sections.items():
        lines += ["", f"[{section}]", *(f"{key}={value}" for key, value in entries)]
    return "\n".join(lines) + "\n"
