#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack_info
short_description: Tell what a stack of Docker Swarm holds, and how its services are
version_added: 0.1.0
description:
  - Looks at the networks, configs, secrets and services of a stack in one round trip.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
  - airstack.backbone.swarm
options:
  name:
    description: The name of the stack, which need not exist.
    type: str
    required: true
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.swarm_stack
"""

EXAMPLES = r"""
- name: Look at a stack
  airstack.backbone.swarm_stack_info:
    name: airflow-acceptance
  register: stack
"""

RETURN = r"""
services:
  description:
    - By name, what is known of each.
    - C(state) is V(done) where as many processes as wanted work, or a job has come to its end; V(failed) where a job has not;
      V(draining) where a process finishes its work to make room for another one; else V(pending).
    - C(update) is what the Engine says of the last update, C(errors) what went wrong with the newest tasks since then.
  returned: success
  type: dict
  sample:
    airflow-acceptance_worker-etl:
      image: registry.example.com/airflow@sha256:0f7c9b1e0a2d4c6b8a1e3d5f7092b4d6e8f0a1c3e5d7f9b1c3e5a7d9f1b3c5e7
      state: done
      replicas: 2
      running: 2
      update: completed
      errors: []
networks:
  description: The names of its networks.
  returned: success
  type: list
  elements: str
  sample: [airflow-acceptance_control, airflow-acceptance_data]
configs:
  description: The names of its configs.
  returned: success
  type: list
  elements: str
  sample: [airflow-acceptance_scheduler.airflow.cfg_5fcbc044b5cb]
secrets:
  description: The names of its secrets.
  returned: success
  type: list
  elements: str
  sample: [airflow-acceptance_fernet_key_6c3e8169e230]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import applying, arguments, stack
from ansible_collections.airstack.backbone.plugins.module_utils._swarm.engine import Engine, EngineError


def main() -> None:
    module = AnsibleModule(argument_spec=arguments.STACK, supports_check_mode=True)
    try:
        found = applying.look(Engine(module.params["socket"]), module.params["name"])
    except (stack.StackError, EngineError) as error:
        module.fail_json(msg=str(error))
    told: dict[str, Any] = {
        "services": {name: stack.told(service, found) for name, service in sorted(found.services.items())},
        "networks": sorted(found.networks),
        "configs": sorted(found.configs),
        "secrets": sorted(found.secrets),
    }
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
