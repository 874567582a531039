# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Services of the platform's own in a cluster: their manifests, who reaches them, and what is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import (
    cluster,
    progress,
    pruning,
    services,
)
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.manifests import Step
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.kubernetes import (
    component_search,
    service_manifests,
)
from ansible_collections.airstack.backbone.tests.unit.render import golden_files
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.test_manifests import NEWEST, readable
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.test_network import labels_of, lets
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.test_pod_security import containers, violations

PORTS = {"database": 5432, "broker": 5672, "object-store": 8080}
DATABASE = services.Service(
    name="database",
    purpose="database",
    account="postgres",
    port=PORTS["database"],
    files={"start.sh": "exec postgres\n", "postgresql.conf": "port = 5432\n"},
    secrets={"roles.sql": "ALTER ROLE airflow_local PASSWORD 'SCRAM-SHA-256$4096:of-the-database';\n"},
    environment={"PGPORT": "5432", "PROMPT": "$(hostname)"},
)
BROKER = services.Service(
    name="broker",
    purpose="broker",
    account="rabbitmq",
    port=PORTS["broker"],
    files={"start.sh": "exec rabbitmq-server\n"},
    secrets={"definitions.json": "{}\n"},
    after_start=["/bin/sh", "/etc/airstack/eval.sh", "apply.erl"],
)
STORE = services.Service(
    name="object-store",
    purpose="log_store",
    account="swift",
    port=PORTS["object-store"],
    folder="/etc/swift",
    files={"start.sh": "exec swift-proxy-server\n", "swift.conf": "[swift-hash]\n"},
    secrets={"proxy-server.conf": "[filter:tempauth]\n"},
)
SERVICES = (DATABASE, BROKER, STORE)
TOLD = services.Told("docker.io/library/postgres:17", services.new_claim(name="database", size="5Gi"))
PLACE = services.Place("local", "airflow-local")
KEY = "a-key-that-nobody-knows"

SERVICE: dict[str, Any] = {
    "name": "database",
    "purpose": "database",
    "account": "postgres",
    "port": "5432",
    "files": {"start.sh": "exec postgres\n"},
    "secrets": {"roles.sql": "a-verifier"},
    "environment": {"PGPORT": 5432},
}
SAID: dict[str, Any] = {"image": "postgres:17", "claim": {"existing": {"name": "data"}}}
CLUSTER: dict[str, Any] = {"namespace": "airflow-local", "dags": {"existing": {"name": "dags"}}, "user": "1000"}
PLAN = {"environment": "local"}
SECRETS = {"fernet_key": KEY}


def made(service: services.Service = DATABASE, told: services.Told = TOLD, place: services.Place = PLACE) -> list[Step]:
    return services.steps(service, told, place, KEY)


def manifests_of(steps: list[Step]) -> list[dict[str, Any]]:
    return [manifest for step in steps for manifest in step.manifests]


def one(steps: list[Step], kind: str) -> dict[str, Any]:
    (found,) = (each for each in manifests_of(steps) if each["kind"] == kind)
    return found


def content(steps: list[Step]) -> str:
    return str(one(steps, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["airstack.backbone/content"])


def test_manifests_are_the_golden_ones() -> None:
    made_files = {f"/{service.name}": readable(manifests_of(made(service))) for service in SERVICES}
    assert made_files == golden_files.of("kubernetes/services", made_files)


def test_it_runs_where_the_cluster_is_told() -> None:
    told = {**CLUSTER, "nodes": {"database": {"selector": {"disk": "fast"}}}, "priority_classes": {"database": "high"}}
    for service, where in (("database", ({"disk": "fast"}, "high")), ("broker", (None, None))):
        steps = [Step(**step) for step in service_manifests(PLAN, {**SERVICE, "name": service}, SAID, told, SECRETS)]
        spec = one(steps, "StatefulSet")["spec"]["template"]["spec"]
        assert (spec.get("nodeSelector"), spec.get("priorityClassName")) == where


@pytest.mark.parametrize("version", [cluster.OLDEST, NEWEST])
def test_manifests_keep_to_the_schemas(version: str) -> None:
    limited = replace(TOLD, resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}})
    place = replace(PLACE, creates_namespace=True, pull_secrets=["registry"])
    for service in SERVICES:
        for manifest in manifests_of(made(service, limited, place)):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("user", [50000, 0])
def test_the_pod_is_restricted_and_nobody_writes_to_its_image(user: int) -> None:
    spec = one(made(place=replace(PLACE, user=user)), "StatefulSet")["spec"]["template"]["spec"]
    assert list(violations(spec)) == []
    assert [each["securityContext"]["readOnlyRootFilesystem"] for each in containers(spec)] == [True, True]
    assert spec["automountServiceAccountToken"] is False
    assert ("runAsUser" in spec["securityContext"], "fsGroup" in spec["securityContext"]) == (bool(user), bool(user))


def test_nothing_waits_for_what_comes_later() -> None:
    steps = made(place=replace(PLACE, creates_namespace=True))
    assert [(step.title, step.wait) for step in steps] == [
        ("namespace", "exists"),
        ("wall, files and volume of the database", "exists"),
        ("secrets of the database", "exists"),
        ("database", "rolled_out"),
    ]
    assert [each["kind"] for each in steps[-1].manifests] == ["Service", "StatefulSet"]


def test_secrets_are_in_the_secret_alone() -> None:
    secret = one(made(), "Secret")
    assert base64.b64decode(secret["data"]["roles.sql"]).decode() == DATABASE.secrets["roles.sql"]
    others = [each for each in manifests_of(made()) if each["kind"] != "Secret"]
    assert "of-the-database" not in json.dumps(others)
    assert "of-the-database" not in repr(DATABASE)


def test_another_content_starts_the_pod_anew_and_the_same_does_not() -> None:
    assert content(made()) == content(made())
    other_secret = replace(DATABASE, secrets={"roles.sql": "another"})
    other_file = replace(DATABASE, files={**DATABASE.files, "postgresql.conf": "port = 5433\n"})
    assert len({content(made(service)) for service in (DATABASE, other_secret, other_file)}) == 3
    assert content(services.steps(DATABASE, TOLD, PLACE, "another key")) != content(made())


def test_a_service_whose_programs_look_in_one_place_has_its_files_there() -> None:
    (container,) = one(made(STORE), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["/bin/sh", "/etc/swift/start.sh"]
    (folder,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "files")
    assert folder == "/etc/swift"


def test_secrets_that_differ_are_told_where_their_values_are_hidden() -> None:
    told = [
        one(made(service), "Secret")["metadata"]["annotations"]
        for service in (DATABASE, replace(DATABASE, secrets={"roles.sql": "another"}))
    ]
    assert told[0] != told[1]


def test_words_of_a_variable_are_taken_literally() -> None:
    (container,) = one(made(), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert {"name": "PROMPT", "value": "$$(hostname)"} in container["env"]


def test_nobodys_pruning_takes_it_away() -> None:
    pods = [{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}, "spec": {"containers": []}}]
    assert pruning.leftovers([*manifests_of(made()), *manifests_of(made(BROKER)), *pods], [], "local") == []


@pytest.fixture(name="development")
def platform_with_its_services(variables: dict[str, Any]) -> Rendered:
    return PLATFORMS["development"](variables)


def test_components_and_services_reach_each_other_by_the_models_arrows(development: Rendered) -> None:
    own = {service.name: one(made(service), "StatefulSet")["spec"]["template"] for service in SERVICES}
    labels = {**labels_of(development), **{name: pod["metadata"]["labels"] for name, pod in own.items()}}
    policies = [
        *development.of_kind("NetworkPolicy"),
        *(one(made(service), "NetworkPolicy") for service in SERVICES),
    ]
    reached = {
        (source, target)
        for source in labels
        for target, port in PORTS.items()
        if lets(policies, "Egress", labels[source], labels[target], port)
        and lets(policies, "Ingress", labels[target], labels[source], port)
    }
    clients = {
        "database": "sql_alchemy_conn result_backend",
        "broker": "broker_url",
        "object-store": "aws_credentials",
    }
    publisher = {("publisher", service) for service in ("broker", "object-store")}
    assert reached == publisher | {
        (component["name"], service)
        for component in development.components
        for service, credentials in clients.items()
        if set(credentials.split()) & set(component["credentials"])
    } | {("publisher", "broker")}
    stranger = {**labels["worker-etl"], "airstack.backbone/environment": "twin"}
    assert not lets(policies, "Ingress", labels["database"], stranger, PORTS["database"])
    assert not lets(policies, "Egress", labels["database"], labels["worker-etl"], 8793)


def test_a_component_goes_to_the_clusters_own_services_and_nowhere_else(development: Rendered) -> None:
    (policy,) = [each for each in development.of_kind("NetworkPolicy") if each["metadata"]["name"] == "worker-etl"]
    rules = [
        (port["port"], peer["podSelector"]["matchLabels"].get("airstack.backbone/service"))
        for rule in policy["spec"]["egress"]
        for port in rule["ports"]
        for peer in rule.get("to", [{"podSelector": {"matchLabels": {}}}])
        if port["port"] in PORTS.values()
    ]
    # Where the object store is, the API server is as well.
    assert sorted(rules, key=str) == [(5432, "database"), (5672, "broker"), (8080, "object-store"), (8080, None)]
    assert all(rule.get("to") for rule in policy["spec"]["egress"])


def test_its_pod_is_told_from_those_of_others_and_from_the_one_before() -> None:
    workload = one(made(), "StatefulSet")
    crashing = {"name": "service", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 9}

    def pod(steps: list[Step]) -> dict[str, Any]:
        template = one(steps, "StatefulSet")["spec"]["template"]
        status = {"phase": "Running", "conditions": [], "containerStatuses": [crashing]}
        return {"metadata": {**template["metadata"], "name": "database-0"}, "spec": template["spec"], "status": status}

    found = {**workload, "status": {"replicas": 1}}
    before = made(replace(DATABASE, secrets={"roles.sql": "another"}))
    assert progress.look([workload], [found], [pod(made())])["state"] == "failed"
    assert progress.look([workload], [found], [pod(made())])["stuck"][0]["container"] == "service"
    assert progress.look([workload], [found], [pod(before)])["state"] == "waiting"
    assert progress.look([workload], [found], [pod(made(BROKER))])["state"] == "waiting"


def test_playbooks_get_what_is_rendered() -> None:
    steps = service_manifests(PLAN, SERVICE, SAID, CLUSTER, SECRETS)
    assert [step["title"] for step in steps][-1] == "database"
    assert json.loads(json.dumps(steps)) == steps
    spec = steps[-1]["manifests"][1]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsUser"] == 1000
    assert {"name": "PGPORT", "value": "5432"} in spec["containers"][0]["env"]
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data"}
    assert "PersistentVolumeClaim" not in [each["kind"] for step in steps for each in step["manifests"]]


def test_its_pods_are_found_by_its_own_labels() -> None:
    labels = one(made(), "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert dict(label.split("=") for label in component_search(PLAN, "database")["labels"]).items() <= labels.items()
    assert not dict(label.split("=") for label in component_search(PLAN)["labels"]).items() <= labels.items()


@pytest.mark.parametrize(
    ("told", "place", "found"),
    [
        ({**SAID, "image": None}, CLUSTER, "airflow_database_kubernetes.image: found nothing"),
        ({**SAID, "tls": True}, CLUSTER, "airflow_database_kubernetes.tls: found True"),
        ({"image": "postgres:17"}, CLUSTER, "airflow_database_kubernetes.claim: found nothing"),
        ({**SAID, "claim": {"new": {"name": "x", "size": "5 GB"}}}, CLUSTER, "claim.new.size: found '5 GB'"),
        (SAID, None, "airflow_components_kubernetes: found nothing"),
        (SAID, {"namespace": "Airflow"}, "airflow_components_kubernetes.namespace: found 'Airflow'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(told: Any, place: Any, found: str) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        service_manifests(PLAN, SERVICE, told, place, SECRETS)
    assert found in str(refused.value)
    assert "a-verifier" not in str(refused.value)


def test_what_is_refused_is_called_as_its_role_calls_it() -> None:
    store = {**SERVICE, "name": "object-store", "purpose": "log_store"}
    with pytest.raises(AnsibleFilterError, match=r"airflow_object_store_kubernetes.claim: found nothing"):
        service_manifests(PLAN, store, {"image": "swift"}, CLUSTER, SECRETS)
