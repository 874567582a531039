#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: reach
short_description: Reach a host, or say why it cannot be reached
version_added: 0.1.0
description:
  - Runs a shell command that does nothing on the host, again and again until it succeeds or O(timeout) is over.
  - A host that cannot be reached fails with one message, which names it, its address, its user and the obstacle. It needs no
    Python on the host, other than M(ansible.builtin.wait_for_connection).
extends_documentation_fragment:
  - airstack.backbone.attributes.info
options:
  timeout:
    description: For how many seconds a host that does not answer is tried again.
    type: int
    default: 60
attributes:
  action:
    support: full
    description: Runs over the host's connection, without a module on the host.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: ansible.builtin.wait_for_connection
"""

EXAMPLES = r"""
- name: Reach the hosts
  airstack.backbone.reach:
    timeout: 30
"""

RETURN = r"""
elapsed:
  description: How many seconds it took.
  returned: success
  type: int
"""
