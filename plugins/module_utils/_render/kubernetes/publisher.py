# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod that DAGs are published from: a host to Ansible, which reaches it as kubectl does, with the DAG storage writable.

It runs nothing by itself. Whoever publishes runs modules in it, with the Python and the programs of the core's image.
"""

from __future__ import annotations

from typing import Any

from .. import image
from . import naming, network, pods, storage, workloads
from .cluster import PUBLISHER, Manifest, Target

CACHE_PATH = "/var/cache/airflow-dags"
"""Where the role airflow_dags keeps what it fetched, unless it is told otherwise. It may be lost."""

CACHE = "cache"
ACCOUNT = "airflow"
"""What its user is called in it: ssh does not run for one without a name."""

STAY = (
    '[ -d "$1" ] && [ -w "$1" ] || { echo "$1 is not writable for the user $(id -u) and the groups $(id -G): is the claim of'
    ' the DAGs one that a pod may write to, and the root of its volume open to one of these?" >&2; exit 1; }; exec sleep infinity'
)
"""Looks whether the DAG storage is what it shall be for a publisher, and is there for whoever comes."""

STOP_TIMEOUT = 30
"""Seconds. Of a publisher that is killed, nothing stays that anybody reads."""


def means(target: Target) -> list[Manifest]:
    """What the publisher's pod needs to be there, but for the claim."""
    spec = {"clusterIP": "None", "selector": naming.selector(PUBLISHER, target.platform)}
    return [
        workloads.service_account(PUBLISHER, target),
        network.of_publisher(target),
        naming.manifest("v1", "Service", naming.of(PUBLISHER), target, PUBLISHER, spec=spec),
    ]


def workload(target: Target) -> Manifest:
    """One pod whose name stays the same, since an inventory has it."""
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": naming.selector(PUBLISHER, target.platform)},
        "serviceName": naming.of(PUBLISHER),
        # A pod that does not come to work makes way for the next one without anybody's help.
        "podManagementPolicy": "Parallel",
        "template": {"metadata": {"labels": naming.component_labels(PUBLISHER, target.platform)}, "spec": _pod(target)},
    }
    return naming.manifest("apps/v1", "StatefulSet", naming.of(PUBLISHER), target, PUBLISHER, spec=spec)


def _pod(target: Target) -> dict[str, Any]:
    return {
        **pods.common(PUBLISHER, target.cluster),
        "terminationGracePeriodSeconds": STOP_TIMEOUT,
        "securityContext": _security(target),
        "initContainers": [pods.name_yourself(ACCOUNT, target.cluster.image)],
        "containers": [_container(target)],
        "volumes": [
            {"name": pods.SCRATCH, "emptyDir": {}},
            {"name": CACHE, "emptyDir": {}},
            dict(pods.ACCOUNTS_VOLUME),
            {"name": pods.DAGS, "persistentVolumeClaim": {"claimName": target.cluster.dags.name}},
        ],
    }


def _security(target: Target) -> dict[str, Any]:
    """A new disk is root's: the cluster gives it to a group of the pod's, once, where it knows how."""
    cluster = target.cluster
    group = next(iter(cluster.dags.groups), pods.ROOT_GROUP)
    owned = {"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"} if cluster.user else {}
    return {**pods.security(cluster.user, cluster.dags.groups), **owned}


def _container(target: Target) -> dict[str, Any]:
    mount = storage.mount("", target)
    return {
        "name": pods.CONTAINER,
        "image": target.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        # The image's entry point stays: it hands signals on, and takes up what a module leaves behind.
        "args": ["/bin/sh", "-c", pods.literal(STAY), "stay", mount["mountPath"]],
        "env": [{"name": "HOME", "value": image.SCRATCH}],
        "resources": pods.resources(PUBLISHER, target.platform),
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": pods.SCRATCH, "mountPath": image.SCRATCH},
            {"name": CACHE, "mountPath": CACHE_PATH},
            dict(pods.ACCOUNTS_MOUNT),
            {"name": pods.DAGS, **mount},
        ],
    }
