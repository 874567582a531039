# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Airflow's cluster policy: tasks go to their source's queues, and a deadline's callbacks as well.

An entry point of the group ``airflow.policy``, hence imported by every Airflow process at its start.
``AIRFLOW_BACKBONE_ROUTING`` names the routing file (default ``/etc/airflow/routing.json``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.policies import hookimpl

from airflow_backbone import callback
from airflow_backbone.routing import QueueRefused, RoutingError, RoutingFile

if TYPE_CHECKING:
    from airflow.sdk import DAG

_routing_file = RoutingFile(Path(os.environ.get("AIRFLOW_BACKBONE_ROUTING", "/etc/airflow/routing.json")))


@hookimpl
def dag_policy(dag: DAG) -> None:
    """Give each task of the DAG its queue, or refuse the DAG with one message that names every wrong task.

    Runs when the DAG processor parses the DAG (which decides) and again in the worker. Airflow calls ``task_policy``
    for one task after the other, and only the first refusal would be seen.
    """
    from airflow.exceptions import AirflowClusterPolicyViolation
    from airflow.sdk.definitions._internal.abstractoperator import DEFAULT_QUEUE

    try:
        routing = _routing_file.read()
        queues = {task.task_id: task.queue for task in dag.tasks}
        assigned = routing.assign(dag.dag_id, dag.fileloc, queues, unset=DEFAULT_QUEUE)
    except (QueueRefused, RoutingError) as error:
        raise AirflowClusterPolicyViolation(str(error)) from None
    for task_id, queue in assigned.items():
        dag.task_dict[task_id].queue = queue
    if source := routing.source_of(dag.fileloc):
        for alert in dag.deadline or ():
            alert.callback = callback.on_queue(alert.callback, source.default_queue)
