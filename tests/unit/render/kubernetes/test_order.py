# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The order of application: nothing waits for what comes later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import manifests
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered

Reference = tuple[str, str]


def references(manifest: Mapping[str, Any]) -> Iterator[Reference]:
    """What a manifest's pods cannot start without, by kind and name."""
    spec = manifest["spec"]["template"]["spec"]
    yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in spec["containers"]:
        for variable in container["env"]:
            if "configMapKeyRef" in variable.get("valueFrom", {}):
                yield "ConfigMap", variable["valueFrom"]["configMapKeyRef"]["name"]
    if manifest["kind"] == "StatefulSet":
        yield "Service", manifest["spec"]["serviceName"]


def made(step: manifests.Step) -> Iterator[Reference]:
    for manifest in step.manifests:
        yield manifest["kind"], manifest["metadata"]["name"]
        if manifest["kind"] == "ExternalSecret":
            yield "Secret", manifest["spec"]["target"]["name"]


def provided(rendered: Rendered) -> set[Reference]:
    """What the cluster has before."""
    told = rendered.target.cluster
    return {("PersistentVolumeClaim", told.dags.name)} | {
        ("Secret", name) for name in getattr(told.secrets, "names", {}).values()
    }


def test_pods_start_after_all_that_they_need(rendered: Rendered) -> None:
    there = set() if rendered.of_kind("PersistentVolumeClaim") else provided(rendered)
    checked = 0
    for step in rendered.steps:
        for manifest in step.manifests:
            if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
                assert set(references(manifest)) <= there
                checked += 1
        there.update(made(step))
    assert checked == len(rendered.pods())


def test_the_database_is_set_up_before_anything_that_needs_it_and_waits_for_nothing(rendered: Rendered) -> None:
    kinds = [{manifest["kind"] for manifest in step.manifests} for step in rendered.steps]
    (setup,) = [number for number, each in enumerate(kinds) if "Job" in each]
    assert kinds[setup] == {"Job"}
    assert rendered.steps[setup].wait == "complete"
    staying = [number for number, each in enumerate(kinds) if each & {"Deployment", "StatefulSet"}]
    assert setup < min(staying)
    assert {step.wait for step in rendered.steps[:setup]} <= {"exists", "ready"}


def test_no_pod_waits_for_the_migrations(rendered: Rendered) -> None:
    names = {each["name"] for pod in rendered.pods().values() for each in pod["spec"].get("initContainers", [])}
    assert names <= {"look-for-dags", "copy-credentials", "name-yourself"}
    assert not [each for each in rendered.manifests if "helm.sh/hook" in each["metadata"].get("annotations", {})]


def job(rendered: Rendered) -> dict[str, Any]:
    (found,) = rendered.of_kind("Job")
    return found


def test_another_set_up_is_another_job_and_the_same_is_none(variables: dict[str, Any]) -> None:
    def name(**changes: Any) -> str:
        return job(PLATFORMS["small"]({**variables, **changes}))["metadata"]["name"]

    first = name()
    assert re.fullmatch(r"setup-[0-9a-f]{10}", first)
    assert name() == first
    assert name(airflow_admin_user="root") != first
    assert name(airflow_settings={"database": {"sql_alchemy_pool_size": "9"}}) != first


def test_a_jobs_pod_ends_and_is_tried_again_a_few_times(rendered: Rendered) -> None:
    spec = job(rendered)["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert 0 < spec["backoffLimit"] < 6


def test_the_network_is_closed_before_any_pod_starts(rendered: Rendered) -> None:
    titles = [step.title for step in rendered.steps]
    assert titles.index("network policies") < titles.index("configuration") < titles.index("database set-up")


def test_workers_are_updated_last_and_people_do_not_wait_for_them(rendered: Rendered) -> None:
    assert [step.title for step in rendered.steps][-4:-2] == ["api-server", "entrance"]
    waves = [step.title for step in rendered.steps if step.wait == "rolled_out"]
    assert waves == ["api-server", "scheduler, dag-processor, triggerer", "worker"]
