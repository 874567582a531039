#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_units
short_description: Start, restart and stop units together, and wait until each of them works
version_added: 0.1.0
description:
  - Brings several units to the wanted state in one round trip. They start and stop in parallel.
  - Waits until each unit that it started is healthy, which is more than running. One that is not fails the task, with
    the last lines of its journal.
  - Lets systemd read changed unit files anew where that is needed.
  - A unit that is stopped or restarted may take hours to finish its work. It is waited for as long as O(patience) says,
    and is named in RV(draining) when it takes longer; it stops or restarts by itself when its work is done.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  units:
    description: The units.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its full name, such as V(airflow-scheduler.service).
        type: str
        required: true
      state:
        description:
          - V(started) starts it where it does not run, V(restarted) restarts it where it runs and starts it where not.
          - V(stopped) stops it.
          - V(completed) runs a unit that ends by itself (C(Type=oneshot)), before all others, and waits for its end.
        type: str
        choices: [started, restarted, stopped, completed]
        default: started
      timeout:
        description: Seconds that it may take to start and be healthy, counted from the end of its former process.
        type: int
        default: 300
      health:
        description: How to see that it works. It is enough to run when left out.
        type: dict
        suboptions:
          type:
            description:
              - V(http) needs the status 200 from O(units[].health.url).
              - V(port) needs something that listens on O(units[].health.port).
              - V(heartbeat) needs a heartbeat of O(units[].health.component) that is younger than the process, from the
                first Airflow API server of O(units[].health.urls) that answers. Where several hosts run the
                component, that may be another's, so the process has to have lived for 30 seconds as well.
            type: str
            choices: [http, port, heartbeat, none]
            required: true
          url:
            description: The address for V(http).
            type: str
          port:
            description: The TCP port for V(port), on this host.
            type: int
          urls:
            description: The addresses of API servers for V(heartbeat), without a path.
            type: list
            elements: str
          component:
            description: The component's name in Airflow's own health report, for V(heartbeat).
            type: str
          hosts:
            description:
              - How many hosts run the component, for V(heartbeat).
              - As many as O(units[].health.urls) has API servers, when left out.
            type: int
  target:
    description:
      - A target that starts units with the host. It is enabled, and marked active without starting what it wants.
    type: str
  patience:
    description: Seconds to wait for units that stop, also those that stop in order to start again.
    type: int
    default: 90
attributes:
  check_mode:
    support: full
    description: Says what would be done. A unit that is not there yet counts as one to start.
  diff_mode:
    support: full
    description: Shows the state of each unit before and after.
author:
  - Airstack Founders (@airstack)
notes:
  - The host has to run systemd, 247 or newer.
seealso:
  - module: airstack.backbone.systemd_units_info
  - module: ansible.builtin.systemd_service
"""

EXAMPLES = r"""
- name: Restart the scheduler and the triggerer, and wait until both work
  airstack.backbone.systemd_units:
    units:
      - name: airflow-scheduler.service
        state: restarted
        health:
          type: http
          url: http://127.0.0.1:8974/health
      - name: airflow-triggerer.service
        state: restarted
        health:
          type: heartbeat
          component: triggerer
          urls: ["http://control1:8080"]

- name: Stop a worker, and wait a minute for its tasks
  airstack.backbone.systemd_units:
    units:
      - name: airflow-worker-etl.service
        state: stopped
    patience: 60
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, by unit.
  returned: success
  type: dict
  sample:
    airflow-scheduler.service: restarted
draining:
  description: The units that were still finishing their work when O(patience) was over.
  returned: success
  type: list
  elements: str
  sample: [airflow-worker-etl.service]
output:
  description: The lines that each unit of state V(completed) wrote.
  returned: success
  type: dict
  sample:
    airflow-setup.service:
      - '{"changed": false, "changes": []}'
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._systemd import (
    DONE,
    Outcome,
    Systemd,
    UnitsError,
    Wanted,
    apply,
    names,
    plan,
)
from ansible_collections.airstack.backbone.plugins.module_utils._unit_health import probe

HEALTH = {
    "type": {"type": "str", "choices": ["http", "port", "heartbeat", "none"], "required": True},
    "url": {"type": "str"},
    "port": {"type": "int"},
    "urls": {"type": "list", "elements": "str"},
    "component": {"type": "str"},
    "hosts": {"type": "int"},
}
ARGUMENTS: dict[str, Any] = {
    "units": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "restarted", "stopped", "completed"], "default": "started"},
            "timeout": {"type": "int", "default": 300},
            "health": {
                "type": "dict",
                "options": HEALTH,
                "required_if": [
                    ("type", "http", ["url"]),
                    ("type", "port", ["port"]),
                    ("type", "heartbeat", ["urls", "component"]),
                ],
            },
        },
    },
    "target": {"type": "str"},
    "patience": {"type": "int", "default": 90},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    systemd = Systemd(module.run_command)
    wanted = [
        Wanted(unit["name"], unit["state"], unit["timeout"], probe(unit["health"] or {"type": "none"}))
        for unit in module.params["units"]
    ]
    target = module.params["target"]
    try:
        before = systemd.show(names(wanted, target))
        if module.check_mode:
            outcome = Outcome({name: DONE[verb] for name, verb in plan(before, wanted, target).items()})
        else:
            outcome = apply(systemd, wanted, target, module.params["patience"])
    except UnitsError as error:
        module.fail_json(msg=str(error))
    for name in outcome.draining:
        done = "stops" if outcome.changes[name] == DONE["stop"] else "restarts"
        module.warn(
            f"{name} was still finishing its work after {module.params['patience']} s. It {done} by itself when that is"
            " done, at the latest after its TimeoutStopSec."
        )
    module.exit_json(
        changed=bool(outcome.changes),
        changes=outcome.changes,
        draining=outcome.draining,
        output=outcome.output,
        diff={
            "before": "".join(f"{name}: {before[name]['ActiveState']}\n" for name in outcome.changes),
            "after": "".join(f"{name}: {change}\n" for name, change in outcome.changes.items()),
        },
    )


if __name__ == "__main__":
    main()
