# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long `make up` takes from nothing, and again: per stage, with the number of tasks and of changes.

Removes the lab of inventories/local first, its packages' cache and image included, and leaves it up.
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


def make(target: str, report: Path) -> dict[str, Any]:
    """Run a target of the Makefile; what its playbook's stages reported, with the seconds of the whole command."""
    environment = {**os.environ, "AIRSTACK_STAGES_REPORT": str(report)}
    begin = time.monotonic()
    subprocess.run([MAKE, target], cwd=ROOT, env=environment, check=True)
    return {**json.loads(report.read_text(encoding="utf-8")), "command": time.monotonic() - begin}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "stages.json")
        make("down", report)
        cold = make("up", report)
        second = make("up", report)
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
