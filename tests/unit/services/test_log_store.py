# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the role decides for the platform's own store, for AWS, and for another S3 store."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.tests.unit.services.test_object_store import Role, plan

AWS = {"object_store": None, "endpoint_url": None}
OTHER = {"object_store": None, "endpoint_url": "https://s3.example.com"}


@pytest.mark.parametrize(
    ("store", "decided"),
    [
        (
            {},
            {
                "bucket_api": "swift",
                "swift_auth_url": "http://objects1:8080/auth/v1.0",
                "swift_user": "airflow:admin",
                "swift_key": "admins",
            },
        ),
        (
            AWS,
            {
                "bucket_api": "s3",
                "encryption": "AES256",
                "block_public_access": True,
                "swift_user": "",
                "swift_key": "",
            },
        ),
        (OTHER, {"bucket_api": "s3", "encryption": "none", "block_public_access": False}),
    ],
)
def test_defaults_follow_the_store(store: dict[str, Any], decided: dict[str, Any]) -> None:
    role = Role("airflow_log_store", plan(**store))
    assert {name: role[f"airflow_log_store_{name}"] for name in decided} == decided


@pytest.mark.parametrize("store", [{}, AWS, OTHER], ids=["own", "aws", "other"])
def test_every_default_can_be_evaluated(store: dict[str, Any]) -> None:
    """Ansible evaluates all of them to validate the role's arguments."""
    role = Role("airflow_log_store", plan(**store))
    assert len([role[name] for name in role.defaults]) == len(role.defaults)


@pytest.mark.parametrize(("service", "host"), [("object-store", "publisher-0"), (None, "localhost")])
def test_who_makes_the_bucket_reaches_the_store(service: str | None, host: str) -> None:
    airflow_plan = {**plan(service=service), "dag_storage": {"publisher": "publisher-0"}}
    assert Role("airflow_log_store", airflow_plan)["airflow_log_store_host"] == host
