# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""podman, with settings with which it starts containers in a container."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def settings(folder: Path) -> dict[str, str]:
    """The environment of a process that calls podman; its settings are written into the folder."""
    file = folder / "containers.conf"
    file.write_text(
        '[containers]\ndefault_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]\n[engine]\nruntime = "runc"\n',
        encoding="utf-8",
    )
    return {**os.environ, "CONTAINERS_CONF": str(file)}


def podman(environment: dict[str, str], *arguments: str) -> str:
    said = subprocess.run(["podman", *arguments], env=environment, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout.strip()
