# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate in a cluster: a Job of the core's image that parses releases before they are current.

DAG code runs for that. Its pod has the releases to be judged, read-only, and nothing else: no other source, no network, no
secret, no token of the cluster, and a scratch directory that goes with it. Whoever publishes may write to all releases, so it
does not run there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .. import image
from . import naming, network, pods, storage
from .cluster import GATE, Target
from .manifests import Step

FOLDER = "/run/gate"
FILE = "job.json"
JOB = "job"

JUDGE = 'python -m airflow_backbone.gate <"$1" 2>"$2" || { code=$?; cat "$2" >&2; exit "$code"; }'
"""A pod's log is both of its outputs in one: what the gate says besides its report is of interest where it gives none."""

GRACE = 120
"""Seconds beyond the time limit of the parsing, for the pod's start and the import of Airflow."""

KEPT = 3600
"""Seconds after which the cluster removes a Job whose run was cut short."""


def step(job: Mapping[str, Any], target: Target) -> Step:
    """What judges the sources of a job ({"sources": [{"name", "path"}], "timeout"}, see airflow_backbone.gate).

    What it stands on, the platform's own manifests hold as well: a first release is published before these are applied.
    """
    cluster, called = target.cluster, f"gate-{naming.digest([job, target.cluster.image])}"
    made = [
        *([naming.namespace(cluster.namespace, target.platform.environment)] if cluster.creates_namespace else []),
        network.default_deny(target),
        *storage.claim(target),
        naming.manifest("v1", "ConfigMap", called, target, GATE, data={FILE: json.dumps(job, sort_keys=True)}),
        naming.manifest("batch/v1", "Job", called, target, GATE, spec=_spec(called, job, target)),
    ]
    return Step("the gate of the DAGs", "complete", made)


def _spec(called: str, job: Mapping[str, Any], target: Target) -> dict[str, Any]:
    return {
        "backoffLimit": 0,
        "activeDeadlineSeconds": int(job["timeout"]) + GRACE,
        "ttlSecondsAfterFinished": KEPT,
        "template": {
            "metadata": {"labels": naming.component_labels(GATE, target.platform)},
            "spec": _pod(called, job, target),
        },
    }


def _pod(called: str, job: Mapping[str, Any], target: Target) -> dict[str, Any]:
    cluster = target.cluster
    return {
        "restartPolicy": "Never",
        **pods.of_all(GATE, cluster),
        "securityContext": pods.security(cluster.user, cluster.dags.groups),
        "containers": [_container([source["path"] for source in job["sources"]], target)],
        "volumes": [
            {"name": pods.SCRATCH, "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": JOB, "configMap": {"name": called}},
            {"name": pods.DAGS, "persistentVolumeClaim": {"claimName": cluster.dags.name, "readOnly": True}},
        ],
    }


def _container(paths: Sequence[str], target: Target) -> dict[str, Any]:
    words = ["/bin/sh", "-c", JUDGE, "gate", f"{FOLDER}/{FILE}", f"{image.SCRATCH}/gate.err"]
    return {
        "name": pods.CONTAINER,
        "image": target.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [pods.literal(word) for word in words],
        "resources": pods.resources(GATE, target.platform),
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": pods.SCRATCH, "mountPath": image.SCRATCH},
            {"name": JOB, "mountPath": FOLDER, "readOnly": True},
            *(_mount(path, target) for path in paths),
        ],
    }


def _mount(path: str, target: Target) -> dict[str, Any]:
    """A release where the publisher has it, too."""
    part = path.removeprefix(f"{target.platform.endpoints['dag_storage']['path']}/")
    return {"name": pods.DAGS, **storage.mount(part, target), "readOnly": True}
