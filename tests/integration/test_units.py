# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Airflow's systemd units: hardened, stopped as their work needs it, started again where they die."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, wait_for

EXPOSURE = 4.0
"""What `systemd-analyze security` may say at most; it calls 5 to 7 medium and everything below OK."""


def properties(platform: Platform, machine: str, unit: str, *names: str) -> dict[str, str]:
    shown = platform.run(machine, f"systemctl show --property {','.join(names)} {unit}").stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def test_a_unit_runs_and_starts_with_its_machine(platform: Platform, unit: tuple[str, str]) -> None:
    machine, name = unit
    assert platform.host(machine).service(name).is_running
    assert platform.host(machine).service("airflow.target").is_enabled
    wanted = properties(platform, machine, "airflow.target", "Wants")["Wants"].split()
    assert f"{name}.service" in wanted


def test_a_unit_exposes_little(platform: Platform, unit: tuple[str, str]) -> None:
    machine, name = unit
    answer = platform.run(machine, f"systemd-analyze security --no-pager {name}").stdout
    overall = re.search(r"Overall exposure level for .*: ([0-9.]+) ", answer)
    assert overall, answer
    assert float(overall[1]) <= EXPOSURE


def test_a_unit_does_not_run_as_root(platform: Platform, unit: tuple[str, str]) -> None:
    machine, name = unit
    pid = properties(platform, machine, name, "MainPID")["MainPID"]
    assert platform.run(machine, f"ps -o user= -p {pid}").stdout.strip() == "airflow"


def test_a_worker_may_finish_its_tasks_before_it_stops(
    platform: Platform, worker: tuple[str, str, dict[str, t.Any]]
) -> None:
    shown = properties(platform, worker[0], worker[1], "KillMode", "TimeoutStopUSec")
    assert shown["KillMode"] == "mixed"
    assert seconds(shown["TimeoutStopUSec"]) == platform.plan["timeouts"]["worker_stop"]["seconds"]


def seconds(text: str) -> int:
    """A duration as systemd shows it, such as 8h 5min."""
    lengths = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    return sum(int(number) * lengths[unit] for number, unit in re.findall(r"(\d+)(d|h|min|s)\b", text))


@pytest.mark.disturbs
def test_workers_that_were_killed_start_again(platform: Platform, finished: list[dict[str, t.Any]]) -> None:
    assert finished, "nothing runs any more, so nothing is lost"

    def main_process(worker: tuple[str, str, dict[str, t.Any]]) -> str:
        return properties(platform, worker[0], worker[1], "MainPID")["MainPID"]

    before = {worker[:2]: main_process(worker) for worker in platform.workers}
    for (machine, _unit), pid in before.items():
        platform.run(machine, f"kill -KILL {pid}")
    for worker in platform.workers:
        assert wait_for(lambda worker=worker: main_process(worker) not in ("0", before[worker[:2]]), 300)
