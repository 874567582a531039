# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which core an environment has, as the file `core.lock.yml` beside its inventory says it.

    environment: acceptance
    airflow_version: 3.3.2
    image: registry.example.com/data/airflow     # the repository that it was pushed to
    digest: sha256:...                           # the image, for good
    wheelhouse: 64 hexadecimal digits            # what it was built of
    commit: 40 hexadecimal digits                # of the inventory's repository; null where it is in none

In its file it is a variable of the inventory, since Ansible reads every file of an inventory's directory. Pure; runs on the
controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.yaml import yaml_dump, yaml_load

from ansible_collections.airstack.backbone.plugins.module_utils._core import registry
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._model.fields import Entry, matching, record
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import Problem

FILE = "core.lock.yml"
VARIABLE = "airflow_core_deployed"
KEYS = ("environment", "airflow_version", "image", "digest", "wheelhouse", "commit")

_HEADER = """\
---
# Which image of Airflow this environment has; playbooks/core.yml writes it. Production takes acceptance's.
"""


def text(content: Mapping[str, Any]) -> str:
    """The file of a lock: the same text for the same lock, whoever writes it and when."""
    inventory = {"all": {"vars": {VARIABLE: {key: content[key] for key in KEYS}}}}
    return f"{_HEADER}{yaml_dump(inventory, sort_keys=False, default_flow_style=False, width=1 << 20)}"


def parse(content: str, origin: str) -> dict[str, Any]:
    """The lock that a file holds.

    :param origin: the file's name, for messages
    :raises CoreError: it holds no lock, with every problem
    """
    problems: list[Problem] = []
    try:
        found = yaml_load(str(content))
    except Exception as error:  # PyYAML lets through whatever Python says of a value that does not fit its tag
        conflict = "<<<<<<<" in content
        why = "it holds a merge conflict that nobody resolved" if conflict else " ".join(str(error).split())
        raise _refusal(origin, [why]) from None
    inventory = _inventory(found, "inventory", problems)
    if inventory is None or problems:
        raise _refusal(origin, [str(problem).replace("inventory.all.vars.", "", 1) for problem in problems])
    result: dict[str, Any] = inventory["all"]["vars"][VARIABLE]
    return result


def promoted(content: str, origin: str, environment: str, airflow_version: str) -> tuple[dict[str, Any], list[str]]:
    """What another environment's lock becomes in this one, and whatever keeps it from being that.

    :param content: of the other file; nothing where there is none
    """
    if not content.strip():
        missing = (
            f"airflow_core_promote_from says that the image is the one of {origin}, and there is no such file, or nothing in it:"
            " build it for that environment first, or correct the path, which begins where you run this."
        )
        return {}, [missing]
    try:
        there = parse(content, origin)
    except CoreError as error:
        return {}, [str(error)]
    problems = []
    if there["airflow_version"] != airflow_version:
        problems.append(
            f"{origin} has an image of Airflow {there['airflow_version']}, and airflow_version is {airflow_version} here."
            " Describe the same version in both environments."
        )
    if there["environment"] == environment:
        problems.append(f"{origin} is of {environment} itself; name another environment in airflow_core_promote_from.")
    if registry.repository(there["image"]) is None:
        problems.append(f"{origin} names {there['image']}, which is in no registry, so nobody else can have it.")
    return {**there, "environment": environment}, problems


def _refusal(origin: str, problems: list[str]) -> CoreError:
    listed = [f"- {problem}" for problem in problems]
    advice = "Take the file from version control, or remove it and run playbooks/core.yml for its environment again."
    return CoreError("\n".join([f"{origin} is not a lock as playbooks/core.yml writes it:", *listed, advice]))


_lock = record(
    {
        "environment": Entry(matching(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "an environment's name"), required=True),
        "airflow_version": Entry(matching(r"[0-9]+(\.[0-9]+)+[a-z0-9]*", "a version in quotes"), required=True),
        "image": Entry(matching(r"[^\s@]+", "a repository's name"), required=True),
        "digest": Entry(matching(r"sha256:[0-9a-f]{64}", "sha256: with 64 hexadecimal digits"), required=True),
        "wheelhouse": Entry(matching(r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits in quotes"), required=True),
        "commit": Entry(matching(r"[0-9a-f]{40}([0-9a-f]{24})?", "a commit's whole name, or null")),
    }
)
_variables = record({VARIABLE: Entry(_lock, required=True)})
_inventory = record({"all": Entry(record({"vars": Entry(_variables, required=True)}), required=True)})
