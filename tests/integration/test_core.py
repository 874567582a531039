# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The package airflow_backbone in the core that was deployed, with the Airflow and the Python there."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform

HERE = pathlib.Path(__file__).parent
PROBE = (HERE / "core_probe.py").read_text(encoding="utf-8")
SETUP = (HERE / "setup_probe.py").read_text(encoding="utf-8")
CORE = "/opt/airflow/core/current/bin/python"
URL_FILE = "/etc/airflow/credentials/setup/sql_alchemy_conn"


def test_bundle_policy_and_broker_settings_work_with_the_deployed_airflow(platform: Platform) -> None:
    host = next(host for component in platform.plan["components"] for host in component["hosts"])
    # As the user that components run as: it can read all of the core.
    platform.run(host, f"cd / && runuser -u airflow -- {CORE} - --verbose", stdin=PROBE)


@pytest.mark.disturbs
def test_a_database_is_set_up_with_its_teams_by_the_deployed_airflow(platform: Platform) -> None:
    """In a schema of its own, beside the platform's."""
    results = platform.plan["database"]["results_user"]
    platform.run(platform.plan["api"]["hosts"][0], f"cd / && {CORE} - {URL_FILE} {results}", stdin=SETUP)
