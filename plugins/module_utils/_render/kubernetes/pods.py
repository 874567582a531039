# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod of a component: one container of the core's image, with what the component reads and nothing else.

Every pod keeps to the Pod Security Standard `restricted`, and has a root filesystem that nobody writes to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..._model import resources as model
from .. import configuration as shared
from .. import image
from . import configuration, naming, probes, secrets, storage
from .cluster import Cluster, Component, Nodes, Platform, Scheduling, Target, Toleration, of_component

CONTAINER = "airflow"
MACHINE = "AIRFLOW_MACHINE"
"""The variable that holds the pod's name, which ``{host}`` of a command stands for."""

ROOT_GROUP = 0
"""The image's own group, which may read what the cluster mounts as root's; it gives no right to anything else."""

SPREAD = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
"""Over what the pods of a component are spread, as far as there is room."""

REQUESTS: dict[str, dict[str, str]] = {
    "api-server": {"cpu": "200m", "memory": "512Mi"},
    "scheduler": {"cpu": "200m", "memory": "512Mi"},
    "dag-processor": {"cpu": "200m", "memory": "512Mi"},
    "triggerer": {"cpu": "100m", "memory": "384Mi"},
    "worker": {"cpu": "500m", "memory": "1Gi"},
    "setup": {"cpu": "200m", "memory": "512Mi"},
    "publisher": {"cpu": "100m", "memory": "256Mi"},
    "gate": {"cpu": "200m", "memory": "512Mi"},
}
"""What a pod of a kind requests where nothing is said: above what it takes when idle (287, 283, 187, 250, and of a worker
of four slots 415 MB, measured). What tasks take, their authors know. A publisher is idle but for the modules of a run."""

LIMITS = {"gate": {"memory": "4Gi"}}
"""What a pod of a kind may take where nothing is said: DAG code runs in the gate's, of two files at a time."""

LITTLE = {"cpu": "10m", "memory": "32Mi"}
"""What a container requests that only looks or copies."""

SCRATCH = "scratch"
LOGS = "logs"
CONFIGURATION = "configuration"
ROUTING = "routing"
CREDENTIALS = "credentials"
COPIES = "copies"
DAGS = "dags"

FOR_ALL = 0o444
"""The mode of a file without a secret."""

IN_MEMORY = {"medium": "Memory", "sizeLimit": "1Mi"}
"""Where neither a node's disk nor its backups see what is written."""

LOOK = (
    'sentinel=$1; [ -f "$sentinel" ] || { echo "$sentinel is not there: is this the DAG storage?" >&2; exit 1; }; shift;'
    ' for path; do [ -d "$path" ] || { echo "$path is not there: was this DAG source ever published?" >&2; exit 1; }; done'
)
"""Looks for the sentinel and for the sources in its arguments. What fails is tried again, and mounted again before."""

ACCOUNTS = "accounts"
ACCOUNTS_VOLUME = {"name": ACCOUNTS, "emptyDir": IN_MEMORY}
ACCOUNTS_MOUNT = {"name": ACCOUNTS, "mountPath": "/etc/passwd", "subPath": ACCOUNTS, "readOnly": True}
"""The list of users of a container whose own has to have a name (name_yourself)."""

NAME_YOURSELF = 'printf "%s:x:%s:%s::%s:/bin/sh\\n" "$1" "$(id -u)" "$(id -g)" "$2" > "$3"'
"""Gives the user a name, which no image has for any number."""

COPY = "install --mode=0600 "

_REPLACED = re.compile(r"\$(?=[$(])")
"""A dollar sign that would not stand for itself."""


def template(component: Component, target: Target) -> dict[str, Any]:
    """The pod template of a component's workload."""
    return {
        "metadata": {"labels": naming.component_labels(component, target.platform)},
        "spec": spec(component, target),
    }


def spec(component: Component, target: Target) -> dict[str, Any]:
    """The pod itself."""
    before = [*_look_for_dags(component, target), *_copy_credentials(component, target)]
    return {
        **({"restartPolicy": "Never"} if component["once"] else {}),
        **common(component, target.cluster),
        "terminationGracePeriodSeconds": component["stop_timeout"],
        "securityContext": security(target.cluster.user, target.cluster.dags.groups if component["sources"] else ()),
        **({} if component["once"] else {"topologySpreadConstraints": _spread(component, target)}),
        **({"initContainers": before} if before else {}),
        "containers": [_container(component, target)],
        "volumes": _volumes(component, target),
    }


def common(component: Component, cluster: Cluster) -> dict[str, Any]:
    """What every pod of a component has: an identity of its own, and what all pods have."""
    return {"serviceAccountName": naming.of(component), **of_all(component, cluster)}


def of_all(component: Component, scheduling: Scheduling) -> dict[str, Any]:
    """What every pod of the platform has: no token of the cluster, and what its nodes need to take it."""
    priority = of_component(scheduling.priority_classes, component)
    pull = [{"name": name} for name in scheduling.pull_secrets]
    return {
        "automountServiceAccountToken": False,
        # Variables of every Service of the namespace, whose names begin with anything.
        "enableServiceLinks": False,
        **({"priorityClassName": priority} if priority else {}),
        **({"imagePullSecrets": pull} if pull else {}),
        **_nodes(component, scheduling),
    }


def security(user: int, groups: Sequence[int] = ()) -> dict[str, Any]:
    """The user that a pod runs as, with further groups. user: 0 where the cluster decides."""
    numbers = {"runAsUser": user, "runAsGroup": ROOT_GROUP} if user else {}
    further = {"supplementalGroups": list(groups)} if groups else {}
    return {"runAsNonRoot": True, **numbers, **further, "seccompProfile": {"type": "RuntimeDefault"}}


def container_security() -> dict[str, Any]:
    """Of every container: no right that its user has not, and an image that nobody writes to."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def _spread(component: Component, target: Target) -> list[dict[str, Any]]:
    found = {"matchLabels": naming.selector(component, target.platform)}
    return [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": found}
        for key in SPREAD
    ]


def _nodes(component: Component, scheduling: Scheduling) -> dict[str, Any]:
    told = of_component(scheduling.nodes, component) or Nodes()
    tolerations = [_toleration(each) for each in told.tolerations]
    return {
        **({"nodeSelector": dict(told.selector)} if told.selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
    }


def _toleration(told: Toleration) -> dict[str, Any]:
    said = {
        "key": told.key,
        "operator": told.operator,
        "value": told.value,
        "effect": told.effect,
        "tolerationSeconds": told.seconds,
    }
    return {name: value for name, value in said.items() if value is not None}


def _container(component: Component, target: Target) -> dict[str, Any]:
    port = component["port"]
    return {
        "name": CONTAINER,
        "image": target.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        # The image's entry point stays: it hands signals to the main process alone.
        "args": [component["program"], *(_argument(word, component) for word in component["command"])],
        "env": environment(component),
        **({"ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}]} if port else {}),
        **probes.of(component, target),
        "resources": resources(component, target.platform),
        "securityContext": container_security(),
        "volumeMounts": _mounts(component, target),
    }


def resources(component: Component, platform: Platform) -> dict[str, Any]:
    """What the description says of a pod, besides what one of its kind requests in any case."""
    said = component["resources"] if "resources" in component else model.of(platform.resources, component)
    return model.completed(said, REQUESTS[component["kind"]], LIMITS.get(component["kind"]))


def _argument(word: str, component: Component) -> str:
    """A word of a command, taken literally but for what the model leaves open."""
    word = shared.argument(literal(word), component, configuration.places(component), f"$({MACHINE})")
    return word.replace("{queues}", f"$({configuration.QUEUES_VARIABLE})")


def literal(text: str) -> str:
    """Text in which Kubernetes replaces no $(NAME): of two dollar signs it leaves one."""
    return _REPLACED.sub("$$", text)


def environment(component: Component) -> list[dict[str, Any]]:
    """The variables of a component's container; those that others refer to come first."""
    variables = {
        **shared.environment(component, configuration.places(component)),
        "AIRFLOW_HOME": configuration.HOME,
        "HOME": image.SCRATCH,
        **probes.environment(component),
        **({"AIRFLOW_BACKBONE_ROUTING": configuration.ROUTING_PATH} if component["sources"] else {}),
    }
    return [
        {"name": MACHINE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        *configuration.queues_variable(component),
        *({"name": name, "value": literal(value)} for name, value in sorted(variables.items())),
    ]


def _mounts(component: Component, target: Target) -> list[dict[str, Any]]:
    return [
        {"name": SCRATCH, "mountPath": image.SCRATCH},
        {"name": LOGS, "mountPath": configuration.LOGS},
        {"name": CONFIGURATION, "mountPath": shared.FOLDER, "readOnly": True},
        *_credentials_mount(component),
        *_routing_mount(component),
        *_copies_mount(component),
        *_dag_mounts(component, target),
    ]


def _credentials_mount(component: Component) -> list[dict[str, Any]]:
    mount = {"name": CREDENTIALS, "mountPath": configuration.CREDENTIALS, "readOnly": True}
    return [mount] if component["credentials"] else []


def _routing_mount(component: Component) -> list[dict[str, Any]]:
    """The queue policy looks at DAGs, so whoever reads none needs no routing."""
    mount = {"name": ROUTING, "mountPath": configuration.ROUTING_FOLDER, "readOnly": True}
    return [mount] if component["sources"] else []


def _copies_mount(component: Component) -> list[dict[str, Any]]:
    return [{"name": COPIES, "mountPath": configuration.COPIES}] if component["copied_credentials"] else []


def _dag_mounts(component: Component, target: Target) -> list[dict[str, Any]]:
    """The component's own sources read-only, the sentinel beside them, and nothing else of the DAG storage."""
    if not component["sources"]:
        return []
    parts = (target.platform.endpoints["dag_storage"]["sentinel"], *component["sources"])
    return [{"name": DAGS, **storage.mount(part, target), "readOnly": True} for part in parts]


def _look_for_dags(component: Component, target: Target) -> list[dict[str, Any]]:
    mounts = _dag_mounts(component, target)
    if not mounts:
        return []
    paths = [mount["mountPath"] for mount in mounts]
    return [_before("look-for-dags", ["/bin/sh", "-c", LOOK, "look", *paths], mounts, target)]


def _copy_credentials(component: Component, target: Target) -> list[dict[str, Any]]:
    """Copies that the component may open for writing, in memory and for as long as its pod is there."""
    copied = component["copied_credentials"].values()
    if not copied:
        return []
    places = configuration.places(component)
    steps = [f"{COPY}{places.credential(credential)} {places.copy(credential)}" for credential in copied]
    mounts = [*_credentials_mount(component), *_copies_mount(component)]
    return [_before("copy-credentials", ["/bin/sh", "-c", " && ".join(steps)], mounts, target)]


def _before(name: str, command: Sequence[str], mounts: Sequence[dict[str, Any]], target: Target) -> dict[str, Any]:
    """A container that runs to its end before the component starts."""
    return _first(name, target.cluster.image, command, mounts)


def name_yourself(account: str, image_name: str) -> dict[str, Any]:
    """A container before others, whose user has that name then (ACCOUNTS_MOUNT). Not every program runs for one without."""
    words = [NAME_YOURSELF, "name", account, image.SCRATCH, f"/{ACCOUNTS}/{ACCOUNTS}"]
    mount = {"name": ACCOUNTS, "mountPath": f"/{ACCOUNTS}"}
    return _first("name-yourself", image_name, ["/bin/sh", "-c", *words], [mount])


def _first(name: str, image_name: str, command: Sequence[str], mounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image_name,
        "imagePullPolicy": "IfNotPresent",
        "command": [literal(word) for word in command],
        "resources": {"requests": dict(LITTLE)},
        "securityContext": container_security(),
        "volumeMounts": list(mounts),
    }


def _volumes(component: Component, target: Target) -> list[dict[str, Any]]:
    """A volume of each kind that the container mounts."""
    files = {"name": configuration.map_name(component), "defaultMode": FOR_ALL}
    routing = {"name": configuration.ROUTING_MAP, "defaultMode": FOR_ALL}
    dags = {"claimName": target.cluster.dags.name, "readOnly": True}
    return [
        {"name": SCRATCH, "emptyDir": {}},
        {"name": LOGS, "emptyDir": {}},
        {"name": CONFIGURATION, "configMap": files},
        *secrets.volume(CREDENTIALS, component, target),
        *([{"name": ROUTING, "configMap": routing}] if _routing_mount(component) else []),
        *([{"name": COPIES, "emptyDir": IN_MEMORY}] if _copies_mount(component) else []),
        *([{"name": DAGS, "persistentVolumeClaim": dags}] if _dag_mounts(component, target) else []),
    ]
