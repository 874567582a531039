# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parses one file of DAGs as the DAG processor does, and says what the DAG processor would say of it.

Runs in a process that the gate may end at any moment, with a routing file and an ``airflow.cfg`` of the gate's own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DeleteVariable,
    ErrorResponse,
    GetConnection,
    GetVariable,
    GetVariableKeys,
    MaskSecret,
    OKResponse,
    PutVariable,
    VariableKeysResult,
)
from airflow.sdk.execution_time.supervisor import block_orm_access
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.file import iter_airflow_imports, list_py_file_paths

from airflow_backbone.gate_report import Finding, condensed, innermost, one_line, pool_problems

POLICY = "airflow_backbone"
"""The entry point of the group ``airflow.policy``, without which no queue would be judged."""

REFUSED_QUEUE = "names a queue that this source may not use"
"""What :meth:`airflow_backbone.routing.Routing.assign` says of such a DAG, after its name."""


def policy_is_active() -> bool:
    return POLICY in {name for name, _plugin in settings.get_policy_plugin_manager().list_name_plugin()}


def files(root: str) -> list[str]:
    """Find the files that the DAG processor would parse, in the source's directory; sorted, absolute paths."""
    return sorted(list_py_file_paths(root))


def unreadable(root: str) -> list[Finding]:
    """Find what cannot be read: the DAG processor's own search passes over it without a word."""
    found: list[OSError] = []
    for folder, _folders, names in os.walk(root, onerror=found.append):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith((".py", ".zip")) and not os.access(path, os.R_OK) and os.path.exists(path):
                found.append(PermissionError(13, "Permission denied", path))
    return [
        {
            "file": os.path.relpath(str(error.filename), root),
            "kind": "import_error",
            "text": f"It cannot be read by the user with the id {os.geteuid()}: {error.strerror}.",
        }
        for error in found
    ]


def warm_up() -> None:
    """Serialize a DAG, so that what serialization imports is there in all processes that parse."""
    with DAG("warm_up", schedule=None) as dag:
        BaseOperator(task_id="task")
    DagSerialization.to_dict(dag)


def import_ahead(file: str) -> None:
    """Import what a file imports of Airflow and its providers, so that the processes that parse need not."""
    for module in iter_airflow_imports(file):
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def judge(source: str, root: str, file: str, pools: Iterable[str] | None, foreign: Collection[str]) -> dict[str, Any]:
    """Parse and serialize one file, and judge what is in it.

    :param root: the source's directory
    :param pools: the names of the pools that there are; None where they are not to be judged
    :param foreign: those of them that are another team's
    :return: ``{"seconds", "dags", "problems", "warnings"}``, see :mod:`airflow_backbone.gate_report`
    """
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
    block_orm_access()
    asked = Unanswering()
    task_runner.SUPERVISOR_COMMS = asked
    began = time.monotonic()
    bag = Bag(dag_folder=file, bundle_path=Path(root), bundle_name=source, load_op_links=False)
    problems = [*bag.refusals]
    for dag in bag.dags.values():
        try:
            DagSerialization.to_dict(dag)
        except Exception:
            text = condensed(traceback.format_exc(), root)
            problems.append(
                _problem(_place(dag, root), "serialization", f"It cannot be serialized: {text}", dag.dag_id)
            )
    seconds = time.monotonic() - began

    warnings: list[Finding] = []
    for place, error in bag.import_errors.items():
        if error in bag.refused_as:
            continue
        name = os.path.relpath(os.path.join(root, place), root)
        unanswered = [question for question, answer in asked.questions.items() if answer and answer in error]
        if unanswered:
            warnings.append(_unjudged(name, unanswered, innermost(error, root)))
        else:
            problems.append(_problem(name, "import_error", condensed(error, root) + asked.hint()))
    for dag in [*bag.dags.values(), *bag.refused]:
        used = {task.task_id: task.pool for task in dag.tasks}
        problems += pool_problems(dag.dag_id, _place(dag, root), used, pools, foreign)
    return {
        "seconds": seconds,
        "dags": {
            dag.dag_id: {
                "file": _place(dag, root),
                "tasks": len(dag.tasks),
                "queues": sorted({task.queue for task in dag.tasks}),
            }
            for dag in bag.dags.values()
        },
        "problems": problems,
        "warnings": warnings,
    }


class Bag(BundleDagBag):
    """A DAG bag that knows every DAG which was refused, and not only the last one of a file.

    ``refused`` is these DAGs, of which more may be wrong than what ``refusals`` says.
    """

    def __init__(self, **arguments: Any) -> None:
        self.refused: list[DAG] = []
        self.refusals: list[Finding] = []
        self.refused_as: set[str] = set()
        super().__init__(**arguments)

    def bag_dag(self, dag: Any) -> None:
        place, twin = _place(dag, str(self.bundle_path)), self.dags.get(dag.dag_id)
        try:
            super().bag_dag(dag)
        except Exception as error:
            is_queue = isinstance(error, AirflowClusterPolicyViolation) and REFUSED_QUEUE in str(error)
            kind = "queue" if is_queue else "import_error"
            text = str(error) if is_queue else f"DAG '{dag.dag_id}': {type(error).__name__}: {error}"
            self.refusals.append(_problem(place, kind, text, dag.dag_id))
            self.refused.append(dag)
            self.refused_as.add(f"{type(error).__name__}: {error}")
            raise
        if twin is not None:
            text = f"DAG '{dag.dag_id}' is defined more than once in this file, and only one of them would be seen."
            self.refusals.append(_problem(place, "duplicate_dag", text, dag.dag_id))


class Unanswering:
    """Stands where the supervisor of a process that parses stands: it knows no variable and no connection.

    ``questions`` is what was asked, each with the words of the error that follows where the code does without a default.
    """

    def __init__(self) -> None:
        self.questions: dict[str, str] = {}

    def send(self, message: Any) -> Any:
        match message:
            case GetVariable():
                self.questions[f"the variable '{message.key}'"] = f"Variable {message.key} not found"
                return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": message.key})
            case GetConnection():
                self.questions[f"the connection '{message.conn_id}'"] = f"conn_id `{message.conn_id}` isn't defined"
                return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND, detail={"conn_id": message.conn_id})
            case GetVariableKeys():
                self.questions["the names of variables"] = ""
                return VariableKeysResult(keys=[], total_entries=0)
            case PutVariable() | DeleteVariable():
                return OKResponse(ok=True)
            case MaskSecret():
                return None
            case _:
                asked = type(message).__name__
                self.questions[f"what only a running task may ask ({asked})"] = ""
                return ErrorResponse(error=ErrorType.GENERIC_ERROR, detail={"message": f"{asked} while it is parsed"})

    async def asend(self, message: Any) -> Any:
        return self.send(message)

    def hint(self) -> str:
        """Tell what the gate could not answer, as the possible reason of another error."""
        return f"; it asked for {_all_of(self.questions)}, which the gate cannot answer" if self.questions else ""


def _unjudged(file: str, questions: Iterable[str], place: str | None) -> Finding:
    at = f" ({place})" if place else ""
    text = f"Asks for {_all_of(questions)} while it is parsed{at}, which the gate cannot answer; not judged."
    return {"file": file, "text": one_line(text)}


def _problem(file: str, kind: str, text: str, dag_id: str | None = None) -> Finding:
    of_dag = {} if dag_id is None else {"dag_id": dag_id}
    return {"file": file, **of_dag, "kind": kind, "text": one_line(text)}


def _place(dag: Any, root: str) -> str:
    return os.path.relpath(dag.fileloc, root)


def _all_of(questions: Iterable[str]) -> str:
    return ", ".join(questions)
