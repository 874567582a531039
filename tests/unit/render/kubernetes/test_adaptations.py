# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is made of manifests for podman: it is still what they say, and nothing is left that podman passes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.tests.unit.render.kubernetes import kube_play
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    PLATFORMS,
    Rendered,
    render,
    small,
)


@pytest.fixture(name="rendered")
def small_platform(variables: dict[str, Any]) -> Rendered:
    return render(variables, {}, small)


def pod(rendered: Rendered, name: str) -> dict[str, Any]:
    found = [each for workload in rendered.of_kind(*kube_play.WORKLOADS) for each in kube_play.pods(workload)]
    (only,) = [each for each in found if each["metadata"]["name"] == name]
    return only


def test_pods_have_the_names_by_which_they_are_called(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    names = [
        each["metadata"]["name"]
        for workload in rendered.of_kind(*kube_play.WORKLOADS)
        for each in kube_play.pods(workload)
    ]
    assert names[1:] == [
        *("api-server", "scheduler", "dag-processor", "triggerer"),
        *("worker-etl-0", "worker-etl-1", "worker-etl-2", "worker-ml-0"),
    ]


def test_two_pods_of_one_name_are_refused(rendered: Rendered) -> None:
    (deployment,) = [each for each in rendered.of_kind("Deployment") if each["metadata"]["name"] == "scheduler"]
    deployment["spec"]["replicas"] = 2
    with pytest.raises(ValueError, match="scheduler has 2 pods of one name"):
        kube_play.pods(deployment)


def test_what_stands_for_words_is_in_their_place(rendered: Rendered) -> None:
    maps = {each["metadata"]["name"]: each["data"] for each in rendered.of_kind("ConfigMap")}
    (container,) = kube_play.with_words(pod(rendered, "worker-etl-0"), maps)["spec"]["containers"]
    assert container["args"][3:5] == ["--queues", "etl,etl_highmem"]
    assert "etl@worker-etl-0" in container["args"]
    assert "$(" not in str(container)


def test_each_part_of_the_storage_is_a_volume_of_its_own(rendered: Rendered, tmp_path: Path) -> None:
    (tmp_path / "etl").mkdir()
    (tmp_path / ".airflow-dag-storage").touch()
    adapted = kube_play.with_folders(pod(rendered, "worker-etl-0"), tmp_path)
    volumes = {volume["name"]: volume for volume in adapted["spec"]["volumes"]}
    assert not [each for each in volumes.values() if "persistentVolumeClaim" in each]
    for container in (*adapted["spec"]["initContainers"], *adapted["spec"]["containers"]):
        mounted = {
            mount["mountPath"]: (volumes[mount["name"]]["hostPath"], mount["readOnly"])
            for mount in container["volumeMounts"]
            if "hostPath" in volumes[mount["name"]]
        }
        assert mounted == {
            "/srv/airflow/dags/.airflow-dag-storage": (
                {"path": str(tmp_path / ".airflow-dag-storage"), "type": "File"},
                True,
            ),
            "/srv/airflow/dags/etl": ({"path": str(tmp_path / "etl"), "type": "Directory"}, True),
        }


def test_what_runs_before_a_pod_is_a_pod_that_has_what_it_mounts(rendered: Rendered) -> None:
    whole = pod(rendered, "worker-ml-0")
    (first,), main = kube_play.before(whole)
    assert first["metadata"]["name"] == "worker-ml-0-look-for-dags"
    assert [volume["name"] for volume in first["spec"]["volumes"]] == ["dags"]
    assert first["spec"]["securityContext"] == whole["spec"]["securityContext"]
    assert first["spec"]["containers"] == whole["spec"]["initContainers"]
    assert {**main["spec"], "initContainers": first["spec"]["containers"]} == whole["spec"]


def test_what_leaves_something_to_its_pod_is_refused(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["full"](variables)
    (deployment,) = [each for each in rendered.of_kind("Deployment") if each["metadata"]["name"] == "api-server"]
    (whole,) = kube_play.pods(deployment)
    with pytest.raises(ValueError, match="copy-credentials leaves copies to the pod"):
        kube_play.before(whole)


def test_what_a_pod_writes_is_in_volumes_of_its_own(rendered: Rendered) -> None:
    made = [kube_play.with_own_scratch(pod(rendered, name)) for name in ("worker-etl-0", "worker-ml-0")]
    names = [{volume["name"] for volume in each["spec"]["volumes"] if "emptyDir" in volume} for each in made]
    assert names == [{f"{name}-scratch", f"{name}-logs"} for name in ("worker-etl-0", "worker-ml-0")]
    for each, own in zip(made, names):
        (container,) = each["spec"]["containers"]
        assert {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in own} == {
            "/tmp",
            "/var/log/airflow",
        }


def test_ports_are_the_pods_own(rendered: Rendered) -> None:
    (container,) = kube_play.without_ports(pod(rendered, "worker-etl-0"))["spec"]["containers"]
    assert "ports" not in container


def test_what_podman_does_not_look_at_is_what_the_test_does(rendered: Rendered) -> None:
    whole = pod(rendered, "scheduler")
    assert [probe["periodSeconds"] for probe in kube_play.probes(whole)] == [5, 10]
    (container,) = kube_play.without_probes(whole)["spec"]["containers"]
    assert not [key for key in container if key.endswith("Probe")]
