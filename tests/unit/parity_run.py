# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""playbooks/parity.yml, as a person runs it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def parity(folder: pathlib.Path, *variables: str) -> subprocess.CompletedProcess[str]:
    playbook = pathlib.Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [playbook, "playbooks/parity.yml", *(word for variable in variables for word in ("-e", variable))],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "PWD": str(folder),
        },
        check=False,
        capture_output=True,
        text=True,
    )
