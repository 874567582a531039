# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Pod Security Standard `restricted`, as its table says it, and every pod against it.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest

from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered

Spec = dict[str, Any]

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for kind in ("initContainers", "containers", "ephemeralContainers") for each in spec.get(kind, [])]


def violations(spec: Mapping[str, Any]) -> Iterator[str]:
    """The controls that a pod does not keep to, by the names that the standard gives them."""
    pod = spec.get("securityContext", {})
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "Host Namespaces"
    if pod.get("sysctls"):
        yield "Sysctls"
    if any(set(volume) - {"name"} - VOLUMES for volume in spec.get("volumes", [])):
        yield "Volume Types"
    if any("hostPort" in port for each in containers(spec) for port in each.get("ports", [])):
        yield "Host Ports"
    if pod.get("runAsUser") == 0:
        yield "Running as Non-root user (pod)"
    for each in containers(spec):
        yield from (f"{control} ({each['name']})" for control in _of_container(each.get("securityContext", {}), pod))


def _of_container(context: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    capabilities = context.get("capabilities", {})
    if context.get("privileged"):
        yield "Privileged Containers"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "Privilege Escalation"
    if not context.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield "Running as Non-root"
    if context.get("runAsUser") == 0:
        yield "Running as Non-root user"
    if context.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in SECCOMP:
        yield "Seccomp"
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "Capabilities"
    if context.get("procMount", "Default") != "Default":
        yield "/proc Mount Type"


def test_every_pod_is_restricted(rendered: Rendered) -> None:
    pods = rendered.pods()
    assert {name: list(violations(pod["spec"])) for name, pod in pods.items()} == {name: [] for name in pods}


def _first_container(spec: Spec) -> dict[str, Any]:
    return spec["containers"][0]["securityContext"]


WRONG: dict[str, Callable[[Spec], object]] = {
    "Host Namespaces": lambda spec: spec.update(hostPID=True),
    "Sysctls": lambda spec: spec["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "Volume Types": lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "Host Ports": lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80),
    "Running as Non-root user (pod)": lambda spec: spec["securityContext"].update(runAsUser=0),
    "Privileged Containers (airflow)": lambda spec: _first_container(spec).update(privileged=True),
    "Privilege Escalation (airflow)": lambda spec: _first_container(spec).pop("allowPrivilegeEscalation"),
    "Running as Non-root (airflow)": lambda spec: _first_container(spec).update(runAsNonRoot=False),
    "Running as Non-root user (airflow)": lambda spec: _first_container(spec).update(runAsUser=0),
    "Seccomp (airflow)": lambda spec: _first_container(spec).update(seccompProfile={"type": "Unconfined"}),
    "Capabilities (airflow)": lambda spec: _first_container(spec)["capabilities"].update(add=["SYS_ADMIN"]),
    "/proc Mount Type (airflow)": lambda spec: _first_container(spec).update(procMount="Unmasked"),
}


@pytest.mark.parametrize("control", WRONG)
def test_a_pod_that_is_not_is_noticed(control: str, variables: dict[str, Any]) -> None:
    spec = deepcopy(PLATFORMS["small"](variables).pods()["worker-etl"]["spec"])
    WRONG[control](spec)
    assert list(violations(spec)) == [control]


def test_the_first_containers_are_looked_at_too(variables: dict[str, Any]) -> None:
    spec = deepcopy(PLATFORMS["small"](variables).pods()["worker-etl"]["spec"])
    (first,) = spec["initContainers"]
    del first["securityContext"]
    found = list(violations(spec))
    assert "Capabilities (look-for-dags)" in found
    assert "Privilege Escalation (look-for-dags)" in found


def test_nobody_writes_to_an_image_and_all_have_the_same(rendered: Rendered) -> None:
    for pod in rendered.pods().values():
        for container in containers(pod["spec"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["image"] == rendered.target.cluster.image


def test_no_pod_has_a_token_of_the_cluster(rendered: Rendered) -> None:
    accounts = {each["metadata"]["name"]: each for each in rendered.of_kind("ServiceAccount")}
    for pod in rendered.pods().values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert accounts[pod["spec"]["serviceAccountName"]]["automountServiceAccountToken"] is False
    used = [pod["spec"]["serviceAccountName"] for pod in rendered.pods().values()]
    assert sorted(used) == sorted(accounts)


def components(rendered: Rendered) -> list[dict[str, Any]]:
    """The pods but for the one that publishes."""
    return [pod for name, pod in rendered.pods().items() if name != "publisher"]


def test_what_is_written_goes_to_volumes_of_the_pod(rendered: Rendered) -> None:
    for pod in components(rendered):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for container in containers(pod["spec"]):
            writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
            assert all("emptyDir" in volumes[mount["name"]] for mount in writable)
        places = {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert {"/tmp", "/var/log/airflow"} <= places
