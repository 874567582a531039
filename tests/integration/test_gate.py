# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The gate before a release, in the core that was deployed and as Ansible runs it."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.airstack.backbone.tests.integration import deployed
from ansible_collections.airstack.backbone.tests.integration.deployed import Platform

PROBE = pathlib.Path(__file__).with_name("gate_probe.py").read_text(encoding="utf-8")
CORE = "/opt/airflow/core/current/bin/python"
ROLE = "tests/integration/gate.yml"

SEES_TOO_MUCH = """
# airflow dag
import os, socket
seen = []
for path in ("/etc/airflow", "/var/lib/airflow", "/var/log/airflow", "/run/credentials", "/root", "/proc/1/environ"):
    try:
        seen += [path] if os.path.isfile(path) and open(path).read() or os.listdir(path) else []
    except OSError:
        pass
for folder in (os.path.dirname(__file__), "/opt/airflow", "/etc"):
    if os.access(folder, os.W_OK):
        seen.append("writes to " + folder)
try:
    socket.create_connection(("{address}", 22), 5)
    seen.append("a network")
except OSError:
    pass
raise RuntimeError("sees", seen, "of", os.getgroups())
"""


@pytest.fixture(name="folder", scope="module")
def directory_on_the_publisher(platform: Platform) -> t.Iterator[str]:
    publisher = platform.plan["dag_storage"]["publisher"]
    folder = platform.run(publisher, "mktemp -d -p /srv && chmod 755 /srv/tmp.*").stdout.split()[0]
    yield folder
    platform.run(publisher, f"rm -r {folder}")


def judged(platform: Platform, path: str, succeeds: bool) -> str:
    source = {"name": platform.plan["sources"][0]["name"], "path": path}
    return deployed.ansible_playbook(platform.inventory, ROLE, {"judged": [source]}, succeeds=succeeds)


@pytest.mark.parametrize(("user", "tests"), [("airflow", ""), ("root", "TestFiles")])
def test_it_finds_what_is_wrong_and_stands_what_is_evil(platform: Platform, user: str, tests: str) -> None:
    publisher = platform.plan["dag_storage"]["publisher"]
    platform.run(publisher, f"cd / && runuser -u {user} -- {CORE} - --verbose {tests}", stdin=PROBE)


def test_what_was_released_passes(platform: Platform) -> None:
    source = platform.plan["sources"][0]["name"]
    output = judged(platform, f"{platform.plan['dag_storage']['path']}/{source}/current", succeeds=True)
    assert "Good: no problems" in output


def test_what_is_judged_sees_nothing_of_the_host(platform: Platform, folder: str) -> None:
    publisher = platform.plan["dag_storage"]["publisher"]
    address = next(host["address"] for host in platform.plan["hosts"] if host["name"] != publisher)
    text = SEES_TOO_MUCH.replace("{address}", address)
    platform.run(publisher, f"cat > {folder}/curious.py", stdin=text)
    output = judged(platform, folder, succeeds=False)
    assert "RuntimeError: ('sees', [], 'of', [" in output
    assert "None of this was released, and what was current before still is." in output
