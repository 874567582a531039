# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gathers the platform's secrets: from variables, else from the environment's directory, else made once into it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.airstack.backbone.plugins.module_utils._model.secrets import GIVEN, MAKERS, flaw

PREFIX = "airflow_secret_"


class ActionModule(ActionBase):
    """Needs no connection: everything happens on the controller."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See plugins/modules/secrets.py for the arguments and what is returned."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["_ansible_no_log"] = True
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "needed": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "name": {"type": "str", "required": True},
                        "kind": {"type": "str", "required": True, "choices": [*MAKERS, *GIVEN]},
                        "purpose": {"type": "str", "required": True},
                    },
                },
                "directory": {"type": "path", "required": True},
                "generate": {"type": "bool", "default": True},
            }
        )
        directory = Path(arguments["directory"])
        values, places = self._found(directory, arguments["needed"], task_vars or {})
        flaws = [
            f"  - {places[name]}: {wrong}"
            for name, kind in ((secret["name"], secret["kind"]) for secret in arguments["needed"])
            if name in values and (wrong := flaw(kind, values[name]))
        ]
        if flaws:
            raise AnsibleActionFail("\n".join(["These secrets cannot be used; nothing was changed.", *flaws]))
        missing = [secret for secret in arguments["needed"] if secret["name"] not in values]
        refused = missing if not arguments["generate"] else [each for each in missing if each["kind"] in GIVEN]
        if refused:
            raise AnsibleActionFail(_refusal(refused, directory))
        made = {secret["name"]: MAKERS[secret["kind"]]() for secret in missing}
        if made and not self._task.check_mode:
            made = _keep(directory, made)
            self._display.display(
                f"{len(made)} secrets were made and kept in {directory}: {', '.join(sorted(made))}."
                " Back the directory up: without them, the platform that they are for cannot be run again."
            )
        return {**result, "changed": bool(made), "secrets": {**values, **made}, "generated": sorted(made)}

    def _found(
        self, directory: Path, needed: list[dict[str, str]], variables: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The values that there are, and where each of them stands, both by the secret's name."""
        values: dict[str, Any] = {}
        places: dict[str, str] = {}
        for name in (secret["name"] for secret in needed):
            if (given := variables.get(PREFIX + name)) is not None:
                value, places[name] = self._templar.template(given), f"the variable {PREFIX}{name}"
            elif (file := directory / name).is_file():
                value, places[name] = _text(file), f"the file {file}"
            else:
                continue
            values[name] = str(value).removesuffix("\n") if isinstance(value, str) else value
        return values, places


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise AnsibleActionFail(f"The secret in {file} cannot be read: {reason}.") from None


def _refusal(missing: list[dict[str, str]], directory: Path) -> str:
    lines = [f"  - {PREFIX}{secret['name']}: {secret['purpose']}" for secret in missing]
    advice = (
        f"Define each variable (from Ansible Vault or a secret store), or put its value into a file of {directory}."
    )
    return "\n".join(["These secrets are not given, and this environment does not make its own:", *lines, advice])


def _keep(directory: Path, made: dict[str, str]) -> dict[str, str]:
    """Write each secret once; where another run was faster, its value is the one that counts."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="utf-8")
        for name, value in made.items():
            fresh = directory / f".{name}.{os.getpid()}"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(value + "\n")
            try:
                os.link(fresh, directory / name)
            except FileExistsError:
                made = {**made, name: (directory / name).read_text(encoding="utf-8").strip()}
            finally:
                fresh.unlink()
    except OSError as error:
        raise AnsibleActionFail(
            f"The generated secrets cannot be kept in {directory}: {error.strerror}. Make the directory writable, or set"
            " airflow_secrets_directory to another one."
        ) from error
    return made
