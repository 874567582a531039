# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who may talk to whom: the network policies, read as a cluster reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import network
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import Peer
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    PLATFORMS,
    Rendered,
)

Policy = Mapping[str, Any]
API_PORT = 8080
PORTS = (API_PORT, 8793, 8794, 8974, 5432)

IN_NAMESPACE = {"kubernetes.io/metadata.name": "airflow-local"}


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    wanted = (selector or {}).get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


def is_peer(peer: Mapping[str, Any], pod: Mapping[str, str], namespace: Mapping[str, str]) -> bool:
    """Whether a peer of a rule means a pod with these labels in a namespace with those; policies are in IN_NAMESPACE."""
    if "ipBlock" in peer:
        return False
    is_near = (
        selects(peer["namespaceSelector"], namespace) if "namespaceSelector" in peer else namespace == IN_NAMESPACE
    )
    return is_near and selects(peer.get("podSelector"), pod)


def lets(policies: Sequence[Policy], way: str, own: Mapping[str, str], other: Mapping[str, str], port: int) -> bool:
    """Whether the policies let a pod be reached (Ingress) by another one of its namespace, or reach it (Egress), by TCP."""
    applied = [policy["spec"] for policy in policies if selects(policy["spec"]["podSelector"], own)]
    applied = [spec for spec in applied if way in spec["policyTypes"]]
    if not applied:
        return True
    peers = {"Ingress": "from", "Egress": "to"}[way]
    return any(
        (peers not in rule or any(is_peer(peer, other, IN_NAMESPACE) for peer in rule[peers]))
        and ("ports" not in rule or any(each["port"] == port and each["protocol"] == "TCP" for each in rule["ports"]))
        for spec in applied
        for rule in spec.get(way.lower(), [])
    )


def labels_of(rendered: Rendered) -> dict[str, dict[str, str]]:
    return {name: pod["metadata"]["labels"] for name, pod in rendered.pods().items()}


def ways(rendered: Rendered, policies: Sequence[Policy]) -> set[tuple[str, str, int]]:
    """Every way from one component to another that both ends let through."""
    labels = labels_of(rendered)
    return {
        (source, target, port)
        for source, own in labels.items()
        for target, other in labels.items()
        for port in PORTS
        if lets(policies, "Egress", own, other, port) and lets(policies, "Ingress", other, own, port)
    }


def expected(rendered: Rendered) -> set[tuple[str, str, int]]:
    """What components have to say to each other, said once more: by what they are, and not by their settings."""
    kinds = {each["name"]: each["kind"] for each in rendered.components}
    asking = [name for name, kind in kinds.items() if kind in ("worker", "dag-processor", "triggerer")]
    asking += [name for name in rendered.pods() if name == "publisher"]
    serving = {"worker": 8793, "triggerer": 8794}
    return {(name, "api-server", API_PORT) for name in asking} | {
        ("api-server", name, serving[kind]) for name, kind in kinds.items() if kind in serving
    }


def without_outlets(rendered: Rendered) -> list[dict[str, Any]]:
    """The policies but for where tasks and triggers may go, which may be anywhere."""
    policies = deepcopy(rendered.of_kind("NetworkPolicy"))
    for policy in policies:
        rules = policy["spec"].get("egress", [])
        policy["spec"]["egress"] = [rule for rule in rules if rule.get("ports") and not _far(rule)]
    return policies


def _far(rule: Mapping[str, Any]) -> bool:
    return [peer["ipBlock"]["cidr"] for peer in rule.get("to", []) if "ipBlock" in peer] == ["192.0.2.0/24"]


def test_components_reach_each_other_by_the_models_arrows_and_no_others(rendered: Rendered) -> None:
    assert ways(rendered, without_outlets(rendered)) == expected(rendered)


def test_others_of_the_namespace_are_not_let_in_nor_reached(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["full"](variables)
    policies, labels = without_outlets(rendered), labels_of(rendered)
    twin = {**labels["worker-etl"], "airstack.backbone/environment": "twin"}
    for stranger in ({"app": "stranger"}, twin, {**labels["api-server"], "airstack.backbone/environment": "twin"}):
        for own in labels.values():
            for port in PORTS:
                assert not lets(policies, "Ingress", own, stranger, port)
                assert not lets(policies, "Egress", own, stranger, port)


def test_every_arrow_leaves_its_source_and_enters_its_target(rendered: Rendered) -> None:
    policies, labels = rendered.of_kind("NetworkPolicy"), labels_of(rendered)
    drawn = [arrow for arrow in network.arrows(rendered.components, rendered.target) if arrow.target in labels]
    assert {(arrow.source, arrow.target, arrow.port) for arrow in drawn} == expected(rendered)
    for arrow in drawn:
        assert lets(policies, "Egress", labels[arrow.source], labels[arrow.target], arrow.port)
        assert lets(policies, "Ingress", labels[arrow.target], labels[arrow.source], arrow.port)


def test_a_worker_of_a_pool_that_is_gone_still_reports(variables: dict[str, Any]) -> None:
    before = PLATFORMS["small"](variables)
    etl, ml = variables["airflow_worker_pools"]
    after = PLATFORMS["small"]({**variables, "airflow_worker_pools": [etl, {**ml, "name": "gpu"}]})
    own, api = labels_of(before)["worker-ml"], labels_of(after)["api-server"]
    kept = [each for each in before.of_kind("NetworkPolicy") if each["metadata"]["name"] == "worker-ml"]
    policies = [*after.of_kind("NetworkPolicy"), *kept]
    assert lets(policies, "Egress", own, api, API_PORT)
    assert lets(policies, "Ingress", api, own, API_PORT)


def test_without_its_own_policy_a_pod_reaches_nobody(rendered: Rendered) -> None:
    denied = [each for each in rendered.of_kind("NetworkPolicy") if each["metadata"]["name"] == "default-deny"]
    assert len(denied) == 1
    assert ways(rendered, denied) == set()


def test_what_would_not_be_denied_is_noticed(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    assert len(ways(rendered, [])) == len(rendered.components) ** 2 * len(PORTS)


def test_what_nobody_talks_to_has_no_list_of_rules(rendered: Rendered) -> None:
    """An API server drops an empty one, which would differ at every run."""
    specs = {each["metadata"]["name"]: each["spec"] for each in rendered.of_kind("NetworkPolicy")}
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in specs.values())
    assert [] not in [spec.get(way) for spec in specs.values() for way in ("ingress", "egress")]
    assert [name for name in ("setup", "scheduler", "dag-processor") if "ingress" in specs[name]] == []


def egress(rendered: Rendered, component: str) -> list[dict[str, Any]]:
    (policy,) = [each for each in rendered.of_kind("NetworkPolicy") if each["metadata"]["name"] == component]
    return policy["spec"]["egress"]


def ports_of(rules: list[dict[str, Any]]) -> set[int]:
    return {port["port"] for rule in rules for port in rule.get("ports", [])}


def test_services_are_reached_by_those_who_have_their_credentials(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    reached = {each["name"]: ports_of(egress(rendered, each["name"])) for each in rendered.components}
    dns, database, broker, store = 53, 5432, 5672, 8080
    assert reached["setup"] == {dns, database}
    assert reached["scheduler"] == {dns, database, broker}
    assert reached["dag-processor"] == {dns, database, API_PORT}
    assert reached["worker-ml"] == {dns, database, broker, store, API_PORT}
    assert {"to": [{"ipBlock": {"cidr": "10.0.0.11/32"}}], "ports": [{"port": 5672, "protocol": "TCP"}]} in egress(
        rendered, "scheduler"
    )


def test_a_service_with_a_name_is_reached_anywhere_on_its_port_unless_the_cluster_is_told_where(
    variables: dict[str, Any],
) -> None:
    full_platform = PLATFORMS["full"](variables)
    anywhere = [rule for rule in egress(full_platform, "scheduler") if "to" not in rule]
    assert ports_of(anywhere) == {5671}
    told = [rule for rule in egress(full_platform, "api-server") if ports_of([rule]) == {8080}]
    assert told[0]["to"] == [{"ipBlock": {"cidr": "10.0.0.0/24"}}]
    roles = PLATFORMS["roles"](variables)
    assert [rule for rule in egress(roles, "worker-ml") if ports_of([rule]) == {443}] == 2 * [
        {"ports": [{"port": 443, "protocol": "TCP"}]}
    ]


@pytest.mark.parametrize(
    ("broker", "found"),
    [
        ({"scheme": "amqp", "nodes": [], "host": "mq.example.com", "port": 5672}, [("mq.example.com", 5672)]),
        (
            {"scheme": "sqs", "urls": {"a": "http://127.0.0.1:5000/1/a", "b": "http://127.0.0.1:5000/1/b"}},
            [("127.0.0.1", 5000)],
        ),
        (
            {
                "scheme": "sentinel",
                "nodes": [{"address": "r1", "port": 6379}],
                "sentinel": {"nodes": [{"address": "r1", "port": 26379}]},
            },
            [("r1", 26379), ("r1", 6379)],
        ),
    ],
)
def test_where_a_broker_is(variables: dict[str, Any], broker: dict[str, Any], found: list[tuple[str, int]]) -> None:
    target = PLATFORMS["small"](variables).target
    target.platform.endpoints["broker"].clear()
    target.platform.endpoints["broker"].update(broker)
    assert network.places("broker", target) == found


def test_names_are_resolved_by_whom_the_cluster_says(variables: dict[str, Any]) -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    rendered = PLATFORMS["small"](variables)
    for component in rendered.components:
        first = egress(rendered, component["name"])[0]
        assert first["ports"] == ports
        assert first["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}


def test_people_enter_from_where_the_entrance_is(variables: dict[str, Any]) -> None:
    def entering(name: str) -> list[dict[str, Any]]:
        rendered = PLATFORMS[name](variables)
        (policy,) = [each for each in rendered.of_kind("NetworkPolicy") if each["metadata"]["name"] == "api-server"]
        return [rule for rule in policy["spec"]["ingress"] if "podSelector" not in rule.get("from", [{}])[0]]

    assert entering("small") == [{"ports": [{"port": API_PORT, "protocol": "TCP"}]}]
    (rule,) = entering("full")
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}]


def test_tasks_and_triggers_go_where_their_outlets_are(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["full"](variables)
    assert egress(rendered, "worker-etl")[-1] == {
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "ports": [{"port": 443, "protocol": "TCP"}, {"port": 5432, "protocol": "TCP"}],
    }
    assert egress(rendered, "worker-ml")[-1] == {}
    assert egress(rendered, "triggerer-etl")[-1] == {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}
    assert {} not in egress(rendered, "scheduler")


def test_all_peers_are_possible() -> None:
    assert network._peer(Peer(pods={})) == {"podSelector": {"matchLabels": {}}}
    assert network._peer(Peer(namespace={}, pods={"a": "b"})) == {
        "namespaceSelector": {"matchLabels": {}},
        "podSelector": {"matchLabels": {"a": "b"}},
    }
