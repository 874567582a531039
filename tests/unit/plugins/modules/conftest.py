# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import syslog
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args


class Runner:
    """Runs a module's `main` in this process as Ansible would.

    `printed` is all that the last run gave back, `logged` all that went to the system's log.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str], logged: list[str], warnings: list[str]) -> None:
        self.capsys = capsys
        self.logged = logged
        self.warnings = warnings
        self.printed = ""

    def __call__(
        self, main: Callable[[], None], *, check: bool = False, verbose: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        self.warnings.clear()
        options = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_inject_invocation": verbose}
        with patch_module_args({**arguments, **options}), pytest.raises(SystemExit):
            main()
        self.printed = self.capsys.readouterr().out
        result: dict[str, Any] = json.loads(self.printed)
        return {**result, "warnings": list(self.warnings)} if self.warnings else result


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    logged: list[str] = []
    warnings: list[str] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(syslog, "syslog", lambda _priority, message: logged.append(message))
    # Ansible keeps warnings for the whole process, or shows them at once where its controller was imported.
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, warning: warnings.append(warning))
    return Runner(capsys, logged, warnings)
