# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reaches a host, trying again for a while; one that cannot be reached ends in one message and not in three."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

PAUSE = 1
"""Seconds between two attempts."""


class ActionModule(ActionBase):
    """Runs a command that does nothing: cheaper than a module, and all that is needed to know that a host answers."""

    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See plugins/modules/reach.py for the arguments and what is returned."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec={"timeout": {"type": "int", "default": 60}})
        began = time.monotonic()
        while (obstacle := self._obstacle()) and time.monotonic() - began < arguments["timeout"]:
            # The socket of an earlier connection may lead to a host that was made anew since.
            with suppress(AttributeError):
                self._connection.reset()
            time.sleep(PAUSE)
        if obstacle:
            raise AnsibleActionFail(self._refusal(obstacle, arguments["timeout"], task_vars or {}))
        return {**result, "changed": False, "elapsed": round(time.monotonic() - began)}

    def _obstacle(self) -> str:
        """What keeps the host from being reached; empty where nothing does."""
        try:
            answer = self._low_level_execute_command("exit 0")
        except AnsibleConnectionFailure as failure:
            return str(failure.message)
        return str(answer["stderr"] or answer["stdout"] or "its shell fails") if answer["rc"] else ""

    def _refusal(self, obstacle: str, timeout: int, variables: dict[str, Any]) -> str:
        where = self._play_context.remote_addr
        who = self._play_context.remote_user or "the user who runs this"
        return (
            f"{variables.get('inventory_hostname')} cannot be reached at {where} as {who}, nor could it for {timeout} seconds:"
            f" {obstacle.strip()}. Look whether it is up, at ansible_host and ansible_user in the inventory, and at the SSH key."
        )
