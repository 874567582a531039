# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""uv on a host: where it comes from, which index it is told of, and what it said when it failed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.airstack.backbone.plugins.module_utils._core import index, installer
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason

ARGUMENTS: dict[str, dict[str, Any]] = {
    "uv": {"type": "path"},
    "uv_wheel": {
        "type": "dict",
        "options": {"file": {"type": "str", "required": True}, "sha256": {"type": "str", "required": True}},
    },
    "index_url": {"type": "str", "no_log": True},
    "default_index_url": {"type": "str", "default": ""},
}
"""The options of a module that has uv work, one of `uv` and `uv_wheel` being required."""

_DOWNLOAD_SECONDS = 60
_SAID_LINES = 25


class Uv:
    """uv, with the package index that a module's options name."""

    def __init__(self, module: AnsibleModule) -> None:
        self.parameters: dict[str, Any] = module.params
        self.index = index.index(self.parameters["index_url"], os.environ)
        self.environment = {"UV_SYSTEM_CERTS": os.environ.get("UV_SYSTEM_CERTS", "true"), "UV_NO_PROGRESS": "1"}
        if self.index.certificates:
            self.environment["SSL_CERT_FILE"] = self.index.certificates
        self._module = module

    def program(self, root: Path, cache: Path | None) -> Path:
        """The program, put under the root where the host has none."""
        if self.parameters["uv"]:
            return Path(self.parameters["uv"])
        wheel = self.parameters["uv_wheel"]
        target = root / ".uv" / "-".join(wheel["file"].split("-")[:2])
        if not target.exists():
            installer.install_uv(
                target,
                wheel=wheel["file"],
                sha256=wheel["sha256"],
                index_url=self.index.url or self.parameters["default_index_url"],
                cache=cache,
                fetch=self._fetch,
            )
        return target

    def configuration(self, scratch: Path) -> list[str]:
        """uv's options: an index that may hold a password goes through a file, neither command line nor environment."""
        options: list[str] = []
        if self.index.url:
            file = scratch / "uv.toml"
            file.touch(0o600)
            url = self.index.url.replace("\\", "\\\\").replace('"', '\\"')
            file.write_text(f'[[index]]\nurl = "{url}"\ndefault = true\n', encoding="utf-8")
            options += ["--config-file", str(file)]
        return options

    def run(self, purpose: str, command: Sequence[str], arguments: Sequence[str], **environment: str) -> str:
        """What a command printed.

        :raises CoreError: it failed; with the end of what it said
        """
        return run(self._module, purpose, [*command, *arguments], {**self.environment, **environment})

    def _fetch(self, url: str) -> bytes:
        address, user, password = index.without_credentials(url)
        try:
            with open_url(
                address,
                url_username=user,
                url_password=password,
                force_basic_auth=user is not None,
                ca_path=self.index.certificates,
                timeout=_DOWNLOAD_SECONDS,
                headers={"Accept": "text/html, */*"},
            ) as response:
                return bytes(response.read())
        except Exception as error:  # of many kinds, none of which is a mistake of ours
            raise CoreError(
                f"{address} cannot be fetched: {error}. Give the host a package index that it can reach "
                "(airflow_core_index_url), a proxy (airflow_core_environment), or a uv (airflow_core_uv)."
            ) from error


def run(
    module: AnsibleModule, purpose: str, command: Sequence[str], environment: dict[str, str], stdin: str | None = None
) -> str:
    """What a command printed.

    :raises CoreError: it cannot be run, or failed; with the end of what it said
    """
    try:
        code, out, err = module.run_command(
            list(command), environ_update=environment, data=stdin, handle_exceptions=False
        )
    except OSError as error:
        raise CoreError(f"{command[0]} cannot be run: {reason(error)}.") from error
    if code != 0:
        raise CoreError(f"{command[0]} could not {purpose}:\n{_end_of(err or out)}")
    return str(out)


def _end_of(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_SAID_LINES:])
