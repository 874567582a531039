# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Every inventory that the repository shows, or that a scenario deploys, is a description that holds."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
INVENTORIES = sorted(
    path.parent for folder in ("inventories", "molecule") for path in ROOT.glob(f"{folder}/**/hosts.yml")
)


def test_there_are_inventories() -> None:
    assert INVENTORIES


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_inventory_can_be_planned(inventory: pathlib.Path) -> None:
    playbook = pathlib.Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run(
        [playbook, "playbooks/plan.yml", "--inventory", inventory],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "TIMEOUTS" in run.stdout
