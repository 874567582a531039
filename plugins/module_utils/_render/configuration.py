# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a component reads, wherever it runs: airflow.cfg, variables, and the words of its command, by where its files are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Component = Mapping[str, Any]

FOLDER = "/etc/airflow"
ROUTING = f"{FOLDER}/routing.json"
"""Where the queue policy inside Airflow looks."""

FILE = "airflow.cfg"

HEADER = "# Managed by Ansible (airstack.backbone). What is changed here is lost in the next run."


@dataclass(frozen=True)
class Places:
    """The folders of one component.

    files: airflow.cfg and the component's further configuration files. credentials: one file for each. copies: of the
    credentials that it opens for writing. state, logs: what it writes.
    """

    files: str
    credentials: str
    copies: str
    state: str
    logs: str

    def credential(self, name: str) -> str:
        """The path of a credential."""
        return f"{self.credentials}/{name}"

    def copy(self, credential: str) -> str:
        """The path of a credential's copy."""
        return f"{self.copies}/{credential}"


def files(component: Component, places: Places) -> dict[str, str]:
    """The configuration files of a component, by name. No secret is in them."""
    return {FILE: text(component, places), **component["files"]}


def text(component: Component, places: Places) -> str:
    """airflow.cfg of a component: no secret is in it, only commands that print one."""
    sections: dict[str, dict[str, str]] = {}
    for layer in (component["settings"], _settings(component, places)):
        for section, keys in layer.items():
            sections.setdefault(section, {}).update(keys)
    for setting, credential in component["secret_settings"].items():
        section, key = setting.split(".")
        sections.setdefault(section, {})[f"{key}_cmd"] = f"cat {places.credential(credential)}"
    lines = [HEADER]
    for section, keys in sorted(sections.items()):
        lines += ["", f"[{section}]", *(f"{key} = {value.replace('%', '%%')}" for key, value in sorted(keys.items()))]
    return "\n".join(lines) + "\n"


def _settings(component: Component, places: Places) -> dict[str, dict[str, str]]:
    """The settings that say where a component keeps its files; _model.settings.PLACES keeps users from giving them."""
    copied: dict[str, dict[str, str]] = {}
    for setting, credential in component["copied_credentials"].items():
        section, key = setting.split(".")
        copied.setdefault(section, {})[key] = places.copy(credential)
    return {
        **copied,
        "dag_processor": {"dag_bundle_storage_path": f"{places.state}/bundles"},
        "logging": {
            "base_log_folder": places.logs,
            "dag_processor_child_process_log_directory": f"{places.logs}/sources",
            "file_task_handler_new_file_permissions": "0o640",
            "file_task_handler_new_folder_permissions": "0o750",
        },
    }


def environment(component: Component, places: Places) -> dict[str, str]:
    """The variables of a component. No secret is in them, only paths, and commands that print one."""
    variables = {
        "AIRFLOW_CONFIG": f"{places.files}/{FILE}",
        "PYTHONUNBUFFERED": "1",
        **component["environment"],
    }
    for variable, source in component["environment_files"].items():
        if "credential" in source:
            variables[variable] = places.credential(source["credential"])
        else:
            variables[variable] = f"{places.files}/{source['file']}"
    for variable, credential in component["secret_commands"].items():
        variables[variable] = f"cat {places.credential(credential)}"
    return variables


def argument(word: str, component: Component, places: Places, host: str) -> str:
    """A word of a component's command, for the host of that name; the queues stay as the model has them."""
    word = word.replace("{host}", host)
    for credential in component["credentials"]:
        word = word.replace(f"{{credential:{credential}}}", places.credential(credential))
    return word


def routing(content: Mapping[str, Any]) -> str:
    """The routing file of the queue policy."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
