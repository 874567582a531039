#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_server
short_description: Bring a running Redis to its settings and users
version_added: 0.1.0
description:
  - Compares the settings that a running Redis has with those that it shall have, and changes those that differ without a
    restart. That also finds what somebody has changed by hand. The O(user) may do everything.
  - Loads the users from the server's aclfile, and its certificate, when told that they have changed.
  - Restarts the server where nothing else will do, and waits until it serves. A master that Sentinels watch hands over
    to a replica before. Run it with C(throttle=1), so that one server after the other restarts.
extends_documentation_fragment:
  - airstack.backbone.redis
  - airstack.backbone.attributes
options:
  secret_settings:
    description: More of O(settings), whose values are not shown.
    type: dict
    default: {}
  load_users:
    description: Whether the aclfile has changed. Redis before 8.0 ends its connections then, and clients come back.
    type: bool
    default: false
  load_certificate:
    description:
      - Whether the files of the certificate, of its key or of the authority have changed, under the names that they have.
      - The server is restarted where O(tls) does not trust the certificate that it still shows, as that of a former authority.
    type: bool
    default: false
  restart:
    description: Whether something has changed that wants a restart.
    type: bool
    default: false
  unit:
    description: The server's unit of systemd.
    type: str
    default: redis-server.service
  sentinel:
    description: The Sentinel of the same host, which has the same O(tls). Left out where there is none.
    type: dict
    suboptions:
      host:
        description: Its address.
        type: str
        default: 127.0.0.1
      port:
        description: Its port.
        type: int
        default: 26379
      master_name:
        description: What it calls the master.
        type: str
        required: true
  timeout:
    description: Seconds until the server serves.
    type: int
    default: 120
seealso:
  - module: airstack.backbone.redis_server_info
author:
  - Airstack Founders (@airstack)
"""

EXAMPLES = r"""
- name: Bring the running Redis to its settings
  airstack.backbone.redis_server:
    user: airflow-prod.operator
    password: "{{ operator_password }}"
    settings:
      maxmemory-policy: noeviction
  throttle: 1
"""

RETURN = r"""
differences:
  description: The settings that differed, each with what it was and shall be.
  returned: always
  type: list
  elements: dict
  sample:
    - setting: maxmemory-policy
      was: allkeys-lru
      wanted: noeviction
restarted:
  description: Whether the server was restarted.
  returned: always
  type: bool
role:
  description: V(master) or V(slave), as Redis says.
  returned: always
  type: str
"""

import ssl
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _resp
from ansible_collections.airstack.backbone.plugins.module_utils._resp import Redis, Refused
from ansible_collections.airstack.backbone.plugins.module_utils._services import redis as service

POLL_SECONDS = 0.5

CERTIFICATE = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
"""Settings whose files Redis reads again when it is told their names again (config.c, VOLATILE_CONFIG)."""


class Failed(Exception):
    """What is not as it has to be, with what to do."""


class Server:
    """The server and its Sentinel, as the module's options tell."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options = module.params

    def connect(self) -> Redis:
        return _resp.connect(self._options)

    def wait(self, happened: Callable[[Redis], Any], what: str) -> None:
        """Until it is so. Raises Failed with what was found last."""
        deadline = time.monotonic() + self._options["timeout"]
        place = f"{self._options['host']}:{self._options['port']}"
        while True:
            try:
                with closing(self.connect()) as redis:
                    if happened(redis):
                        return
                    found = "it is not so far"
            except (Refused, *Redis.UNANSWERED) as error:
                found = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise Failed(f"{what} at {place}: {found}. Look at `journalctl -u {self._options['unit']}`")
            time.sleep(POLL_SECONDS)

    def differences(self, redis: Redis, wanted: dict[str, str]) -> list[dict[str, str]]:
        found = redis.settings(*wanted)
        unknown = [name for name in wanted if name not in found]
        if unknown:
            raise Failed(f"Redis knows no setting {', '.join(unknown)}: take it out of airflow_broker_settings")
        return service.differences(found, wanted)

    def bring(self, redis: Redis, differences: list[dict[str, str]]) -> bool:
        """To its settings, its certificate and its users while it runs. Whether it has to restart for them instead."""
        if self.apply(redis, differences) or self._options["restart"]:
            return True
        if self._options["load_certificate"]:
            self.load_certificate(redis)
        # After all else: it ends this connection, too.
        if self._options["load_users"]:
            self.load_users(redis)
        return False

    def apply(self, redis: Redis, differences: list[dict[str, str]]) -> list[str]:
        """The settings that Redis takes at its start alone. Raises Failed with each one whose value it does not take."""
        refusals = {each["setting"]: refusal(redis, each["setting"], each["wanted"]) for each in differences}
        stubborn = [name for name, said in refusals.items() if said and "immutable" in said]
        wrong = [
            f"{name}: Redis refuses the value ({said})"
            for name, said in refusals.items()
            if said and name not in stubborn
        ]
        if wrong:
            raise Failed("\n".join(wrong))
        return stubborn

    def load_certificate(self, redis: Redis) -> None:
        """All three at once, which have to fit together. Raises Failed where they do not."""
        named = [word for pair in redis.settings(*CERTIFICATE).items() for word in pair]
        try:
            redis.call("CONFIG", "SET", *named)
        except Refused as error:
            raise Failed(
                f"Redis does not take the certificate of {named[1]} and goes on with the former one ({error}):"
                " see that the key belongs to it"
            ) from error

    def load_users(self, redis: Redis) -> None:
        """Raises Failed where the aclfile holds what Redis does not understand."""
        try:
            redis.call("ACL", "LOAD")
        except Refused as error:
            raise Failed(f"Redis does not take its aclfile and goes on with the former users ({error})") from error

    def restart(self) -> None:
        """Restart the server; a master hands over before, as long as a replica is there to take it."""
        if self._options["sentinel"]:
            self._hand_over()
        self._module.run_command(["systemctl", "restart", self._options["unit"]], check_rc=True)
        self.wait(serves, "Redis does not serve after its restart")

    def _hand_over(self) -> None:
        try:
            with closing(self.connect()) as redis:
                state = redis.info("replication")
        except (Refused, *Redis.UNANSWERED):
            return
        if state["role"] != "master" or state["connected_slaves"] == "0":
            return
        sentinel = self._options["sentinel"]
        place = (sentinel["host"], sentinel["port"])
        try:
            with closing(_resp.connect(self._options, place)) as asked:
                asked.call("SENTINEL", "FAILOVER", sentinel["master_name"])
        except (Refused, *Redis.UNANSWERED) as error:
            raise Failed(
                f"{self._options['unit']} was to be restarted, and was not: the Sentinel at {place[0]}:{place[1]} does not have"
                f" its master hand over ({error}). See that the Sentinel runs and that a replica follows the master"
            ) from error
        self.wait(lambda redis: redis.info("replication")["role"] == "slave", "the master does not hand over")


def refusal(redis: Redis, name: str, value: str) -> str | None:
    """What Redis says against a setting; None where it takes it."""
    try:
        redis.call("CONFIG", "SET", name, value)
    except Refused as error:
        return str(error)
    return None


def serves(redis: Redis) -> bool:
    """Whether it has its data, and as a replica its master."""
    if redis.info("persistence").get("loading", "0") != "0":
        return False
    state = redis.info("replication")
    return state["role"] == "master" or state["master_link_status"] == "up"


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the options ask for."""
    options = module.params
    server = Server(module)
    secret = set(options["secret_settings"])
    wanted = {name: str(value) for name, value in {**options["settings"], **options["secret_settings"]}.items()}
    wants_restart = options["restart"]
    differences: list[dict[str, str]] = []
    try:
        redis = server.connect()
    except ssl.SSLCertVerificationError:
        # What it shows is the former certificate, which the new authority has not signed.
        if not options["load_certificate"] and not wants_restart:
            raise
        wants_restart = True
    except Refused as error:
        # The aclfile has passwords that the running server has not read.
        if not options["load_users"] and not wants_restart:
            raise Failed(
                f"Redis does not let {options['user'] or 'its default user'} in ({error}): restart {options['unit']}"
            ) from error
        wants_restart = True
    else:
        with closing(redis):
            differences = server.differences(redis, wanted)
            if not module.check_mode:
                wants_restart = server.bring(redis, differences)
    if wants_restart and not module.check_mode:
        server.restart()
    shown = [
        {**each, "was": "other", "wanted": "(secret)"} if each["setting"] in secret else each for each in differences
    ]
    return {
        "changed": bool(differences) or options["load_users"] or options["load_certificate"] or wants_restart,
        "differences": shown,
        "restarted": wants_restart and not module.check_mode,
        "role": role(server),
        "diff": {
            key: "".join(f"{each['setting']} {each[key_of]}\n" for each in shown)
            for key, key_of in {"before": "was", "after": "wanted"}.items()
        },
    }


def role(server: Server) -> str:
    """What the server is now; empty where it does not tell."""
    try:
        with closing(server.connect()) as redis:
            return redis.info("replication")["role"]
    except (Refused, *Redis.UNANSWERED):
        return ""


def main() -> None:
    sentinel = {
        "host": {"type": "str", "default": "127.0.0.1"},
        "port": {"type": "int", "default": 26379},
        "master_name": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            **_resp.ARGUMENT_SPEC,
            "secret_settings": {"type": "dict", "default": {}, "no_log": True},
            "load_users": {"type": "bool", "default": False},
            "load_certificate": {"type": "bool", "default": False},
            "restart": {"type": "bool", "default": False},
            "unit": {"type": "str", "default": "redis-server.service"},
            "sentinel": {"type": "dict", "options": sentinel},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    place = f"{module.params['host']}:{module.params['port']}"
    try:
        module.exit_json(**run(module))
    except Failed as problem:
        module.fail_json(msg=str(problem))
    except (Refused, *Redis.UNANSWERED) as error:
        module.fail_json(
            msg=f"Redis at {place} does not answer as it has to ({error}): look at `journalctl -u {module.params['unit']}`"
        )


if __name__ == "__main__":
    main()
