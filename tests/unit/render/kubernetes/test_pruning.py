# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What of a platform is left over, once another one was applied."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import pruning
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered

Named = tuple[str, str]


def without_ml(variables: dict[str, Any]) -> dict[str, Any]:
    """The platform without its second pool, whose place a third one takes."""
    etl, ml = variables["airflow_worker_pools"]
    return {**variables, "airflow_worker_pools": [etl, {**ml, "name": "gpu"}]}


def left(found: list[dict[str, Any]], after: Rendered) -> list[Named]:
    gone = pruning.leftovers(found, after.manifests, after.plan["environment"])
    return [(each["kind"], each["metadata"]["name"]) for each in gone]


def pods_of(rendered: Rendered, *components: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-0", **rendered.pods()[name]["metadata"], "ownerReferences": [{"kind": "X"}]},
            "spec": rendered.pods()[name]["spec"],
        }
        for name in components
    ]


def test_the_same_platform_leaves_nothing(rendered: Rendered) -> None:
    assert left(rendered.manifests, rendered) == []


def test_a_pool_that_is_gone_goes_with_all_that_it_had(variables: dict[str, Any]) -> None:
    before, after = PLATFORMS["small"](variables), PLATFORMS["small"](without_ml(variables))
    gone = left(before.manifests, after)
    of_ml = [
        (each["kind"], each["metadata"]["name"])
        for each in before.manifests
        if each["metadata"]["labels"].get("airstack.backbone/component") == "worker-ml"
    ]
    assert set(of_ml) <= set(gone)
    assert not [name for _kind, name in gone if name.startswith("worker-etl")]


def test_what_runs_goes_before_what_it_reads_and_the_wall_goes_last(variables: dict[str, Any]) -> None:
    before, after = PLATFORMS["small"](variables), PLATFORMS["small"](without_ml(variables))
    kinds = list(dict.fromkeys(kind for kind, _name in left(before.manifests, after)))
    assert kinds.index("StatefulSet") < kinds.index("ConfigMap") < kinds.index("ServiceAccount")
    assert kinds[-1] == "NetworkPolicy"


def test_a_worker_that_drains_keeps_what_it_has_and_its_ways(variables: dict[str, Any]) -> None:
    before, after = PLATFORMS["small"](variables), PLATFORMS["small"](without_ml(variables))
    gone = left([*before.manifests, *pods_of(before, "worker-ml")], after)
    own = [(kind, name) for kind, name in gone if name.startswith("worker-ml")]
    assert {kind for kind, _name in own} == {"PodDisruptionBudget", "StatefulSet", "Service"}


def test_a_former_content_stays_while_a_pod_has_it(variables: dict[str, Any]) -> None:
    changed = {**variables, "airflow_settings": {"core": {"parallelism": "64"}}}
    before, after = PLATFORMS["small"](variables), PLATFORMS["small"](changed)
    found = [*before.manifests, *after.manifests]
    assert {kind for kind, _name in left(found, after)} == {"ConfigMap", "Job"}
    running = pods_of(before, *(each["name"] for each in before.components))
    assert left([*found, *running], after) == [("Job", before.of_kind("Job")[0]["metadata"]["name"])]
    ended = [{**pod, "status": {"phase": "Succeeded"}} for pod in running]
    assert left([*found, *ended], after) == left(found, after)


def test_what_is_not_the_platforms_or_belongs_to_another_object_is_not_touched(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    (one, *_others) = rendered.of_kind("ConfigMap")
    strange, elsewhere, owned, newer = (deepcopy(one) for _each in range(4))
    for number, each in enumerate((strange, elsewhere, owned)):
        each["metadata"]["name"] = f"other-{number}"
    strange["metadata"]["labels"] = None
    elsewhere["metadata"]["labels"]["airstack.backbone/environment"] = "prod"
    owned["metadata"]["ownerReferences"] = [{"kind": "ExternalSecret", "name": "x"}]
    claim = {**rendered.of_kind("PersistentVolumeClaim")[0]}
    claim["metadata"] = {**claim["metadata"], "name": "former-dags"}
    assert left([strange, elsewhere, owned, newer, claim], rendered) == []


def test_another_version_of_an_api_is_the_same_object(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    (ingress,) = rendered.of_kind("Ingress")
    assert left([{**ingress, "apiVersion": "networking.k8s.io/v2"}], rendered) == []
    renamed = {**ingress, "metadata": {**ingress["metadata"], "name": "former"}}
    assert left([renamed], rendered) == [("Ingress", "former")]
