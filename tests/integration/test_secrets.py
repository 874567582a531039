# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""No secret shows in a process list, an environment or the journal, and a worker holds those of its pool alone."""

from __future__ import annotations

import typing as t
import urllib.parse

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform

Worker = tuple[str, str, dict[str, t.Any]]


def test_no_secret_shows_in_processes_or_the_journal(platform: Platform, machine: str) -> None:
    assert platform.seek(machine, platform.secrets, "journal")["found"] == []


@pytest.mark.parametrize(
    ("place", "command"), [("arguments", "sh -c 'sleep 120; :' {}"), ("environment", "PLANTED={} sleep 120")]
)
def test_a_secret_that_shows_would_be_found(platform: Platform, place: str, command: str) -> None:
    machine, planted = platform.hosts[0], f"planted/in {place}"
    # Percent-encoded, as in an address
    platform.run(machine, command.format(urllib.parse.quote(planted, safe="")) + " >/dev/null 2>&1 &")
    found = platform.seek(machine, {"planted": planted})["found"]
    assert [name for where, name in found if where.startswith(place)] == ["planted"]


@pytest.mark.disturbs
@pytest.mark.usefixtures("triggered")
def test_no_secret_shows_while_a_task_runs(scans: dict[str, t.Any], worker: Worker) -> None:
    """A task's process has arguments and an environment of its own."""
    scan = scans[worker[0]].result()
    assert scan, "no task was seen to run"
    assert scan["found"] == []


def test_a_worker_holds_the_secrets_of_its_pool_alone(platform: Platform, worker: Worker) -> None:
    host, _unit, pool = worker
    broker = next(each["secret"] for each in platform.plan["broker"]["pools"] if each["name"] == pool["name"])
    logs = {each["secret"] for each in platform.plan["log_store"]["identities"] if each["pool"] == pool["name"]}
    held = platform.seek(host, platform.secrets, "/etc", "/var/lib/airflow", "/var/log/airflow")["found"]
    assert {name for _place, name in held} == {"api", "database_results", broker, *logs}


def test_every_copy_of_a_secret_is_for_root_alone(platform: Platform, machine: str) -> None:
    held = platform.seek(machine, platform.secrets, "/etc", "/var/lib/airflow", "/var/log")["found"]
    modes = {place: platform.host(machine).file(place).mode & 0o077 for place, _name in held}
    # A service's own configuration is for its own group.
    readable = {place for place, mode in modes.items() if mode & 0o007 or (mode and "/airflow/" in place)}
    assert readable == set()
