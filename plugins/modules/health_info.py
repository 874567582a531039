#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: health_info
short_description: Tell whether a running Airflow platform is healthy
version_added: 0.1.0
description:
  - Asks every API server for its health, the metadata database (through the REST API) for the heartbeats of the other
    components, the broker for the consumers of each queue, and Airflow for what it parsed of each DAG source.
  - Everything that is wrong is returned at once, each with what to do. A platform that is not healthy is no failure of
    this module.
  - Waits until all is well, until what is wrong is nothing that time would mend, or until O(timeout).
  - Changes nothing. RabbitMQ is asked by passive declarations of its queues, which any of them answers, one that a cloud
    manages included. Of Redis the lists are counted, and the connections of each pool's user that wait for tasks; its
    settings are compared with what they must be. Of SQS the attributes of the queues are read, and each is named that is
    otherwise than planned.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  plan:
    description: The plan, as M(airstack.backbone.plan) returns it.
    type: dict
    required: true
  admin_password:
    description: The password of the plan's C(api.admin_user).
    type: str
    required: true
  broker:
    description:
      - The broker's endpoint, as the role airflow_broker gives it. The one in O(plan) when left out.
      - With C(sqs), the queues are asked for their messages and their timeouts; SQS does not know who consumes them.
      - With another C(scheme) than those of RabbitMQ and Redis, the consumers of queues are not looked at.
    type: dict
  broker_password:
    description: The password of the broker's C(user). Empty where there is no user, because the machine's role serves.
    type: str
    required: true
  python:
    description: An interpreter that has C(amqp) or, for SQS, C(boto3), as the environment of an Airflow core with C(celery) has.
    type: path
    default: /opt/airflow/core/current/bin/python
  image:
    description: An image of the core, whose Python is used instead of O(python). The host's Docker Engine runs it.
    type: str
  least:
    description: How many of a component have to be there at least, by its name, where something else than O(plan) decides.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait. With V(0), and in check mode where O(python) is missing and no O(image) is named, looks once.
    type: int
    default: 180
author:
  - Airstack Founders (@airstack)
notes:
  - Run it on a host that runs the scheduler, which reaches API servers and broker. Where the host also holds the DAG
    storage, the releases that are published there must be those that Airflow parsed.
seealso:
  - module: airstack.backbone.plan
"""

EXAMPLES = r"""
- name: Look whether the platform is healthy
  airstack.backbone.health_info:
    plan: "{{ airflow_plan }}"
    admin_password: "{{ airflow_secrets.admin }}"
    broker_password: "{{ airflow_secrets.broker }}"
  register: platform

- name: Say what is wrong
  ansible.builtin.debug:
    msg: "{{ platform.message }}"
  when: not platform.health.is_healthy
"""

RETURN = r"""
is_there:
  description: Whether there is a platform to look at, that is an API server that answers or O(python).
  returned: always
  type: bool
message:
  description: The findings as lines for a person; empty where there are none.
  returned: always
  type: str
seconds:
  description: How long it took until the platform was healthy, or until nothing more was to be expected.
  returned: always
  type: float
health:
  description: What was seen and found.
  returned: always
  type: dict
  contains:
    environment:
      description: The plan's environment.
      type: str
    is_healthy:
      description: Whether no finding is an error.
      type: bool
    summary:
      description: One line for a person.
      type: str
    findings:
      description: What is wrong, the causes before what follows from them.
      type: list
      elements: dict
      contains:
        part:
          description: What of the platform.
          type: str
        found:
          description: What was seen.
          type: str
        advice:
          description: What to do about it.
          type: str
        severity:
          description: V(error), or V(warning) for what works with less than planned.
          type: str
        is_final:
          description: Whether waiting will not mend it.
          type: bool
    apis:
      description: Each API server with its host, url, and version or error.
      type: list
      elements: dict
    components:
      description: Status, latest heartbeat, number of those running and planned hosts of each kind of component.
      type: dict
    queues:
      description: Consumers and waiting messages of each queue; C(consumers) is null where the broker does not know them.
      type: dict
    sources:
      description: Published release, number of DAGs and of import errors of each source.
      type: dict
  sample:
    environment: local
    is_healthy: true
    findings: []
    queues:
      etl:
        consumers: 1
        messages: 0
    sources:
      etl:
        release: 3f9c1b7a2d40
        dags: 3
        import_errors: 0
"""

import inspect
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _amqp, _health, _resp, _sqs
from ansible_collections.airstack.backbone.plugins.module_utils._api import ANSWER_SECONDS, PAGE, Api, Refused, reason
from ansible_collections.airstack.backbone.plugins.module_utils._render.image import SCRATCH

POLL_SECONDS = 2
DEFINES_DAG = re.compile(rb"@(\w+\.)?dag\b|\bDAG\(")


IN_CONTAINER = (
    *("docker", "run", "--rm", "--interactive", "--network", "host", "--read-only", "--tmpfs", SCRATCH),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""What asks from the host's own address, as the broker may know it."""


def has_core(python: str, image: str | None) -> bool:
    """Whether the host has what asks the broker: the core's Python, or what runs the core's image."""
    return shutil.which(IN_CONTAINER[0]) is not None if image else os.access(python, os.X_OK)


class Look:
    """One look at a platform, as _health.examine wants it."""

    def __init__(self, module: AnsibleModule, plan: Mapping[str, Any]) -> None:
        self._module = module
        self._plan = plan
        self._broker: dict[str, Any] = module.params["broker"] or {"scheme": "amqp", **self._plan["broker"]}

    def take(self) -> dict[str, Any]:
        apis = [self._api(server) for server in self._plan["api"]["servers"]]
        answering = next((api["url"] for api in apis if "error" not in api), None)
        broker = self._asked_broker()
        return {"apis": apis, **broker, "releases": self._releases(), **self._airflow(answering)}

    def _connect(self, url: str) -> Api:
        return Api(url, self._plan["api"]["port"])

    def _api(self, server: Mapping[str, str]) -> dict[str, Any]:
        known = dict(server)
        api = self._connect(server["url"])
        try:
            return {**known, "version": api.get("version"), "health": api.get("monitor/health")}
        except (Refused, *Api.UNANSWERED) as error:
            return {**known, "error": reason(error)}

    def _airflow(self, url: str | None) -> dict[str, Any]:
        unknown = {"login": None, "jobs": None, "dags": None, "import_errors": None}
        if url is None:
            return unknown
        user = self._plan["api"]["admin_user"]
        api = self._connect(url)
        try:
            api.log_in(user, self._module.params["admin_password"])
            return {
                "login": None,
                "jobs": api.get("jobs", is_alive="true", limit=PAGE)["jobs"],
                "dags": api.all("dags", "dags", order_by="dag_id"),
                "import_errors": api.all("importErrors", "import_errors", order_by="id"),
            }
        except (Refused, *Api.UNANSWERED) as error:
            login = {"user": user, "error": reason(error), "is_refused": isinstance(error, Refused)}
            return {**unknown, "login": login}

    def _asked_broker(self) -> dict[str, Any]:
        """Its queues, and its settings where it tells them."""
        if self._broker["scheme"] in ("amqp", "amqps"):
            return {"queues": self._queues(), "broker_settings": {}}
        if self._broker["scheme"] in ("redis", "rediss", "sentinel"):
            answer = self._redis()
            queues = {"": answer} if "error" in answer else answer["queues"]
            return {"queues": queues, "broker_settings": answer.get("settings", {})}
        return {"queues": self._sqs_queues() if self._broker["scheme"] == "sqs" else None, "broker_settings": {}}

    def _redis(self) -> dict[str, Any]:
        broker, login = self._broker, (self._broker["user"], self._module.params["broker_password"])
        place = (broker["host"], broker["port"])
        is_encrypted = broker["scheme"] == "rediss" or broker.get("tls")
        try:
            tls = _resp.trusting(broker.get("ca")) if is_encrypted else None
            if sentinel := broker.get("sentinel"):
                nodes = [(node["address"], node["port"]) for node in sentinel["nodes"]]
                place = _resp.master(nodes, sentinel["master_name"], login, tls)
        except OSError as error:
            return {"error": str(error)}
        users = {pool["name"]: pool["user"] for pool in broker["pools"]}
        # Pools that share a user cannot be told apart.
        are_known = len(set(users.values())) == len(users)
        return _resp.ask(
            {
                **dict(zip(("host", "port"), place)),
                **dict(zip(("user", "password"), login)),
                "tls": tls,
                "users": {
                    queue: [users[pool] for pool in pools] if are_known else None
                    for queue, pools in _health.consumers(self._plan).items()
                },
            }
        )

    def _queues(self) -> dict[str, Any]:
        answer = self._ask(
            _amqp,
            {
                "places": [{"host": host, "port": port} for host, port in _health.places(self._broker)],
                **{key: self._broker[key] for key in ("vhost", "user")},
                "password": self._module.params["broker_password"],
                "is_tls": self._broker["scheme"] == "amqps",
                "ca": self._broker.get("ca"),
                "seconds": ANSWER_SECONDS,
                "queues": list(_health.consumers(self._plan)),
            },
        )
        return {"": answer} if "error" in answer else answer["queues"]

    def _sqs_queues(self) -> dict[str, Any]:
        broker = self._broker
        dead = f"{next(iter(broker['urls'].values())).rpartition('/')[0]}/{broker['dead_letters']}"
        answer = self._ask(
            _sqs,
            {
                **{key: broker[key] for key in ("region", "endpoint_url", "user")},
                "password": self._module.params["broker_password"] or None,
                "seconds": ANSWER_SECONDS,
                "urls": {**broker["urls"], broker["dead_letters"]: dead},
            },
        )
        if "error" in answer:
            return {"": answer}
        return {name: _health.counted(queue) for name, queue in answer["queues"].items()}

    def _ask(self, program: ModuleType, asked: dict[str, Any]) -> dict[str, Any]:
        """What a program answers that the core's Python runs, which has the broker's client; or {"error"}."""
        python, image = (self._module.params[name] for name in ("python", "image"))
        if not has_core(python, image):
            return {"error": f"{IN_CONTAINER[0] if image else python} is not there, which would ask it"}
        command = [*IN_CONTAINER, image, "python"] if image else [python]
        code, output, error = self._module.run_command(
            [*command, "-c", inspect.getsource(program)], data=json.dumps(asked)
        )
        if code != 0:
            return {"error": _health.last_line(error)}
        answer: dict[str, Any] = json.loads(output)
        return answer

    def _releases(self) -> dict[str, Any] | None:
        storage = Path(self._plan["dag_storage"]["path"])
        if not (storage / self._plan["dag_storage"]["sentinel"]).exists():
            return None
        return {source["name"]: _release(storage / source["name"]) for source in self._plan["sources"]}


def _release(source: Path) -> dict[str, Any]:
    current = source / "current"
    try:
        published = current.lstat().st_mtime
        release = current.resolve(strict=True)
    except OSError:
        return {"release": None, "published": 0.0, "dag_files": []}
    dag_files = [str(file.relative_to(release)) for file in release.rglob("*.py") if _defines_dag(file)]
    return {"release": release.name, "published": published, "dag_files": sorted(dag_files)}


def _defines_dag(file: Path) -> bool:
    """Whether a file defines a DAG; a directory, a link that leads nowhere and a file that went meanwhile do not."""
    try:
        return file.is_file() and DEFINES_DAG.search(file.read_bytes()) is not None
    except OSError:
        return False


def wait(look: Look, plan: Mapping[str, Any], timeout: int) -> tuple[dict[str, Any], list[_health.Finding]]:
    """What was seen and found when the platform was settled, or when the time was over."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look.take()
        findings = _health.examine(plan, seen)
        if _health.is_settled(findings) or time.monotonic() + POLL_SECONDS > deadline:
            return seen, findings
        time.sleep(POLL_SECONDS)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "admin_password": {"type": "str", "required": True, "no_log": True},
            "broker": {"type": "dict"},
            "broker_password": {"type": "str", "required": True, "no_log": True},
            "python": {"type": "path", "default": "/opt/airflow/core/current/bin/python"},
            "image": {"type": "str"},
            "least": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    least = module.params["least"]
    wrong = [f"{component}: {number!r}" for component, number in least.items() if not re.fullmatch(r"\d+", str(number))]
    if wrong:
        module.fail_json(msg=f"least takes whole numbers, 0 or more, by component, and not {', '.join(wrong)}.")
    plan = _health.with_least(module.params["plan"], {component: int(number) for component, number in least.items()})
    started = time.monotonic()
    is_core_there = has_core(module.params["python"], module.params["image"])
    patience = module.params["timeout"] if is_core_there or not module.check_mode else 0
    seen, findings = wait(Look(module, plan), plan, patience)
    module.exit_json(
        changed=False,
        is_there=is_core_there or any("error" not in api for api in seen["apis"]),
        health=_health.report(plan, seen, findings),
        message=_health.message(findings),
        seconds=round(time.monotonic() - started, 1),
    )


if __name__ == "__main__":
    main()
