# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which core an environment has, as the file `core.lock.yml` beside its inventory says it.

    environment: acceptance
    airflow_version: 3.3.2
    image: registry.example.com/data/airflow     # the repository that it was pushed to
    digest: sha256:...                           # the image, for good
    wheelhouse: 64 hexadecimal digits            # what it was built of
    commit: 40 hexadecimal digits                # of the inventory's repository; null where it is in none

Where the core is a virtual environment, there is no image, digest and wheelhouse, but what each host installs it from:

    locks: {"3.13": 64 hexadecimal digits}       # SHA-256 of the lock for each Python; the lock has a hash for each package
    backbone: 64 hexadecimal digits              # of the files of airflow_backbone
    packages: {hooks-1.0-py3-none-any.whl: 64 hexadecimal digits}   # of wheels of one's own; left out where there are none

In its file it is a variable of the inventory, since Ansible reads every file of an inventory's directory. Pure; runs on the
controller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.common.yaml import yaml_dump, yaml_load

from ansible_collections.airstack.backbone.plugins.module_utils._core import registry
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._model.fields import Entry, mapping, matching, record
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import Problem

FILE = "core.lock.yml"
VARIABLE = "airflow_core_deployed"
IMAGE = ("image", "digest", "wheelhouse")
RELEASE = ("locks", "backbone")
PACKAGES = "packages"
KEYS = ("environment", "airflow_version", *IMAGE, *RELEASE, PACKAGES, "commit")

_HEADER = """\
---
# Which core this environment has; playbooks/core.yml writes it. Production takes acceptance's.
"""


def text(content: Mapping[str, Any]) -> str:
    """The file of a lock: the same text for the same lock, whoever writes it and when."""
    said = {key: content[key] for key in KEYS if key in content and (key != PACKAGES or content[key])}
    inventory = {"all": {"vars": {VARIABLE: said}}}
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
    kind = _kind(result)
    if kind is None:
        raise _refusal(
            origin, [f"found {_listed(result)}; should be with {' and '.join(IMAGE)}, or with {' and '.join(RELEASE)}"]
        )
    known = [key for key in KEYS if key in kind or key not in (*IMAGE, *RELEASE, PACKAGES) or result[key]]
    return {key: result[key] for key in known}


def promoted(
    content: str, origin: str, environment: str, airflow_version: str, made: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What another environment's lock becomes in this one, and whatever keeps it from being that.

    :param content: of the other file; nothing where there is none
    :param made: the `locks`, `backbone` and `packages` that a virtual environment would be installed from here; None: an image is
        taken over
    """
    if not content.strip():
        missing = (
            f"airflow_core_promote_from says that the core is the one of {origin}, and there is no such file, or nothing in it:"
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
            f"{origin} has Airflow {there['airflow_version']}, and airflow_version is {airflow_version} here."
            " Describe the same version in both environments."
        )
    if there["environment"] == environment:
        problems.append(f"{origin} is of {environment} itself; name another environment in airflow_core_promote_from.")
    problems += _image_problems(there, origin) if made is None else _release_problems(there, origin, made)
    return {**there, "environment": environment}, problems


def refusals(
    content: str,
    origin: str,
    environment: str,
    airflow_version: str,
    python: str,
    made: Mapping[str, Any],
    *,
    must: bool = False,
) -> list[str]:
    """Why a host may not install a virtual environment: its environment's lock says another one.

    :param content: of the environment's own lock; nothing where there is none
    :param python: the host's
    :param made: `lock`, the SHA-256 of what it would install, `backbone` and `packages`
    :param must: whether there has to be a lock of virtual environments; else nothing is asked of an environment without one
    """
    renewal = "Run playbooks/core.yml for the environment, which says what it has from then on."
    if not content.strip():
        return [f"airflow_core_promote_from is given, and there is no {origin} yet. {renewal}"] if must else []
    try:
        lock = parse(content, origin)
    except CoreError as error:
        return [str(error)]
    if "locks" not in lock:
        text = f"airflow_core_promote_from is given, and {origin} has an image, of which no host here is installed."
        return [f"{text} Set airflow_core_provider to venv. {renewal}"] if must else []
    found = {"environment": environment, "airflow_version": airflow_version}
    problems = [f"{_WORDS[key]} is {value} and not {lock[key]}" for key, value in found.items() if lock[key] != value]
    if lock["backbone"] != made["backbone"]:
        problems.append(f"airflow_backbone has the hash {made['backbone'][:12]} and not {lock['backbone'][:12]}")
    problems += _different_packages(lock, made)
    wanted = lock["locks"].get(python)
    if wanted != made["lock"]:
        asked = f"not {wanted[:12]}" if wanted else f"it has locks for Python {' and '.join(lock['locks']) or 'none'}"
        problems.append(f"the lock for Python {python} has the hash {made['lock'][:12]} and {asked}")
    return [f"This is not the core that {origin} says: {'; '.join(problems)}. {renewal}"] if problems else []


_WORDS = {"environment": "the environment", "airflow_version": "Airflow"}


def _image_problems(there: Mapping[str, Any], origin: str) -> list[str]:
    if "image" not in there:
        text = f"{origin} has virtual environments, and an image was asked for. Set airflow_core_provider to venv, or build"
        return [f"{text} an image in the environment {there['environment']}."]
    if registry.repository(there["image"]) is None:
        return [f"{origin} names {there['image']}, which is in no registry, so nobody else can have it."]
    return []


def _release_problems(there: Mapping[str, Any], origin: str, made: Mapping[str, Any]) -> list[str]:
    if "locks" not in there:
        return [
            f"{origin} has an image, and airflow_core_provider is venv here. Describe the same in both environments."
        ]
    pairs = {
        **{f"the lock for Python {key}": (value, made["locks"].get(key)) for key, value in there["locks"].items()},
        "airflow_backbone": (there["backbone"], made["backbone"]),
    }
    different = [name for name, (wanted, found) in pairs.items() if wanted != found]
    problems = [f"{problem}, which is not what {origin} says." for problem in _different_packages(there, made)]
    if not different:
        return problems
    commit = f", such as that of the commit {there['commit']}" if there["commit"] else ""
    text = f"{' and '.join(different)} {'is' if len(different) == 1 else 'are'} not what {origin} says."
    again = f"or run playbooks/core.yml for {there['environment']} again and try it there."
    return [*problems, f"{text} Use the collection and the locks that it was made with{commit}, {again}"]


def _different_packages(lock: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    wanted, found = lock.get(PACKAGES) or {}, made.get(PACKAGES) or {}
    names = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    return (
        [f"of airflow_core_packages, {' and '.join(names)} {'is' if len(names) == 1 else 'are'} others"]
        if names
        else []
    )


def _kind(lock: Mapping[str, Any]) -> Sequence[str] | None:
    """The keys that say what an environment has: all of an image's or all of a virtual environment's, and none of the others."""
    given = {key for key in (*IMAGE, *RELEASE, PACKAGES) if lock[key] is not None}
    kinds = ((IMAGE, IMAGE), (RELEASE, RELEASE), ((*RELEASE, PACKAGES), RELEASE))
    return next((kind for keys, kind in kinds if given == set(keys)), None)


def _listed(lock: Mapping[str, Any]) -> str:
    return ", ".join(key for key in KEYS if lock[key] is not None)


def _refusal(origin: str, problems: list[str]) -> CoreError:
    listed = [f"- {problem}" for problem in problems]
    advice = "Take the file from version control, or remove it and run playbooks/core.yml for its environment again."
    return CoreError("\n".join([f"{origin} is not a lock as playbooks/core.yml writes it:", *listed, advice]))


_sha256 = matching(r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits in quotes")
_lock = record(
    {
        "environment": Entry(matching(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "an environment's name"), required=True),
        "airflow_version": Entry(matching(r"[0-9]+(\.[0-9]+)+[a-z0-9]*", "a version in quotes"), required=True),
        "image": Entry(matching(r"[^\s@]+", "a repository's name")),
        "digest": Entry(matching(r"sha256:[0-9a-f]{64}", "sha256: with 64 hexadecimal digits")),
        "wheelhouse": Entry(_sha256),
        "locks": Entry(mapping(matching(r"3\.[0-9]+", "a Python's version in quotes"), _sha256)),
        "backbone": Entry(_sha256),
        "packages": Entry(mapping(matching(r"[^\s/]+\.whl", "a wheel's file name"), _sha256)),
        "commit": Entry(matching(r"[0-9a-f]{40}([0-9a-f]{24})?", "a commit's whole name, or null")),
    }
)
_variables = record({VARIABLE: Entry(_lock, required=True)})
_inventory = record({"all": Entry(record({"vars": Entry(_variables, required=True)}), required=True)})
