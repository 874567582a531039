# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The manifests applied to a real cluster by the role, in a namespace of the test's own."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import IMAGE, PLATFORMS, Rendered
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer, Run

KUBECONFIG = "AIRFLOW_TEST_KUBECONFIG"
"""The variable that names a cluster to try things in: not kubectl's own, which may name one that somebody needs."""

LABEL = "app.kubernetes.io/managed-by=airstack.backbone"
GONE = 120
"""Seconds for a namespace to go."""


class Namespace:
    """A namespace of a real cluster."""

    def __init__(self, kubeconfig: str) -> None:
        client = pytest.importorskip("kubernetes").client
        api = pytest.importorskip("kubernetes").config.new_client_from_config(kubeconfig)
        self.name = f"airflow-test-{uuid.uuid4().hex[:8]}"
        self.core, self._apps, self._batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)
        self.core.create_namespace({"metadata": {"name": self.name}})

    def kinds(self) -> set[str]:
        """Of what there is something of the platform's."""
        listed = {
            "ConfigMap": self.core.list_namespaced_config_map,
            "Secret": self.core.list_namespaced_secret,
            "ServiceAccount": self.core.list_namespaced_service_account,
            "Service": self.core.list_namespaced_service,
            "Job": self._batch.list_namespaced_job,
            "Deployment": self._apps.list_namespaced_deployment,
            "StatefulSet": self._apps.list_namespaced_stateful_set,
        }
        return {kind for kind, items in listed.items() if items(self.name, label_selector=LABEL).items}

    def remove(self) -> None:
        self.core.delete_namespace(self.name)
        until = time.monotonic() + GONE
        while time.monotonic() < until and self.name in {
            each.metadata.name for each in self.core.list_namespace().items
        }:
            time.sleep(1)


@pytest.fixture(name="namespace")
def namespace_of_its_own() -> Iterator[Namespace]:
    if not os.environ.get(KUBECONFIG):
        pytest.skip(f"needs a Kubernetes cluster: {KUBECONFIG} names none")
    made = Namespace(os.environ[KUBECONFIG])
    yield made
    made.remove()


@pytest.fixture(name="platform")
def small_platform(variables: dict[str, Any]) -> Rendered:
    return PLATFORMS["small"](variables)


def deploy(folder: Path, platform: Rendered, namespace: Namespace, *options: str) -> Run:
    role = {"name": "airstack.backbone.airflow_components"}
    tasks = [{"ansible.builtin.include_role": role}]
    description = {
        "airflow_plan": platform.plan,
        "airflow_secrets": {secret["name"]: f"value-of-{secret['name']}" for secret in platform.plan["secrets"]},
        "airflow_core_image_reference": IMAGE,
        "airflow_components_provider": "kubernetes",
        "airflow_components_kubernetes_kubeconfig": os.environ[KUBECONFIG],
        "airflow_components_kubernetes": {"namespace": namespace.name, "dags": {"existing": {"name": "dags"}}},
        **{f"airflow_{name}_endpoint": each for name, each in platform.target.platform.endpoints.items()},
    }
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    return Deployer(folder, [play], {"airflow_publisher": ["publisher1"]}, description, {})("--diff", *options)


def test_check_mode_asks_for_everything_and_changes_nothing(
    tmp_path: Path, platform: Rendered, namespace: Namespace
) -> None:
    run = deploy(tmp_path, platform, namespace, "--check")
    assert run.failed == 0, run.said
    assert run.changed > 0
    assert "worker-etl" in run.said
    assert namespace.kinds() == set()


def test_an_image_that_cannot_be_pulled_is_told_and_nothing_after_it_is_touched(
    tmp_path: Path, platform: Rendered, namespace: Namespace
) -> None:
    run = deploy(tmp_path, platform, namespace)
    assert run.failed == 1, run.said
    assert "database set-up did not come to work. Nothing after it was touched." in " ".join(run.said.split())
    assert "ImagePullBackOff" in run.said
    assert namespace.kinds() == {"ConfigMap", "Secret", "ServiceAccount", "Job"}
    assert "value-of-" not in run.said
