# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The manifests as playbooks get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import (
    component_leftovers,
    component_manifests,
    component_progress,
)
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    IMAGE,
    PLATFORMS,
    Rendered,
)

CLUSTER: dict[str, Any] = {
    "namespace": "airflow-local",
    "image": IMAGE,
    "dags": {"new": {"name": "dags", "size": "10Gi", "volume": "airflow-local-dags"}},
    "entrance": {"ingress": {"host": "airflow.example.com", "tls_secret": "airflow-tls", "ingress_class": "nginx"}},
}


@pytest.fixture(name="platform")
def small_platform(variables: dict[str, Any]) -> Rendered:
    return PLATFORMS["small"](variables)


def secrets_of(platform: Rendered) -> dict[str, str]:
    return {secret["name"]: f"value-of-{secret['name']}" for secret in platform.plan["secrets"]}


def made(platform: Rendered, secrets: dict[str, str] | None = None, **told: Any) -> list[dict[str, Any]]:
    endpoints = dict(platform.target.platform.endpoints)
    return component_manifests(platform.plan, endpoints, {**CLUSTER, **told}, secrets)


def test_playbooks_get_what_is_rendered(platform: Rendered) -> None:
    steps = made(platform, secrets_of(platform))
    assert [(step["title"], step["wait"]) for step in steps] == [(step.title, step.wait) for step in platform.steps]
    kinds = [[each["kind"] for each in step["manifests"]] for step in steps]
    assert kinds == [[each["kind"] for each in step.manifests] for step in platform.steps]
    assert json.loads(json.dumps(steps)) == steps


def test_without_secrets_they_come_from_elsewhere(platform: Rendered) -> None:
    endpoints = dict(platform.target.platform.endpoints)
    steps = component_manifests(platform.plan, endpoints, {**CLUSTER, "secrets": {"external": {"store": "vault"}}})
    assert "ExternalSecret" in {each["kind"] for step in steps for each in step["manifests"]}
    with pytest.raises(AnsibleFilterError, match="was given none"):
        made(platform)


def test_all_problems_are_said_at_once(platform: Rendered) -> None:
    with pytest.raises(AnsibleFilterError) as failed:
        made(platform, secrets_of(platform), namespace="Airflow", has_keda="perhaps")
    assert "2 problems" in str(failed.value)
    assert "cluster.namespace: found 'Airflow'" in str(failed.value)
    with pytest.raises(AnsibleFilterError, match=r"cluster\.image: found 'airflow:latest'"):
        made(platform, secrets_of(platform), image="airflow:latest")


def test_what_is_left_over_is_told_with_its_order(platform: Rendered) -> None:
    steps = made(platform, secrets_of(platform))
    found = [each for step in steps for each in step["manifests"]]
    assert component_leftovers(platform.plan, found, steps) == []
    gone = component_leftovers(platform.plan, found, steps[:-1])
    assert [(each["kind"], each["metadata"]["name"]) for each in gone] == [
        ("PodDisruptionBudget", "worker-etl"),
        ("PodDisruptionBudget", "worker-ml"),
        ("StatefulSet", "worker-etl"),
        ("StatefulSet", "worker-ml"),
    ]


class Lazy(dict[str, Any]):
    """As Ansible hands over a dictionary, whose items it templates one by one."""

    def items(self) -> Any:
        return (item for item in super().items())


def lazy(value: Any) -> Any:
    if isinstance(value, dict):
        return Lazy({key: lazy(each) for key, each in value.items()})
    return [lazy(each) for each in value] if isinstance(value, list) else value


def test_what_a_cluster_has_may_be_templated_as_it_is_read(platform: Rendered) -> None:
    steps = made(platform, secrets_of(platform))
    found = [each for step in steps for each in step["manifests"]]
    pods = [{"apiVersion": "v1", "kind": "Pod", **platform.pods()["worker-ml"], "status": {"phase": "Running"}}]
    pods[0]["metadata"] = {**pods[0]["metadata"], "name": "worker-ml-0"}
    assert component_leftovers(platform.plan, lazy(found), steps[:-1]) == component_leftovers(
        platform.plan, found, steps[:-1]
    )
    assert component_progress(lazy(steps[-1]), lazy(found), lazy(pods)) == component_progress(steps[-1], found, pods)
    assert component_leftovers(platform.plan, lazy([*found, *pods]), steps) == []


def test_of_a_secret_that_is_left_over_nothing_is_told_but_its_name(platform: Rendered) -> None:
    found = platform.of_kind("Secret")
    gone = component_leftovers(platform.plan, found, [])
    assert [each["metadata"]["name"] for each in gone] == [each["metadata"]["name"] for each in found]
    assert {key for each in gone for key in each} == {"apiVersion", "kind", "metadata"}
