#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan an Airflow platform from its deployment description
version_added: 0.1.0
description:
  - Reads the deployment description (the inventory's variables C(airflow_*)) and the inventory's groups, checks all of
    it, and returns everything that follows from it, such as names, routes, timeouts and hosts.
  - Runs on the controller alone. Nothing is connected to and nothing is changed.
  - Every problem is reported at once, each with the variable, the value found and what would be right.
extends_documentation_fragment:
  - airstack.backbone.attributes.info
  - airstack.backbone.attributes.controller
options: {}
author:
  - Airstack Founders (@airstack)
notes:
  - The description is documented in the collection's README.
seealso:
  - module: airstack.backbone.secrets
"""

EXAMPLES = r"""
- name: Plan the platform
  airstack.backbone.plan:
  register: planned
  tags: always

- name: Show which pool runs which queues
  ansible.builtin.debug:
    msg: "{{ planned.airflow_plan.pools }}"
"""

RETURN = r"""
airflow_plan:
  description: The plan, without any secret. Every role of the collection reads it.
  returned: success
  type: dict
  sample:
    environment: acceptance
    platform: systemd
    longest_task: 28800
    pools:
      - name: etl
        queues: [etl, etl_highmem]
        sources: [etl]
        concurrency: 16
        hosts: [worker-etl1]
"""
