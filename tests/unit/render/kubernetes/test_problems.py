# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a cluster cannot be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import problems
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    Cluster,
    ExistingSecrets,
    Nodes,
    Outlet,
    Peer,
    Scaling,
    Toleration,
)
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import (
    PLATFORMS,
    Rendered,
    render,
    small,
)

COMPONENTS = "api-server, scheduler, dag-processor, triggerer, worker-etl, worker-ml"


def found(variables: dict[str, Any], **changes: Any) -> dict[str, str]:
    rendered = PLATFORMS["small"](variables)
    target = replace(rendered.target, cluster=replace(rendered.target.cluster, **changes))
    wrong = problems.of(rendered.components, target, "kubernetes")
    return {problem.variable.removeprefix("kubernetes."): problem.right for problem in wrong}


def test_what_works_has_no_problems(rendered: Rendered) -> None:
    assert problems.of(rendered.components, rendered.target, "kubernetes") == []


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (
            {"image": "registry.example.com/airflow:3.3.2"},
            {"image": "an image by its digest, such as registry.example.com/airflow@sha256:0123..."},
        ),
        ({"scaling": {"worker_etl": Scaling(1, 2)}}, {"scaling.worker_etl": f"one of {COMPONENTS}"}),
        ({"scaling": {"setup": Scaling(1, 2)}}, {"scaling.setup": f"one of {COMPONENTS}"}),
        (
            {"scaling": {"worker-etl": Scaling(0, 0)}},
            {"scaling.worker-etl.least": "1 or more", "scaling.worker-etl.most": "1 or more"},
        ),
        ({"scaling": {"worker-etl": Scaling(0, 2)}, "has_keda": True}, {}),
        ({"scaling": {"scheduler": Scaling(0, 2)}, "has_keda": True}, {"scaling.scheduler.least": "1 or more"}),
        ({"scaling": {"scheduler": Scaling(3, 2)}}, {"scaling.scheduler.most": "3 or more"}),
        ({"outlets": {"worker-m": [Outlet()]}}, {"outlets.worker-m": f"one of setup, {COMPONENTS}, worker"}),
        ({"reach": {"redis": [Peer(pods={})]}}, {"reach.redis": "one of database, broker, log_store"}),
        ({"annotations": {"worker": {}}}, {"annotations.worker": f"one of setup, {COMPONENTS}"}),
        ({"nodes": {"worker-gpu": Nodes()}}, {"nodes.worker-gpu": f"one of setup, {COMPONENTS}, worker, gate"}),
        ({"nodes": {"worker": Nodes(tolerations=[Toleration(operator="Exists")])}}, {}),
        ({"nodes": {"gate": Nodes()}}, {}),
        (
            {"nodes": {"worker": Nodes(tolerations=[Toleration("gpu", "Exists"), Toleration(value="a", seconds=1)])}},
            {
                "nodes.worker.tolerations[1].operator": "Exists, since no key says what shall be equal",
                "nodes.worker.tolerations[1].seconds": "left out, or with the effect NoExecute",
            },
        ),
        (
            {"nodes": {"worker": Nodes(tolerations=[Toleration("gpu", "Exists", "a100")])}},
            {"nodes.worker.tolerations[0].value": "left out, or with the operator Equal"},
        ),
        (
            {"priority_classes": {"workers": "high"}},
            {"priority_classes.workers": f"one of setup, {COMPONENTS}, worker, gate"},
        ),
    ],
)
def test_what_does_not_is_said_with_what_would(variables: dict[str, Any], changes: Any, wrong: dict[str, str]) -> None:
    assert found(variables, **changes) == wrong


def test_keda_cannot_ask_the_clusters_own_broker(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["development"](variables)
    told = replace(rendered.target.cluster, has_keda=True, scaling={"worker-ml": Scaling(0, 2)})
    (problem,) = problems.of(rendered.components, replace(rendered.target, cluster=told), "kubernetes")
    assert problem.variable == "kubernetes.has_keda"
    assert "lets nobody in from KEDA's namespace" in problem.right


@pytest.mark.parametrize("followed", [{"worker-etl": Scaling(1, 2)}, {"scheduler": Scaling(1, 2)}])
def test_the_platforms_own_redis_lets_keda_ask_nothing(variables: dict[str, Any], followed: dict[str, Scaling]) -> None:
    def cluster(components: Any, values: dict[str, dict[str, str]]) -> Cluster:
        return replace(small(components, values), has_keda=True, scaling=followed)

    rendered = render({**variables, "airflow_broker_provider": "redis"}, {}, cluster)
    wrong = problems.of(rendered.components, rendered.target, "kubernetes")
    assert [problem.variable for problem in wrong] == (["kubernetes.has_keda"] if "worker-etl" in followed else [])


def test_workers_go_to_the_api_server_and_to_nothing_before_it(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"]({**variables, "airflow_api_internal_url": "https://airflow.example.com"})
    (wrong,) = problems.of(rendered.components, rendered.target, "kubernetes")
    assert str(wrong) == (
        "airflow_api_internal_url: found 'https://airflow.example.com/execution/';"
        " should be left out: pods find the API server at http://api-server:8080/"
    )


def test_a_secret_that_nobody_named_is_said_with_what_it_holds(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    names = {each["name"]: each["name"] for each in rendered.components if each["kind"] != "dag-processor"}
    told = {"secrets": ExistingSecrets(names), "has_keda": True, "scaling": {"worker-ml": Scaling(1, 2)}}
    assert found(variables, **told) == {
        "secrets.existing.names.dag-processor": "the name of a Secret that holds sql_alchemy_conn, fernet_key",
        "secrets.existing.names.scaler-worker-ml": "the name of a Secret that holds host",
    }
