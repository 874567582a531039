# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a run says where a pod does not come to work, asked of a server that answers as a cluster's does."""

from __future__ import annotations

import json
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import naming
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer, Run

NAMESPACE = "airflow-local"
POD = "scheduler-7d9-x2x"
LOG = f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}/log"

Answer = tuple[int, Any]


def listed(api: str, *kinds: tuple[str, str], subresources: tuple[str, ...] = ()) -> Answer:
    """What a cluster says that an API has."""
    named = [*kinds, *((name, "Pod") for name in subresources)]
    resources = [
        {"name": name, "singularName": "", "kind": kind, "namespaced": True, "verbs": ["get", "list"]}
        for name, kind in named
    ]
    return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}


def refused(code: int, reason: str, message: str) -> Answer:
    """What a cluster says where it gives nothing."""
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def crashing(rendered: Rendered) -> dict[str, Any]:
    """A Deployment that never has a pod that works, and that pod."""
    (deployment,) = [each for each in rendered.of_kind("Deployment") if each["metadata"]["name"] == "scheduler"]
    template = deployment["spec"]["template"]
    state = {
        "name": "airflow",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }
    return {
        "deployments": {**deployment, "status": {"observedGeneration": 1}},
        "pods": {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]},
            "spec": template["spec"],
            "status": {"phase": "Running", "containerStatuses": [state]},
        },
    }


class Cluster(AbstractContextManager["Cluster"]):
    """A cluster with a pod that crashes again and again."""

    def __init__(self, folder: Path, rendered: Rendered, log: Answer) -> None:
        self.rendered = rendered
        found = crashing(rendered)
        group = {"groupVersion": "apps/v1", "version": "v1"}
        self._answers: dict[str, Answer] = {
            "/version": (200, {"major": "1", "minor": "33"}),
            "/api": (200, {"kind": "APIVersions", "versions": ["v1"]}),
            "/apis": (
                200,
                {"kind": "APIGroupList", "groups": [{"name": "apps", "versions": [group], "preferredVersion": group}]},
            ),
            "/api/v1": listed("v1", ("pods", "Pod"), subresources=("pods/log",)),
            "/apis/apps/v1": listed("apps/v1", ("deployments", "Deployment")),
            f"/api/v1/namespaces/{NAMESPACE}/pods": (200, _list("v1", "Pod", found["pods"])),
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments": (
                200,
                _list("apps/v1", "Deployment", found["deployments"]),
            ),
            LOG: log,
        }
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._access()), encoding="utf-8")

    def _access(self) -> dict[str, Any]:
        cluster = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0].rstrip("/")
                code, body = answers.get(path, refused(404, "NotFound", f"{path} is not there"))
                content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                """Nothing: what was asked is in nobody's way."""

        return Handler

    def __exit__(self, *_raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _list(api: str, kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": f"{kind}List", "metadata": {}, "items": list(items)}


@pytest.fixture(name="rendered")
def small_platform(variables: dict[str, Any]) -> Rendered:
    return PLATFORMS["small"](variables)


def waited(folder: Path, cluster: Cluster) -> Run:
    """A run that waits for the schedulers."""
    (manifest,) = [each for each in cluster.rendered.of_kind("Deployment") if each["metadata"]["name"] == "scheduler"]
    environment = cluster.rendered.plan["environment"]
    given = {
        "step": {"title": "scheduler", "wait": "rolled_out", "manifests": [manifest]},
        "airflow_components_kubernetes": {"namespace": NAMESPACE},
        "airflow_components_kubernetes_kubeconfig": str(cluster.kubeconfig),
        "__airflow_components_waits": {"api_version": "apps/v1", "kind": "Deployment", "seconds": 60},
        "__airflow_components_search": {
            "labels": [f"{key}={value}" for key, value in naming.pruned(environment).items()]
        },
    }
    task = {
        "ansible.builtin.include_role": {
            "name": "airstack.backbone.airflow_components",
            "tasks_from": "kubernetes_wait",
        },
        "vars": given,
    }
    defaults = {"group/kubernetes.core.k8s": {"kubeconfig": str(cluster.kubeconfig)}}
    play = {"hosts": "all", "gather_facts": False, "module_defaults": defaults, "tasks": [task]}
    return Deployer(folder, [play], {"airflow_publisher": ["publisher1"]}, {}, {})()


NO_PREDECESSOR = refused(400, "BadRequest", f'previous terminated container "airflow" in pod "{POD}" not found')


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ((200, "the database is away\n"), "the database is away"),
        (NO_PREDECESSOR, "previous terminated container"),
    ],
    ids=["its log", "that is gone"],
)
def test_why_a_pod_does_not_work_is_told_with_its_log_or_why_there_is_none(
    tmp_path: Path, rendered: Rendered, log: Answer, told: str
) -> None:
    with Cluster(tmp_path, rendered, log) as cluster:
        run = waited(tmp_path, cluster)
    assert run.failed == 1
    assert f"Pod {POD}: airflow: CrashLoopBackOff ended with code 1 (Error)" in run.said
    assert told in run.said.partition(f"Pod {POD}: airflow")[2]


def test_that_logs_may_not_be_read_is_no_log_that_is_gone(tmp_path: Path, rendered: Rendered) -> None:
    message = f"pods {POD} is forbidden: the user deploy cannot get pods/log"
    with Cluster(tmp_path, rendered, refused(403, "Forbidden", message)) as cluster:
        run = waited(tmp_path, cluster)
    assert run.failed == 1
    assert message in " ".join(run.said.split())
    assert "did not come to work" not in run.said
