#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_queues
short_description: Bring running Celery workers to the queues that they shall consume
version_added: 0.1.0
description:
  - Tells running workers over Celery's remote control which queues to consume, without a restart.
  - Adds before it takes away, and takes away only when all workers were seen to consume what was added. A worker finishes
    what it holds of a queue that is taken away, so no task is lost and none runs twice.
  - What is set so lasts until the worker restarts. The role P(airstack.backbone.airflow_components#role) writes the
    same queues where the worker reads them at its start.
extends_documentation_fragment:
  - airstack.backbone.celery
  - airstack.backbone.attributes
options:
  assignments:
    description:
      - Which workers shall consume which queues, those and no others.
      - A worker that no pattern matches stays as it is. One that two patterns give different queues is refused.
    type: list
    elements: dict
    required: true
    suboptions:
      workers:
        description: A worker's name or a shell pattern, V(etl@*). At least one worker has to answer to it.
        type: str
        required: true
      queues:
        description: Names of queues. None at all lets the worker rest.
        type: list
        elements: str
        required: true
  allow_unserved:
    description:
      - Whether a queue that holds messages may be left without any consumer.
      - Where the broker does not count consumers, as Redis does not, the workers that answer are all that are known.
    type: bool
    default: false
  required:
    description:
      - Whether to fail where a worker does not come to its queues. If not, RV(behind) names it, and nothing is taken away
        from others for a worker that did not come to what was added.
    type: bool
    default: true
  queue_arguments:
    description:
      - Arguments of a queue that a worker has to make, such as C(x-queue-type) with the value V(quorum).
      - Workers of airstack.backbone make no queues on RabbitMQ, and leave them alone.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode, where it asks the workers and the broker, and tells nothing.
  diff_mode:
    support: full
    description: Shows the queues of each worker before and after.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.worker_queues_info
"""

EXAMPLES = r"""
- name: Lend the machine learning workers to the warehouse
  airstack.backbone.worker_queues:
    broker_url_file: /etc/airflow/credentials/scheduler/broker_url
    assignments:
      - workers: ml@*
        queues: [ml, warehouse]
  vars:
    ansible_python_interpreter: /opt/airflow/core/current/bin/python

- name: Bring two workers to their queues, and wait for no others
  airstack.backbone.worker_queues:
    broker_url: "{{ vault_broker_url }}"
    expected_workers: [etl@host1, etl@host2]
    assignments:
      - workers: etl@*
        queues: [etl, etl_highmem]
"""

RETURN = r"""
workers:
  description: The workers that an assignment covers, by name. What is not known of one that went away is null.
  returned: always, once the workers were asked
  type: dict
  contains:
    before:
      description: The queues that it consumed.
      type: list
      elements: str
    after:
      description: The queues that it consumes now, or would after a run that is no check.
      type: list
      elements: str
  sample:
    etl@host1: {before: [etl], after: [etl, etl_highmem]}
uncovered:
  description: Workers that answered and that no pattern matches. They were left as they are.
  returned: always, once the workers were asked
  type: list
  elements: str
  sample: [ml@host3]
behind:
  description: Why a worker is not where it shall be, by its name. Empty where all are.
  returned: always, once the workers were asked
  type: dict
  sample: {}
unserved:
  description: How many messages lie in queues that were taken away and that nobody consumes, by queue.
  returned: always, once the workers were asked
  type: dict
  sample: {etl_highmem: 12}
seconds:
  description: How long it took until all was confirmed.
  returned: always, once the workers were asked
  type: float
  sample: 0.4
"""

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _celery
from ansible_collections.airstack.backbone.plugins.module_utils._queues import arguments, assignments, moves, moving


class Failed(Exception):
    """What was wanted cannot be done or was not; the message is for a person."""


class Run:
    """One run of the module: what it found and did, also where that ends in an error."""

    def __init__(self, wanted: Mapping[str, Any], given: list[assignments.Assignment], is_check: bool) -> None:
        self._wanted = wanted
        self._given = given
        self._is_check = is_check
        self._begun = time.monotonic()
        self._before: dict[str, frozenset[str]] | None = None
        self._covered: dict[str, frozenset[str]] = {}
        self._missing: dict[str, str] = {}
        self._move: moving.Move | None = None

    def go(self, address: _celery.Address) -> None:
        """Do all of it.

        :raises Failed: the assignments do not fit the workers, or a worker is behind or messages would be left alone
        :raises _celery.BrokerError: the broker refuses or does not answer
        """
        deadline = arguments.deadline(self._wanted)
        with _celery.connected(address) as broker:
            now, missing = arguments.found(broker, self._wanted, deadline)
            self._before = now
            self._absent(missing)
            self._covered, wrong = assignments.wanted(self._expected(missing), now)
            if wrong:
                raise Failed("\n".join(wrong))
            self._move = moving.Move(
                broker,
                now,
                self._covered,
                deadline,
                allow_unserved=self._wanted["allow_unserved"],
                arguments=self._wanted["queue_arguments"],
            )
            outcome = self._move.foretell() if self._is_check else self._move.run()
        reasons = [*outcome.behind.values()] if self._wanted["required"] else []
        if outcome.is_refused:
            reasons.append(self._refusal(outcome))
        if reasons:
            raise Failed("\n".join(reasons))

    def result(self) -> dict[str, Any]:
        """What the module returns, as far as it came."""
        if self._before is None:
            return {}
        outcome = self._move.outcome if self._move else moving.Outcome(self._before)
        told = outcome.now != self._before if self._is_check else outcome.told
        return {
            "changed": told,
            "workers": moves.report(self._before, outcome.now, self._covered),
            "uncovered": sorted(set(self._before) - set(self._covered)),
            "behind": {**self._missing, **outcome.behind},
            "unserved": outcome.unserved,
            "seconds": round(time.monotonic() - self._begun, 2),
            "diff": moves.diff(self._before, outcome.now, self._covered),
        }

    def _absent(self, missing: list[str]) -> None:
        self._missing = {
            name: f"{name} was asked what it consumes and did not answer within {self._wanted['timeout']:g} s."
            " See that it runs and is connected to this broker, or take it out of expected_workers"
            for name in missing
        }
        if missing and self._wanted["required"]:
            raise Failed("\n".join(self._missing.values()))

    def _expected(self, missing: list[str]) -> list[assignments.Assignment]:
        """The assignments without those that are for nobody but workers which are known not to answer."""
        return [each for each in self._given if each.workers not in missing]

    def _refusal(self, outcome: moving.Outcome) -> str:
        queues = "\n".join(
            f"{queue} holds {count} message{'' if count == 1 else 's'}, and nobody would consume it"
            for queue, count in sorted(outcome.unserved.items())
        )
        kept = "" if outcome.behind else "It was not taken away. "
        return (
            f"{queues}.\n{kept}Give it to a worker, wait until it is empty, or say allow_unserved: true (of the role"
            " airflow_components: airflow_components_allow_unserved_queues)"
        )


def main() -> None:
    """Read the arguments, move, say what was seen."""
    module = AnsibleModule(
        argument_spec={
            **arguments.ARGUMENT_SPEC,
            "assignments": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "workers": {"type": "str", "required": True},
                    "queues": {"type": "list", "elements": "str", "required": True},
                },
            },
            "allow_unserved": {"type": "bool", "default": False},
            "required": {"type": "bool", "default": True},
            "queue_arguments": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
        **arguments.ONE_URL,
    )
    wanted = module.params
    given, wrong = assignments.read(wanted["assignments"])
    wrong += arguments.problems(wanted)
    if wrong:
        module.fail_json(msg="\n".join(wrong))
    address = arguments.address(module)
    run = Run(wanted, given, module.check_mode)
    try:
        with _celery.limited(wanted["timeout"] + arguments.GRACE_SECONDS, "queues were to be moved"):
            run.go(address)
    except (Failed, _celery.BrokerError) as error:
        module.fail_json(msg=str(error), **run.result())
    module.exit_json(**run.result())


if __name__ == "__main__":
    main()
