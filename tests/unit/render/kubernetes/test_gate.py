# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The pod in which a cluster runs the code of DAGs before anybody else does."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import cluster, gate, manifests
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import (
    component_leftovers,
    dags_gate_step,
)
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import IMAGE, Rendered
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.test_manifests import NEWEST
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.test_pod_security import violations

RELEASES = ["/srv/airflow/dags/etl/releases/3f9c1b7a2d40", "/srv/airflow/dags/ml/releases/91d5e0c2b7f3"]
GIVEN: dict[str, Any] = {
    "sources": [{"name": name, "path": path} for name, path in zip(("etl", "ml"), RELEASES, strict=True)],
    "timeout": 300,
}


@pytest.fixture(name="step")
def gate_of_a_platform(rendered: Rendered) -> manifests.Step:
    return gate.step(GIVEN, rendered.target)


def of_kind(step: manifests.Step, kind: str) -> dict[str, Any]:
    (found,) = (each for each in step.manifests if each["kind"] == kind)
    return found


def pod(step: manifests.Step) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind(step, "Job")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("version", [cluster.OLDEST, NEWEST])
def test_it_keeps_to_the_schemas(step: manifests.Step, version: str) -> None:
    for manifest in step.manifests:
        assert kubernetes_validate.validate(manifest, version, strict=True)


def test_it_runs_where_and_takes_what_the_cluster_is_told(rendered: Rendered) -> None:
    told = {
        "nodes": {"gate": cluster.Nodes({"pool": "spare"}, [cluster.Toleration("spare", "Exists")])},
        "priority_classes": {"gate": "low"},
    }
    platform = replace(rendered.target.platform, resources={"gate": {"limits": {"memory": "8Gi"}}})
    target = cluster.Target(platform, replace(rendered.target.cluster, **told))
    spec = pod(gate.step(GIVEN, target))
    assert spec["nodeSelector"] == {"pool": "spare"}
    assert spec["tolerations"] == [{"key": "spare", "operator": "Exists"}]
    assert spec["priorityClassName"] == "low"
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "200m", "memory": "512Mi"},
        "limits": {"memory": "8Gi"},
    }


def test_its_pod_is_one_that_a_namespace_of_the_platform_takes(step: manifests.Step) -> None:
    assert list(violations(pod(step))) == []
    assert pod(step)["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


def test_it_has_the_releases_and_nothing_else_of_the_storage(rendered: Rendered, step: manifests.Step) -> None:
    (container,) = pod(step)["containers"]
    mounts = [mount for mount in container["volumeMounts"] if mount["name"] == "dags"]
    folder = "airflow/" if rendered.target.cluster.dags.path else ""
    assert [(each["mountPath"], each["subPath"], each["readOnly"]) for each in mounts] == [
        (path, folder + path.removeprefix("/srv/airflow/dags/"), True) for path in RELEASES
    ]
    (volume,) = (each for each in pod(step)["volumes"] if each["name"] == "dags")
    assert volume["persistentVolumeClaim"] == {"claimName": rendered.target.cluster.dags.name, "readOnly": True}


def test_it_has_no_secret_no_token_and_no_network(step: manifests.Step) -> None:
    spec = pod(step)
    assert [set(volume) - {"name"} for volume in spec["volumes"]] == [
        {"emptyDir"},
        {"configMap"},
        {"persistentVolumeClaim"},
    ]
    assert "env" not in spec["containers"][0]
    assert spec["automountServiceAccountToken"] is False
    wall = of_kind(step, "NetworkPolicy")
    labels = of_kind(step, "Job")["spec"]["template"]["metadata"]["labels"]
    assert wall["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert wall["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not wall["spec"].get("egress")


def test_no_policy_of_a_component_lets_it_out(rendered: Rendered, step: manifests.Step) -> None:
    labels = of_kind(step, "Job")["spec"]["template"]["metadata"]["labels"]
    for policy in rendered.of_kind("NetworkPolicy"):
        if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items():
            assert not policy["spec"].get("egress"), policy["metadata"]["name"]


def test_what_it_stands_on_is_what_the_platform_has(rendered: Rendered, step: manifests.Step) -> None:
    own = [each for each in step.manifests if each["kind"] not in ("ConfigMap", "Job")]
    assert own == [each for each in own if each in rendered.manifests]
    kinds = {each["kind"] for each in own}
    assert ("Namespace" in kinds) == rendered.target.cluster.creates_namespace


def test_it_ends_after_the_gate_has(step: manifests.Step) -> None:
    spec = of_kind(step, "Job")["spec"]
    assert spec["activeDeadlineSeconds"] > GIVEN["timeout"]
    assert spec["backoffLimit"] == 0
    assert step.wait == "complete"


def test_another_job_and_another_core_are_another_pod(rendered: Rendered) -> None:
    names = {
        of_kind(gate.step(job, rendered.target), "Job")["metadata"]["name"]
        for job in (GIVEN, {**GIVEN, "timeout": 60}, {**GIVEN, "sources": GIVEN["sources"][:1]})
    }
    assert len(names) == 3


@pytest.mark.parametrize(
    ("gate_says", "code", "log"),
    [
        ("echo warned >&2; cat", 0, json.dumps(GIVEN)),
        ("echo no core >&2; exit 2", 2, "no core"),
    ],
)
def test_the_log_is_the_report_or_the_reason(
    step: manifests.Step, tmp_path: Path, gate_says: str, code: int, log: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n[ \"$*\" = '-m airflow_backbone.gate' ] || exit 9\n{gate_says}\n", encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "job.json").write_text(of_kind(step, "ConfigMap")["data"]["job.json"], encoding="utf-8")
    words = pod(step)["containers"][0]["args"]
    # Kubernetes leaves one of two dollar signs, where a parenthesis follows.
    command = [*(word.replace("$$(", "$(") for word in words[:4]), tmp_path / "job.json", tmp_path / "error"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert (done.returncode, json.loads(said) if code == 0 else said.strip()) == (
        code,
        json.loads(log) if code == 0 else log,
    )


def test_playbooks_get_it_and_nothing_of_it_is_left_over(rendered: Rendered) -> None:
    told = {"namespace": "airflow-local", "image": IMAGE, "dags": {"existing": {"name": "dags"}}}
    step = dags_gate_step(rendered.plan, told, GIVEN)
    assert json.loads(json.dumps(step)) == step
    gone = component_leftovers(rendered.plan, step["manifests"], [])
    assert [each["kind"] for each in gone] == ["Job", "ConfigMap", "NetworkPolicy"]
    with pytest.raises(AnsibleFilterError, match=r"airflow_components_kubernetes\.image"):
        dags_gate_step(rendered.plan, {**told, "image": ""}, GIVEN)
