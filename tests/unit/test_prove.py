# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""scripts/prove names what it skips, which is not a failure, and goes on after what failed."""

from __future__ import annotations

import os
import pathlib
import subprocess

PROVE = pathlib.Path(__file__).parents[2] / "scripts" / "prove"


def prove(*stages: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return subprocess.run(
        [PROVE, *stages], env={**environment, **variables}, check=False, capture_output=True, text=True
    )


def test_a_scenario_without_its_cluster_is_skipped_by_name() -> None:
    done = prove("molecule-kubernetes")
    assert done.returncode == 0, done.stderr
    assert "needs a Kubernetes cluster: KUBECONFIG names none" in done.stdout
    assert "<== molecule-kubernetes    skipped" in done.stdout


def test_a_stage_that_is_not_there_fails_and_the_next_one_has_its_turn() -> None:
    done = prove("nonsense", "molecule-kubernetes")
    assert done.returncode == 1
    assert "<== nonsense               FAILED" in done.stdout
    assert "molecule-kubernetes    skipped" in done.stdout
    assert "1 of 2 stages failed" in done.stdout
