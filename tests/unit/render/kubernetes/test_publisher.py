# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The pod that DAGs are published from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import (
    manifests,
    network,
    problems,
    publisher,
)
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    ExistingClaim,
    NewClaim,
    Outlet,
    Target,
)
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import publisher_manifests
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    IMAGE,
    PLATFORMS,
    Rendered,
    expanded,
)


@pytest.fixture(name="platform")
def platform_that_publishes_from_a_pod(variables: dict[str, Any]) -> Rendered:
    return PLATFORMS["publisher"](variables)


def told(rendered: Rendered, **changes: Any) -> Target:
    return replace(rendered.target, cluster=replace(rendered.target.cluster, **changes))


def pod_of(target: Target) -> dict[str, Any]:
    return publisher.workload(target)["spec"]["template"]["spec"]


def mounts(pod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}


def command(container: Mapping[str, Any], key: str) -> list[str]:
    return [expanded(word, {}) for word in container[key]]


def test_without_it_nothing_of_it_is_there(variables: dict[str, Any]) -> None:
    names = {each["metadata"]["name"] for each in PLATFORMS["small"](variables).manifests}
    assert "publisher" not in names


def test_its_own_steps_are_the_platforms_too_so_that_nothing_of_it_is_left_over(platform: Rendered) -> None:
    for cluster in (platform.target.cluster, replace(platform.target.cluster, creates_namespace=True)):
        steps = manifests.publishing(platform.target.platform, cluster)
        whole = manifests.manifests(platform.components, platform.target.platform, cluster)
        assert all(manifest in whole for step in steps for manifest in step.manifests)
        assert [step.wait for step in steps][-1] == "rolled_out"
        assert ("Namespace" in [step.manifests[0]["kind"] for step in steps]) == cluster.creates_namespace


def test_it_alone_has_all_of_the_dags_writable(platform: Rendered) -> None:
    path = platform.plan["dag_storage"]["path"]
    assert mounts(pod_of(platform.target))[path] == {"name": "dags", "mountPath": path, "subPath": "airflow"}
    whole = pod_of(told(platform, dags=ExistingClaim("dags")))
    assert mounts(whole)[path] == {"name": "dags", "mountPath": path}
    for name, pod in platform.pods().items():
        claims = [each for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]
        is_writer = [not claim["persistentVolumeClaim"].get("readOnly", False) for claim in claims]
        assert is_writer in ([], [name == "publisher"])


def test_the_doctor_reaches_from_it_whom_it_asks(platform: Rendered) -> None:
    (policy,) = (each for each in platform.of_kind("NetworkPolicy") if each["metadata"]["name"] == "publisher")
    broker = platform.plan["broker"]
    place = {
        "to": [{"ipBlock": {"cidr": f"{broker['host']}/32"}}],
        "ports": [{"port": broker["port"], "protocol": "TCP"}],
    }
    assert place in policy["spec"]["egress"]
    assert "publisher" in network.clients("broker")
    assert "publisher" not in network.clients("database")


def test_a_new_disk_is_given_to_a_group_of_the_pod_unless_the_cluster_decides(platform: Rendered) -> None:
    owned = {"fsGroupChangePolicy": "OnRootMismatch"}
    assert pod_of(platform.target)["securityContext"].items() >= {"fsGroup": 3000, **owned}.items()
    assert pod_of(platform.target)["securityContext"]["supplementalGroups"] == [3000]
    plain = pod_of(told(platform, dags=ExistingClaim("dags")))
    assert plain["securityContext"].items() >= {"fsGroup": 0, **owned}.items()
    assert "fsGroup" not in pod_of(told(platform, user=0))["securityContext"]


def test_it_stays_where_it_can_write_and_says_why_where_it_cannot(platform: Rendered, tmp_path: Path) -> None:
    shell, option, script, name, _path = command(pod_of(platform.target)["containers"][0], "args")
    ends = script.replace("exec sleep infinity", "echo stays")
    assert ends != script

    def run(path: Path) -> tuple[int, str]:
        done = subprocess.run(
            [shell, option, ends, name, str(path)], check=False, capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    assert run(tmp_path) == (0, "stays\n")
    code, said = run(tmp_path / "missing")
    assert code == 1
    assert f"{tmp_path}/missing is not writable for the user {os.getuid()}" in said


def test_its_user_has_a_name_whatever_its_number(platform: Rendered, tmp_path: Path) -> None:
    pod = pod_of(platform.target)
    (first,) = pod["initContainers"]
    *words, place = command(first, "command")
    written = tmp_path / "passwd"
    subprocess.run([*words, str(written)], check=True, timeout=120)
    assert written.read_text() == f"airflow:x:{os.getuid()}:{os.getgid()}::/tmp:/bin/sh\n"
    ((volume, folder),) = [(mount["name"], mount["mountPath"]) for mount in first["volumeMounts"]]
    seen = mounts(pod)["/etc/passwd"]
    assert (seen["name"], f"{folder}/{seen['subPath']}") == (volume, place)


def egress(target: Target) -> list[dict[str, Any]]:
    (policy,) = [each for each in publisher.means(target) if each["kind"] == "NetworkPolicy"]
    assert "ingress" not in policy["spec"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    return policy["spec"]["egress"]


def test_it_goes_where_sources_are_by_ssh_and_https_unless_it_is_told_where(platform: Rendered) -> None:
    assert egress(platform.target)[-1] == {
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "ports": [{"port": 22, "protocol": "TCP"}],
    }
    anywhere = egress(told(platform, outlets={}))[-1]
    assert anywhere == {"ports": [{"port": 22, "protocol": "TCP"}, {"port": 443, "protocol": "TCP"}]}
    nowhere = egress(told(platform, outlets={"publisher": []}))
    assert [port["port"] for rule in nowhere for port in rule["ports"]] == [53, 53, 8080, 5672]


def test_it_reaches_the_object_store_of_the_cluster_where_it_makes_a_bucket(platform: Rendered) -> None:
    store = {"endpoint_url": "http://object-store:9000", "region": "us-east-1", "service": "object-store"}
    endpoints = {**platform.target.platform.endpoints, "log_store": store}
    target = replace(platform.target, platform=replace(platform.target.platform, endpoints=endpoints))
    pod = {"airstack.backbone/service": "object-store", "app.kubernetes.io/instance": "local"}
    assert {
        "to": [{"podSelector": {"matchLabels": pod}}],
        "ports": [{"port": 9000, "protocol": "TCP"}],
    } in egress(target)
    assert "publisher" in network.clients("log_store")


@pytest.mark.parametrize(
    ("claim", "refused"),
    [
        (NewClaim("dags", "1Gi"), True),
        (NewClaim("dags", "1Gi", access_mode="ReadWriteMany"), False),
        (NewClaim("dags", "1Gi", access_mode="ReadWriteOnce"), False),
        (ExistingClaim("dags"), False),
    ],
)
def test_a_claim_that_nobody_may_write_to_is_refused(platform: Rendered, claim: Any, refused: bool) -> None:
    found = problems.of(platform.components, told(platform, dags=claim), "kubernetes")
    assert [problem.variable for problem in found] == (["kubernetes.dags.new.access_mode"] if refused else [])


def test_a_cluster_is_told_of_it_only_where_there_is_one(platform: Rendered, variables: dict[str, Any]) -> None:
    settings = {"outlets": {"publisher": [Outlet()]}, "priority_classes": {"publisher": "airflow-control"}}
    assert problems.of(platform.components, told(platform, **settings), "kubernetes") == []
    plain = PLATFORMS["small"](variables)
    found = problems.of(plain.components, told(plain, **settings), "kubernetes")
    assert {problem.variable for problem in found} == {
        "kubernetes.outlets.publisher",
        "kubernetes.priority_classes.publisher",
    }


def test_playbooks_get_its_steps_and_every_problem_that_it_has(platform: Rendered) -> None:
    dags = {"name": "dags", "size": "10Gi", "storage_class": "standard", "path": "airflow", "groups": [3000]}
    said = {
        "namespace": "airflow-local",
        "image": IMAGE,
        "pull_secrets": ["registry"],
        "outlets": {"publisher": [{"peers": [{"cidr": "192.0.2.0/24"}], "ports": [22]}]},
    }
    steps = publisher_manifests(platform.plan, {**said, "dags": {"new": {**dags, "access_mode": "ReadWriteMany"}}})
    made = manifests.publishing(platform.target.platform, platform.target.cluster)
    assert [step["title"] for step in steps] == [step.title for step in made] == ["DAG storage", "publisher"]
    assert [step["manifests"] for step in steps] == [step.manifests for step in made]
    with pytest.raises(AnsibleFilterError, match=r"airflow_components_kubernetes.dags.new.access_mode"):
        publisher_manifests(platform.plan, {**said, "dags": {"new": dags}})
    with pytest.raises(AnsibleFilterError, match=r"airflow_components_kubernetes.image"):
        publisher_manifests(platform.plan, {**said, "image": "airflow", "dags": {"existing": {"name": "dags"}}})
    with pytest.raises(AnsibleFilterError, match=r"airflow_components_kubernetes.namespace"):
        publisher_manifests(platform.plan, {"image": IMAGE})
