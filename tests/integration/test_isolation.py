# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A worker sees the DAGs of its own pool and nothing of other teams, from inside its unit's mount namespace."""

from __future__ import annotations

import subprocess
import typing as t

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform

Worker = tuple[str, str, dict[str, t.Any]]


def inside(platform: Platform, worker: Worker, command: str) -> subprocess.CompletedProcess[str]:
    """A command as root in the namespace of the unit's main process: no file mode is in its way."""
    host, unit, _pool = worker
    return platform.run(
        host, f'nsenter --mount --target "$(systemctl show --value --property MainPID {unit})" {command}', check=False
    )


def test_the_storage_of_a_worker_holds_its_sources_alone(platform: Platform, worker: Worker) -> None:
    storage = platform.plan["dag_storage"]["path"]
    seen = inside(platform, worker, f"ls {storage}").stdout.split()
    assert seen == sorted(worker[2]["sources"])


def test_a_worker_reads_its_own_dags(platform: Platform, worker: Worker) -> None:
    storage = platform.plan["dag_storage"]["path"]
    for source in worker[2]["sources"]:
        listed = inside(platform, worker, f"find {storage}/{source}/current/ -name '*.py' -readable")
        assert listed.stdout, listed.stderr


def test_a_worker_cannot_read_the_dags_of_others(platform: Platform, worker: Worker) -> None:
    host, _unit, pool = worker
    storage = platform.plan["dag_storage"]["path"]
    others = {source["name"] for source in platform.plan["sources"]} - set(pool["sources"])
    assert others
    for source in others:
        outside = platform.run(host, f"test -e {storage}/{source}/current", check=False)
        refused = inside(platform, worker, f"ls {storage}/{source}/current/")
        assert "No such file or directory" in refused.stderr
        # On its host it is there, unless the host has a storage of its own: the namespace is the wall.
        assert outside.returncode == 0 or platform.plan["dag_storage"]["provider"] != "directory"


def test_a_worker_cannot_write_its_own_dags(platform: Platform, worker: Worker) -> None:
    storage = platform.plan["dag_storage"]["path"]
    for source in worker[2]["sources"]:
        assert "Read-only file system" in inside(platform, worker, f"touch {storage}/{source}/planted").stderr
