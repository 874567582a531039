# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ConfigMaps: a component's files, the queues of its workers, and the routing that all readers of DAGs have.

What a component reads when it starts has a hash over its content in its ConfigMap's name, so that other content starts its pods
anew. The routing has none: it is read again.
"""

from __future__ import annotations

from typing import Any

from .. import configuration, image
from ..configuration import Places
from . import naming
from .cluster import Component, Manifest, Target

CREDENTIALS = "/run/secrets/airflow"
COPIES = "/run/airflow"
HOME = image.ENVIRONMENT["AIRFLOW_HOME"]
LOGS = "/var/log/airflow"

ROUTING_MAP = "routing"
ROUTING_FILE = "routing.json"
ROUTING_FOLDER = f"{configuration.FOLDER}-routing"
"""A folder of its own, and no file among others: what is mounted into one does not follow its ConfigMap."""

ROUTING_PATH = f"{ROUTING_FOLDER}/{ROUTING_FILE}"

QUEUES_VARIABLE = "AIRFLOW_WORKER_QUEUES"
"""The variable that holds a worker's queues, and its command names."""


def places(component: Component) -> Places:
    """Where a component's container has its files."""
    return Places(configuration.FOLDER, CREDENTIALS, COPIES, HOME, f"{LOGS}/{component['logs']}")


def files(component: Component) -> dict[str, str]:
    """The configuration files of a component in a pod, by name."""
    return configuration.files(component, places(component))


def of_component(component: Component, target: Target) -> Manifest:
    """The ConfigMap of a component's files."""
    called = map_name(component)
    return naming.manifest("v1", "ConfigMap", called, target, component, immutable=True, data=files(component))


def map_name(component: Component) -> str:
    """Its name."""
    return f"{naming.of(component)}-{naming.digest(files(component))}"


def queues(component: Component, target: Target) -> list[Manifest]:
    """The ConfigMap of the queues that a worker consumes."""
    if not component["queues"]:
        return []
    data = {QUEUES_VARIABLE: ",".join(component["queues"])}
    return [naming.manifest("v1", "ConfigMap", _queues_name(component), target, component, data=data)]


def _queues_name(component: Component) -> str:
    return f"{naming.of(component)}-queues-{naming.digest(component['queues'])}"


def queues_variable(component: Component) -> list[dict[str, Any]]:
    """The variable of the queues, read when a worker starts. Of others than before, a new pod is told."""
    if not component["queues"]:
        return []
    source = {"configMapKeyRef": {"name": _queues_name(component), "key": QUEUES_VARIABLE}}
    return [{"name": QUEUES_VARIABLE, "valueFrom": source}]


def routing(target: Target) -> Manifest:
    """What the queue policy inside Airflow reads, whenever it changes: it reaches running pods."""
    data = {ROUTING_FILE: configuration.routing(target.platform.routing)}
    return naming.manifest("v1", "ConfigMap", ROUTING_MAP, target, data=data)
