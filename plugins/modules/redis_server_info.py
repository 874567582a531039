#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_server_info
short_description: Tell how the settings of a running Redis differ from those that it shall have
version_added: 0.1.0
description:
  - Asks a Redis for its settings. Where the user may not ask for them (C(CONFIG GET)), or the provider does not let anybody,
    those that C(INFO) shows are compared, and the others are named.
  - A server that does not answer is no failure of this module.
extends_documentation_fragment:
  - airstack.backbone.redis
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
seealso:
  - module: airstack.backbone.redis_server
author:
  - Airstack Founders (@airstack)
"""

EXAMPLES = r"""
- name: Ask Redis whether it throws tasks away
  airstack.backbone.redis_server_info:
    host: redis.example.com
    port: 6380
    tls: {}
    user: airflow
    password: "{{ password }}"
    settings:
      maxmemory-policy: noeviction
  register: redis
"""

RETURN = r"""
error:
  description: Why the server gave no answer; null where it did.
  returned: always
  type: str
  sample: "WRONGPASS invalid username-password pair or user is disabled."
timed_out:
  description: Whether the server gave no answer for 10 seconds, rather than another one.
  returned: always
  type: bool
differences:
  description: The settings that differ, each with what it is and shall be.
  returned: always
  type: list
  elements: dict
  sample:
    - setting: maxmemory-policy
      was: allkeys-lru
      wanted: noeviction
unknown:
  description: Settings that this Redis does not have.
  returned: always
  type: list
  elements: str
untold:
  description: Settings that the user may not ask for.
  returned: always
  type: list
  elements: str
  sample: [appendfsync]
"""

import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _resp
from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service


def look(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the server says, held against what is wanted."""
    wanted = {name: str(value) for name, value in options["settings"].items()}
    try:
        with closing(_resp.connect(options)) as redis:
            found, may_ask = settings(redis, wanted)
    except (_resp.Refused, *_resp.Redis.UNANSWERED) as error:
        timed_out = isinstance(error, socket.timeout)
        reason = f"no answer within {_resp.SECONDS} s" if timed_out else str(error) or type(error).__name__
        return {"error": reason, "timed_out": timed_out, "differences": [], "unknown": [], "untold": []}
    missing = [name for name in wanted if name not in found]
    return {
        "error": None,
        "timed_out": False,
        "differences": service.differences(found, wanted),
        "unknown": missing if may_ask else [],
        "untold": [] if may_ask else missing,
    }


def settings(redis: _resp.Redis, wanted: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The settings that the server tells, and whether it may be asked for any."""
    try:
        return redis.settings(*wanted), True
    except _resp.Refused:
        return _resp.told(redis), False


def main() -> None:
    module = AnsibleModule(argument_spec=_resp.ARGUMENT_SPEC, supports_check_mode=True)
    module.exit_json(changed=False, **look(module.params))


if __name__ == "__main__":
    main()
