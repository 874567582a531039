#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_queues_info
short_description: Tell which Celery workers consume which queues, and what does not fit
version_added: 0.1.0
description:
  - Asks running workers over Celery's remote control for their queues and tasks, and the broker for the queues' messages.
  - Finds queues that hold messages and have no consumer, queues that a source may use and no worker consumes, and queues
    that workers consume and no source uses.
extends_documentation_fragment:
  - airstack.backbone.celery
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  sources:
    description: The queues that the tasks of each source may use, by its name. Without any, nothing is said about sources.
    type: dict
    default: {}
  queues:
    description: Further queues to tell about, besides those of workers and sources.
    type: list
    elements: str
    default: []
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.worker_queues
"""

EXAMPLES = r"""
- name: Look who consumes what
  airstack.backbone.worker_queues_info:
    broker_url_file: /etc/airflow/credentials/scheduler/broker_url
    sources:
      etl: [etl, etl_highmem]
      ml: [ml]
  vars:
    ansible_python_interpreter: /opt/airflow/core/current/bin/python
  register: seen

- name: Name the queues whose messages nobody takes
  ansible.builtin.debug:
    msg: "{{ seen.without_consumer }}"
"""

RETURN = r"""
workers:
  description: The workers that answered, by name. No argument of a task is told.
  returned: success
  type: dict
  contains:
    queues:
      description: The queues that it consumes.
      type: list
      elements: str
    active:
      description: The tasks that it runs, each with id, name, queue and the time when it started.
      type: list
      elements: dict
    reserved:
      description: The tasks that it holds until it has room for them.
      type: list
      elements: dict
  sample:
    etl@host1:
      queues: [etl]
      active:
        - {id: 0f6e1f9c-8a57-4a2b-a7e5-3d2a8f0d5f11, name: execute_workload, queue: etl, started: 1764168000.2}
      reserved: []
missing:
  description: The names of O(expected_workers) that did not answer within O(timeout).
  returned: success
  type: list
  elements: str
  sample: []
queues:
  description: What is known of each queue.
  returned: success
  type: dict
  contains:
    messages:
      description: How many messages lie in it that no worker holds.
      type: int
    consumers:
      description: How many consume it, as the broker tells. Null where the broker does not know, as Redis does not.
      type: int
    exists:
      description: Whether the broker has it. Redis has only queues that hold a message.
      type: bool
    workers:
      description: The workers that answered and consume it.
      type: list
      elements: str
  sample:
    etl: {messages: 0, consumers: 1, exists: true, workers: [etl@host1]}
without_consumer:
  description: How many messages lie in queues that nobody consumes, by queue.
  returned: success
  type: dict
  sample: {etl_highmem: 3}
without_worker:
  description: The queues that sources may use and nobody consumes, each with the sources' names.
  returned: success
  type: dict
  sample: {etl_highmem: [etl]}
without_source:
  description: The queues that workers consume and no source may use, each with the workers' names. Empty without O(sources).
  returned: success
  type: dict
  sample: {}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _celery
from ansible_collections.airstack.backbone.plugins.module_utils._queues import arguments, moving, overview


def look(module: AnsibleModule, address: _celery.Address) -> dict[str, Any]:
    """What the module returns.

    :raises _celery.BrokerError: the broker refuses or does not answer
    """
    wanted = module.params
    with _celery.connected(address) as broker:
        now, missing = arguments.found(broker, wanted, arguments.deadline(wanted))
        tasks = broker.tasks(sorted(now), max(wanted["answer_timeout"], moving.LONGEST_ANSWER))
        holding = _celery.held(tasks)
        depths = broker.depths(overview.names(now, wanted["sources"], wanted["queues"]))
    return {
        "workers": {name: {"queues": sorted(queues), **tasks[name]} for name, queues in sorted(now.items())},
        "missing": missing,
        **overview.of(now, wanted["sources"], depths, holding),
    }


def main() -> None:
    """Read the arguments, look, say what was seen."""
    module = AnsibleModule(
        argument_spec={
            **arguments.ARGUMENT_SPEC,
            "sources": {"type": "dict", "default": {}},
            "queues": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
        **arguments.ONE_URL,
    )
    wrong = arguments.problems(module.params) + overview.problems(module.params["sources"])
    if wrong:
        module.fail_json(msg="\n".join(wrong))
    address = arguments.address(module)
    try:
        with _celery.limited(
            module.params["timeout"] + arguments.GRACE_SECONDS, "workers and queues were to be looked at"
        ):
            seen = look(module, address)
    except _celery.BrokerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
