# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The collection's modules, as Ansible runs them on this host."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent


def module(environment: Mapping[str, str], name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a module says."""
    ansible = [TOOLS / "ansible", "localhost", "--module-name", f"airstack.backbone.{name}"]
    said = run(environment, [*ansible, "--args", json.dumps(arguments), "--one-line"])
    result: dict[str, Any] = json.loads(said.split("=>", 1)[1])
    return result


def run(environment: Mapping[str, str], command: Sequence[Any]) -> str:
    """What a program says that does not fail."""
    told = {**environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=ROOT, env=told, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
