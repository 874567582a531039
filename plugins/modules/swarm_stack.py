#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack
short_description: Bring a stack of Docker Swarm to what it shall be, and wait until it works
version_added: 0.1.0
description:
  - Compares networks, configs, secrets, labels of nodes and services with what the Docker Engine says of them, and changes
    what differs.
  - Waits until every service works. One that does not fails the task, with the errors of its newest tasks and the last lines
    of their log, also when the Engine has brought back what ran before.
  - Removes what the stack no longer holds, and the configs and secrets that no service of it refers to, nor goes back to
    when it is rolled back.
  - A process that is to make room for another one may take hours to finish its work. It is waited for as long as O(patience)
    says, and its service is named in RV(draining) when it takes longer; the Engine goes on by itself.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.swarm
options:
  name:
    description:
      - The name of the stack. What belongs to it has this name in the label C(com.docker.stack.namespace), so that
        C(docker stack) knows it, too.
    type: str
    required: true
  state:
    description: With V(absent) all of the stack is removed.
    type: str
    choices: [present, absent]
    default: present
  networks:
    description:
      - Overlay networks, as the Engine's API takes them (C(NetworkCreate)), each with a V(Name), and V(Internal), V(Attachable)
        and V(Options) where they are not the Engine's own.
      - A network that is there cannot be changed, which is refused with a message.
    type: list
    elements: dict
    default: []
  configs:
    description:
      - The content of configs by name.
      - A config that is there cannot be changed. The name of one should hold a hash of its content.
    type: dict
    default: {}
  secrets:
    description:
      - The content of secrets by name.
      - The Engine tells nobody what is in a secret. So the name of one must change with the content; a keyed hash in it tells
        nothing to whoever has not the key.
    type: dict
    default: {}
  nodes:
    description:
      - The labels of nodes that begin with the stack's name and a dot. They are set as given. Other ones that begin so are
        removed, also from nodes that are not named here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the host.
        type: str
        required: true
      address:
        description: The address by which the Swarm knows it, where its name is another one. The O(nodes[].name) when left out.
        type: str
      labels:
        description: The labels.
        type: dict
        default: {}
  services:
    description: The services.
    type: list
    elements: dict
    default: []
    suboptions:
      spec:
        description:
          - The service as the Engine's API takes it (C(ServiceSpec)), with the mode C(Replicated) or C(ReplicatedJob).
          - Networks, configs and secrets are referred to by their names alone. The label of the stack is added.
          - Keys that an older Engine ignores are left out for it, with a warning.
        type: dict
        required: true
      wave:
        description: Services of a lower number work before those of a higher one are touched.
        type: int
        default: 0
      timeout:
        description:
          - Seconds that one process may take until it works.
          - It works when it runs and its health check, where it has one, says so.
        type: int
        default: 300
  registry_username:
    description:
      - Who takes the images out of their registry, on each node that runs one.
      - The Engine keeps it with what is brought up, and nobody is told another one where nothing else changes.
    type: str
  registry_password:
    description: The password or token for that.
    type: str
  patience:
    description: Seconds to wait for processes that finish their work before they make room.
    type: int
    default: 90
attributes:
  check_mode:
    support: full
    description: Says what would be done.
  diff_mode:
    support: full
    description: Shows each service and the configs in it before and after. Of secrets it shows the names.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.swarm_stack_info
  - module: community.docker.docker_stack
"""

EXAMPLES = r"""
- name: Run a web server on two nodes, and bring back the one before where it does not work
  airstack.backbone.swarm_stack:
    name: shop
    networks:
      - Name: shop_front
        Options: {encrypted: ""}
    configs:
      shop_page_5891b5b522d5: "hello\n"
    services:
      - spec:
          Name: shop_web
          TaskTemplate:
            ContainerSpec:
              Image: registry.example.com/web@sha256:0f7c9b1e0a2d4c6b8a1e3d5f7092b4d6e8f0a1c3e5d7f9b1c3e5a7d9f1b3c5e7
              Healthcheck: {Test: [CMD, wget, -q, -O-, "http://127.0.0.1:8080/"], Interval: 5000000000}
              Configs:
                - ConfigName: shop_page_5891b5b522d5
                  File: {Name: /srv/index.html, UID: "0", GID: "0", Mode: 292}
            Networks: [{Target: shop_front}]
          Mode: {Replicated: {Replicas: 2}}
          UpdateConfig: {Parallelism: 1, Order: start-first, FailureAction: rollback, Monitor: 10000000000}

- name: Remove it
  airstack.backbone.swarm_stack:
    name: shop
    state: absent
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["config created: shop_page_5891b5b522d5", "service brought up: shop_web"]
draining:
  description: The services of which a process was still finishing its work when O(patience) was over.
  returned: success
  type: list
  elements: str
  sample: [airflow-acceptance_worker-etl]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._swarm import applying, arguments, comparison, stack
from ansible_collections.airstack.backbone.plugins.module_utils._swarm.engine import Engine, EngineError, Login

ARGUMENTS: dict[str, Any] = {
    **arguments.STACK,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "networks": {"type": "list", "elements": "dict", "default": []},
    "configs": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "nodes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str"},
            "labels": {"type": "dict", "default": {}},
        },
    },
    "services": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "spec": {"type": "dict", "required": True},
            "wave": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 300},
        },
    },
    "registry_username": {"type": "str"},
    "registry_password": {"type": "str", "no_log": True},
    "patience": {"type": "int", "default": 90},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_together=[("registry_username", "registry_password")],
        supports_check_mode=True,
    )
    username, password = module.params["registry_username"], module.params["registry_password"]
    login = Login(username, password) if username else None
    engine = Engine(module.params["socket"])
    late: list[str] = []
    try:
        found = applying.look(engine, module.params["name"])
        wanted, ignored = arguments.wanted(module.params, engine.get("/version")["ApiVersion"])
        planned = stack.changes(wanted, found)
        difference = stack.diff(wanted, found, planned)
        if not module.check_mode:
            late = applying.apply(engine, wanted, found, planned, module.params["patience"], login)
    except (stack.StackError, EngineError) as error:
        module.fail_json(msg=str(error))
    for path, names in ignored.items():
        module.warn(
            f"The Docker Engine of this host is too old for {path} of {', '.join(names)}, which is left out. It takes the API"
            f" {'.'.join(map(str, comparison.SINCE[tuple(path.split('.'))]))} or newer."
        )
    for name in late:
        module.warn(
            f"{name} was still finishing its work after {module.params['patience']} s. The Engine goes on by itself when that is"
            " done, at the latest after its StopGracePeriod."
        )
    changes = planned.lines()
    module.exit_json(changed=bool(changes), changes=changes, draining=late, diff=difference)


if __name__ == "__main__":
    main()
