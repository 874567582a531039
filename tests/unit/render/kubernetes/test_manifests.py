# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The manifests of whole platforms: as they were last looked at, and against the schemas of Kubernetes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from kubernetes_validate import utils

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import cluster, storage
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.pruning import PRUNED
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import dag_volume
from ansible_collections.airstack.backbone.tests.unit.render import golden_files
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered

NEWEST = kubernetes_validate.latest_version()

SHOWN: dict[str, tuple[str, ...] | None] = {
    "small": None,
    "full": ("namespace", "network policies", "secrets", "DAG storage", "api-server", "worker", "entrance"),
    "roles": ("worker", "entrance"),
    "publisher": ("DAG storage", "publisher"),
    "development": ("network policies",),
}
"""The steps of each platform that have a golden file: of the first one all, of the others what they have of their own."""

BACKINGS: dict[str, storage.Backing] = {
    "nfs": storage.Nfs("10.0.0.15", "/srv/airflow/dags"),
    "efs": storage.Efs("fs-0123456789abcdef0", "fsap-0123456789abcdef0"),
    "persistent_disk": storage.PersistentDisk("projects/data/zones/europe-west4-a/disks/airflow-dags"),
}

CUSTOM: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    # https://keda.sh/docs/latest/reference/scaledobject-spec/ and keda.sh_scaledobjects.yaml of kedacore/keda
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "spec": ("scaleTargetRef", "triggers"),
        "spec.scaleTargetRef": ("name",),
        "spec.triggers[]": ("type", "metadata", "authenticationRef"),
        "spec.triggers[].authenticationRef": ("name",),
    },
    # https://keda.sh/docs/latest/concepts/authentication/ and keda.sh_triggerauthentications.yaml
    ("keda.sh/v1alpha1", "TriggerAuthentication"): {
        "spec.secretTargetRef[]": ("parameter", "name", "key"),
        "spec.podIdentity": ("provider",),
    },
    # https://external-secrets.io/latest/api/externalsecret/ and external-secrets.io_externalsecrets.yaml
    ("external-secrets.io/v1", "ExternalSecret"): {
        "spec": ("secretStoreRef", "target", "data", "refreshInterval"),
        "spec.secretStoreRef": ("name", "kind"),
        "spec.target": ("name",),
        "spec.data[]": ("secretKey", "remoteRef"),
        "spec.data[].remoteRef": ("key", "property"),
    },
    # https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspec
    ("gateway.networking.k8s.io/v1", "Gateway"): {
        "spec": ("gatewayClassName", "listeners"),
        "spec.listeners[]": ("name", "port", "protocol", "tls"),
        "spec.listeners[].tls.certificateRefs[]": ("name",),
    },
    # https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec; a Service's port is needed, though the schema lets it be
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {
        "spec": ("parentRefs", "hostnames", "rules"),
        "spec.parentRefs[]": ("name",),
        "spec.rules[].backendRefs[]": ("name", "port"),
    },
}
"""What kinds that are not Kubernetes' own need, by the path of the part that needs it, with where that is said."""


class Readable(yaml.SafeDumper):
    """Texts of several lines as such, and everything where it stands."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


Readable.add_representer(str, _text)


def readable(manifests: list[dict[str, Any]]) -> str:
    return yaml.dump_all(manifests, Dumper=Readable, sort_keys=False, width=1000, explicit_start=True)


def files_of(rendered: Rendered, titles: tuple[str, ...] | None) -> dict[str, str]:
    """A file for each step, in their order. No linter takes it for its own: it may have lines as long as they have to be."""
    return {
        f"/{number:02}-{step.title.replace(', ', '+').replace(' ', '-').lower()}": readable([*step.manifests])
        for number, step in enumerate(rendered.steps, start=1)
        if titles is None or step.title in titles
    }


@pytest.mark.parametrize("name", PLATFORMS)
def test_manifests_are_the_golden_ones(name: str, variables: dict[str, Any]) -> None:
    made = files_of(PLATFORMS[name](variables), SHOWN[name])
    assert made == golden_files.of(f"kubernetes/{name}", made)


@pytest.fixture(name="validate", scope="module")
def cached_validation() -> Iterator[Callable[[Mapping[str, Any], str], str]]:
    """Strict validation, which reads each schema once and not once for each manifest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield lambda manifest, version: kubernetes_validate.validate(dict(manifest), version, strict=True)


def is_custom(manifest: Mapping[str, Any]) -> bool:
    return (manifest["apiVersion"], manifest["kind"]) in CUSTOM


@pytest.mark.parametrize("version", [cluster.OLDEST, NEWEST])
def test_manifests_keep_to_the_schemas(validate: Any, rendered: Rendered, version: str) -> None:
    checked = [validate(manifest, version) for manifest in rendered.manifests if not is_custom(manifest)]
    assert {*checked} == {utils.major_minor(version)}


@pytest.mark.parametrize("version", [cluster.OLDEST, NEWEST])
def test_what_a_schema_does_not_know_is_noticed(validate: Any, variables: dict[str, Any], version: str) -> None:
    for manifest in PLATFORMS["small"](variables).of_kind("Deployment", "StatefulSet", "NetworkPolicy", "Job"):
        wrong = deepcopy(manifest)
        wrong["spec"]["replica"] = 1
        with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
            validate(wrong, version)


def parts(whole: Any, path: str) -> list[dict[str, Any]]:
    """The parts of a manifest at a path, in which [] stands for each of a list; none where it is absent."""
    found = [whole]
    for step in path.split("."):
        key = step.removesuffix("[]")
        inner = [part[key] for part in found if key in part]
        found = [each for part in inner for each in part] if step.endswith("[]") else inner
    return found


def test_custom_kinds_have_what_their_documentation_asks_for(variables: dict[str, Any]) -> None:
    seen = set()
    for name in PLATFORMS:
        for manifest in filter(is_custom, PLATFORMS[name](variables).manifests):
            for path, needed in CUSTOM[manifest["apiVersion"], manifest["kind"]].items():
                for part in parts(manifest, path):
                    seen.add((manifest["kind"], path))
                    assert not set(needed) - set(part), (manifest["kind"], path)
    assert seen == {(kind, path) for (_api, kind), paths in CUSTOM.items() for path in paths}


def test_a_triggers_metadata_is_text_alone(rendered: Rendered) -> None:
    for scaled in rendered.of_kind("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            assert {type(value) for value in trigger["metadata"].values()} == {str}


@pytest.mark.parametrize("version", [cluster.OLDEST, NEWEST])
def test_volumes_keep_to_the_schemas_and_are_for_their_claim(
    validate: Any, variables: dict[str, Any], version: str
) -> None:
    rendered = PLATFORMS["small"](variables)
    claimed = rendered.target.cluster.dags
    assert isinstance(claimed, cluster.NewClaim)
    (claim,) = rendered.of_kind("PersistentVolumeClaim")
    for backing in BACKINGS.values():
        volume = storage.volume(claimed, backing, "local", "airflow-local")
        validate(volume, version)
        assert volume["metadata"]["name"] == claim["spec"]["volumeName"]
        assert volume["spec"]["accessModes"] == claim["spec"]["accessModes"]
        assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"]
        assert volume["spec"]["capacity"] == claim["spec"]["resources"]["requests"]
        assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"]


def test_volumes_are_the_golden_ones(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    claimed = rendered.target.cluster.dags
    assert isinstance(claimed, cluster.NewClaim)
    made = {
        f"/{name}": readable([storage.volume(claimed, backing, "local", "airflow-local")])
        for name, backing in BACKINGS.items()
    }
    assert made == golden_files.of("kubernetes/volumes", made)


def test_playbooks_get_a_volume_and_every_problem_that_it_has() -> None:
    told = {"namespace": "airflow-local", "dags": {"new": {"name": "dags", "size": "10Gi", "volume": "airflow-dags"}}}
    nfs = {"nfs": {"server": "10.0.0.15", "path": "/srv/airflow/dags"}}
    made = dag_volume({"environment": "local"}, told, nfs)
    assert (made["spec"]["nfs"]["readOnly"], made["spec"]["mountOptions"]) == (True, ["nfsvers=4.2", "hard", "ro"])
    written = {**told, "dags": {"new": {**told["dags"]["new"], "access_mode": "ReadWriteMany"}}}  # type: ignore[dict-item]
    made = dag_volume({"environment": "local"}, written, nfs)
    assert (made["spec"]["nfs"]["readOnly"], made["spec"]["mountOptions"]) == (False, ["nfsvers=4.2", "hard"])
    with pytest.raises(
        AnsibleFilterError, match=r"airflow_dag_volume: found nothing; .*keys nfs, efs, persistent_disk"
    ):
        dag_volume({"environment": "local"}, told, None)
    with pytest.raises(AnsibleFilterError, match=r"dags: found (.|\n)*new, with a volume"):
        dag_volume({"environment": "local"}, {**told, "dags": {"existing": {"name": "dags"}}}, nfs)
    with pytest.raises(AnsibleFilterError, match="what the cluster is told"):
        dag_volume({"environment": "local"}, None, nfs)


def test_no_two_manifests_are_one_object(rendered: Rendered) -> None:
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in rendered.manifests]
    assert len({*names}) == len(names)


def test_all_is_labelled_and_of_a_kind_that_is_pruned_or_kept_on_purpose(rendered: Rendered) -> None:
    for manifest in rendered.manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "airstack.backbone"
        assert labels["airstack.backbone/environment"] == rendered.plan["environment"]
        is_kept = manifest["kind"] in ("Namespace", "PersistentVolumeClaim")
        assert ((manifest["apiVersion"], manifest["kind"]) in PRUNED) != is_kept


def test_nothing_is_made_outside_of_the_namespace_but_itself_where_that_is_told(rendered: Rendered) -> None:
    told = rendered.target.cluster
    assert {each["metadata"].get("namespace") for each in rendered.manifests if each["kind"] != "Namespace"} == {
        told.namespace
    }
    assert len(rendered.of_kind("Namespace")) == int(told.creates_namespace)
    assert rendered.of_kind("ClusterRole", "PersistentVolume", "PriorityClass", "Role", "RoleBinding") == []
