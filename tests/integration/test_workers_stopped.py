# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What holds while no worker runs, and what keeps one from starting."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import (
    VERIFY,
    Airflow,
    Platform,
    ansible_playbook,
    at_once,
    wait_for,
)

pytestmark = [pytest.mark.disturbs, pytest.mark.usefixtures("workers_stopped")]

HIDES = "backbone-test"
"""The source of the mount that hides the storage: its path may be a mount point without it, too."""


def test_a_log_reads_back_without_the_worker_that_wrote_it(
    platform: Platform, airflow: Airflow, finished: list[dict[str, t.Any]]
) -> None:
    for host, unit, _pool in platform.workers:
        directory = f"/var/log/airflow/{unit.removeprefix('airflow-')}"
        platform.run(host, f"! systemctl is-active --quiet {unit}")
        platform.run(host, f"find {directory} -type f -path '*dag_id=*' -delete")
    tasks = [task for run in finished for task in run["tasks"]]
    assert tasks
    logs = at_once([lambda task=task: airflow.log(task) for task in tasks])
    for task, log in zip(tasks, logs, strict=True):
        assert f"s3://{platform.plan['log_store']['bucket']}/" in log, f"{task['task_id']}: {log}"
        assert f"{task['hostname']}: " in log, (
            f"what {task['task_id']} prints is its host's name first, here it is: {log}"
        )


def test_the_doctor_names_every_queue_that_nobody_consumes(platform: Platform) -> None:
    output = ansible_playbook(platform.inventory, VERIFY, {"airflow_verify_timeout": 0}, succeeds=False)
    for queue in platform.plan["broker"]["queues"]:
        assert f"queue {queue}: no worker consumes it" in output


@pytest.fixture(name="unmounted")
def worker_without_the_storage(platform: Platform) -> t.Iterator[tuple[str, str]]:
    """A worker whose host has an empty directory for its DAG storage, as a share's mount point is without the share."""
    host, unit, _pool = platform.workers[-1]
    path = platform.plan["dag_storage"]["path"]
    platform.run(host, f"mount -t tmpfs -o size=64k {HIDES} {path}")
    try:
        yield host, unit
    finally:
        platform.run(host, f"umount {HIDES}; systemctl stop {unit}", check=False)


def test_a_worker_waits_for_the_dag_storage(platform: Platform, unmounted: tuple[str, str]) -> None:
    host, unit = unmounted
    shows = f"systemctl show --value --property SubState {unit}"

    def state() -> str:
        return platform.run(host, shows).stdout.strip()

    platform.run(host, f"systemctl start --no-block {unit}")
    assert wait_for(lambda: state() == "auto-restart", 120)
    assert (
        "is the DAG storage mounted?"
        in platform.run(host, f"journalctl --sync; journalctl --unit {unit} --lines 20").stdout
    )
    platform.run(host, f"umount {HIDES}")
    assert wait_for(lambda: state() in ("start", "running"), 120), "it comes back by itself once the storage is there"
