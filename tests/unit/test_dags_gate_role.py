# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The sandbox of the role airflow_dags_gate, beside the one in which DAG code runs after its release."""

from __future__ import annotations

import pathlib

import yaml

from ansible_collections.airstack.backbone.plugins.module_utils._render import hardening, systemd

ROLE = pathlib.Path(__file__).parents[2] / "roles" / "airflow_dags_gate"
SANDBOX = dict(
    line.split("=", 1)
    for line in yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))["__airflow_dags_gate_sandbox"]
)


def test_nothing_is_allowed_that_the_dag_processor_may_not() -> None:
    wanted = hardening.of("dag-processor")
    assert {key: SANDBOX.get(key) for key in wanted} == wanted


def test_no_file_of_a_component_can_be_read() -> None:
    hidden = SANDBOX["InaccessiblePaths"].split()
    assert {f"-{path}" for path in (systemd.CONFIGURATION, systemd.STATE, systemd.LOGS, "/run/credentials")} == set(
        hidden
    )
    assert SANDBOX["PrivateNetwork"] == "yes"


def test_it_shares_no_user_with_a_component() -> None:
    assert SANDBOX["DynamicUser"] == "yes"
    assert "User" not in SANDBOX
    assert SANDBOX["SupplementaryGroups"] == systemd.USER
