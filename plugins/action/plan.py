# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the deployment description out of the task's variables and answers with the plan, or with every problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.airstack.backbone.plugins.module_utils._model import description, plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import Problem, report

DEEPEST = 20
"""No description nests deeper; one that does refers to itself."""


class ActionModule(ActionBase):
    """Needs no connection: everything happens on the controller."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See plugins/modules/plan.py for what is returned."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        variables = task_vars or {}
        unreadable: list[Problem] = []
        described = {
            name: self._evaluate(value, name, unreadable)
            for name, value in variables.items()
            if name in description.VARIABLES
        }
        strangers = {
            name: str(value)
            for name, value in variables.items()
            if name.startswith("airflow_") and not name.startswith("airflow_secret") and name not in described
        }
        inventory = self._inventory(variables, unreadable)
        made, problems = plan.make({**strangers, **described}, inventory)
        known = {problem.variable for problem in unreadable}
        problems = [*unreadable, *(problem for problem in problems if problem.variable not in known)]
        if made is None or problems:
            return {**result, "failed": True, "msg": report(problems)}
        return {**result, "changed": False, "airflow_plan": made}

    def _evaluate(self, value: Any, where: str, problems: list[Problem], depth: int = 0) -> Any:
        """The value as plain data, its templates evaluated; a template that cannot be is a problem of its place."""
        if depth > DEEPEST:
            problems.append(Problem(where, None, f"nested no deeper than {DEEPEST} levels"))
            return None
        if isinstance(value, Mapping):
            return {key: self._evaluate(item, f"{where}.{key}", problems, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._evaluate(item, f"{where}[{at}]", problems, depth + 1) for at, item in enumerate(value)]
        try:
            known = self._templar.template(value)
        except AnsibleError as error:
            problems.append(Problem(where, str(value), f"a template that can be evaluated ({error.message})"))
            return None
        return self._evaluate(known, where, problems, depth + 1) if isinstance(known, (Mapping, list)) else known

    def _inventory(self, variables: Mapping[str, Any], problems: list[Problem]) -> Inventory:
        groups = {name: list(hosts) for name, hosts in variables.get("groups", {}).items()}
        members = {
            host
            for name, hosts in groups.items()
            if name.startswith("airflow_") and name != "airflow_lab"
            for host in hosts
        }
        hostvars = variables.get("hostvars", {})
        addresses = {}
        for host in sorted(members):
            raw = hostvars[host]
            given = next((raw[key] for key in ("airflow_address", "ansible_host") if raw.get(key)), host)
            addresses[host] = str(self._evaluate(given, f"hostvars['{host}'].airflow_address", problems))
        return Inventory(groups, addresses)
