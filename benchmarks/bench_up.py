# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long `make up` takes from nothing, and again: per stage, with the number of tasks and of changes.

Works in a clone of the last commit, as a newcomer would, with empty caches of packages. Removes the lab of
inventories/local first and in the end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from performance_page import ROOT, table, write

MAKE = shutil.which("make") or "/usr/bin/make"
GIT = shutil.which("git") or "/usr/bin/git"


def make(target: str, folder: Path) -> dict[str, Any]:
    """Run a target of the Makefile in folder/backbone.

    Returns what its playbook's stages reported, with the seconds of the whole command as `command`.
    """
    report = folder / "stages.json"
    environment = {
        **os.environ,
        "AIRSTACK_STAGES_REPORT": str(report),
        "PIP_NO_CACHE_DIR": "1",
        "UV_CACHE_DIR": str(folder / "uv"),
    }
    begin = time.monotonic()
    subprocess.run([MAKE, target], cwd=folder / "backbone", env=environment, check=True)
    return {**json.loads(report.read_text(encoding="utf-8")), "command": time.monotonic() - begin}


if __name__ == "__main__":
    subprocess.run([MAKE, "down"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([GIT, "clone", "--quiet", ROOT, Path(name, "backbone")], check=True)
        try:
            cold = make("up", Path(name))
            second = make("up", Path(name))
        finally:
            make("down", Path(name))
    rows: list[tuple[object, ...]] = [
        (
            first["name"],
            first["seconds"],
            first["tasks"],
            first["changed"],
            again["seconds"],
            again["tasks"],
            again["changed"],
        )
        for first, again in zip(cold["stages"], second["stages"], strict=True)
    ]
    rows.append(
        (
            "whole command",
            f"{cold['command']:.1f}",
            cold["tasks"],
            cold["changed"],
            f"{second['command']:.1f}",
            second["tasks"],
            second["changed"],
        )
    )
    header = ("stage", "cold: seconds", "tasks", "changed", "second run: seconds", "tasks", "changed")
    write("up", "python benchmarks/bench_up.py", table(header, rows))
