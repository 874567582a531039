# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an environment deployed last, as the file `dags.lock.yml` beside its inventory says it.

    environment: acceptance
    sources:
      etl:
        repository: https://git.example.com/etl/dags.git   # or path, archive, s3: where it came from
        commit: 40 hexadecimal digits                      # null for what has none
        sha256: 64 hexadecimal digits                      # of an archive, where it is known
        subdirectory: dags                                 # null for all of it
        release: 3f9c2ab81d04-41c3a0e2b5d9f876
        tree: 64 hexadecimal digits

A lock is a dictionary of this shape. In its file it is a variable of the inventory, since Ansible reads every file of an
inventory's directory. A source is a dictionary of `name` and the options of dag_sync that say where it comes from. Pure; runs
on the controller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.common.yaml import yaml_dump, yaml_load

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import ORIGINS
from ansible_collections.airstack.backbone.plugins.module_utils._model import names
from ansible_collections.airstack.backbone.plugins.module_utils._model.fields import (
    Entry,
    mapping,
    matching,
    record,
)
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import Problem

FILE = "dags.lock.yml"
VARIABLE = "airflow_dags_deployed"
_VARIABLES = "inventory.all.vars."

_ALWAYS_SAID = ("commit", "subdirectory")
"""The keys that are null where there is nothing to say."""

_HASHED = ("archive", "s3")
"""Where an archive comes from, which has a hash of its own."""

_HEADER = """\
---
# What airstack.backbone deployed last in this environment; playbooks/dags.yml writes it. Production deploys acceptance's.
"""

_LONGEST_LINE = 1 << 20  # PyYAML folds longer ones, and a folded address is hard to read in a diff


class LockError(Exception):
    """A text is no lock; `problems` says all that is wrong with it."""

    def __init__(self, origin: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        listed = [f"- {problem}" for problem in self.problems]
        advice = "Take the file from version control, or remove it and deploy all sources of its environment again."
        super().__init__("\n".join([f"{origin} is not a lock as playbooks/dags.yml writes it:", *listed, advice]))


class Difference(NamedTuple):
    """What two locks say differently of a source: `what` is origin, commit, tree, or source where one does not have it.

    `first` and `second` are the two values, None for what is not there.
    """

    source: str
    what: str
    first: str | None
    second: str | None


def lock(
    environment: str,
    sources: Sequence[Mapping[str, Any]],
    results: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The lock after a deployment.

    sources: all that are described; one that is no longer among them leaves the lock.
    results: `release`, `tree`, and where there is one `commit` and `sha256`, of each source that was deployed, by name.
    A source that is not among them stands as it did before.
    before: the former lock; None before the first deployment. Another environment's counts as none.
    """
    kept = before["sources"] if before and before["environment"] == environment else {}
    entries = {
        str(source["name"]): _record(source, results[source["name"]])
        if source["name"] in results
        else kept.get(source["name"])
        for source in sorted(sources, key=lambda source: str(source["name"]))
    }
    return {
        "environment": str(environment),
        "sources": {name: entry for name, entry in entries.items() if entry is not None},
    }


def text(content: Mapping[str, Any]) -> str:
    """The file of a lock: the same text for the same lock, whoever writes it and when."""
    ordered = {
        "environment": content["environment"],
        "sources": {name: content["sources"][name] for name in sorted(content["sources"])},
    }
    inventory = {"all": {"vars": {VARIABLE: ordered}}}
    dumped = yaml_dump(inventory, sort_keys=False, default_flow_style=False, allow_unicode=True, width=_LONGEST_LINE)
    return f"{_HEADER}{dumped}"


def parse(content: str, origin: str) -> dict[str, Any]:
    """The lock that a file holds.

    :param origin: the file's name, for messages
    :raises LockError: it holds no lock, with every problem; a key that is not known is one, since what it means would
        not be done
    """
    try:
        found = yaml_load(str(content))  # libyaml reads no string that Ansible has put its tags on
    except Exception as error:  # PyYAML lets through whatever Python says of a value that does not fit its tag
        conflict = "<<<<<<<" in content
        why = "it holds a merge conflict that nobody resolved" if conflict else f"it is no YAML: {_one_line(error)}"
        raise LockError(origin, [why]) from None
    problems: list[Problem] = []
    inventory = _inventory(found, "inventory", problems)
    if inventory is None or problems:
        raise LockError(origin, [str(problem).replace(_VARIABLES, "", 1) for problem in problems])
    result: dict[str, Any] = inventory["all"]["vars"][VARIABLE]
    return result


def pinned(sources: Sequence[Mapping[str, Any]], locked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The sources as another environment deployed them, and whatever keeps them from being that.

    :param sources: all that are described
    :param locked: the lock of the other environment
    :return: the sources with `tree`, the hash that their content must have, git's with the locked commit as `version`,
        archives with the locked `sha256`; and the problems, in words for a person
    """
    there = str(locked["environment"])
    problems: list[str] = []
    result = []
    for source in sources:
        name, entry = source["name"], locked["sources"].get(source["name"])
        if entry is None:
            problems.append(f"source {name}: {there} has not deployed it; deploy it there first")
            continue
        problems += [f"source {name}: {problem}" for problem in _mismatches(source, entry, there)]
        pins = {"version": entry["commit"], "sha256": entry.get("sha256"), "tree": entry["tree"]}
        result.append({**source, **{key: value for key, value in pins.items() if value is not None}})
    described = {source["name"] for source in sources}
    problems += [
        f"source {name}: {there} has deployed it, and airflow_dag_sources does not name it here; describe it here too, or"
        f" take it out of {there} and deploy that first"
        for name in sorted(set(locked["sources"]) - described)
    ]
    return result, problems


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """How two locks differ, sorted by source."""
    differences = []
    for name in sorted({*first["sources"], *second["sources"]}):
        one, other = first["sources"].get(name), second["sources"].get(name)
        if one is None or other is None:
            differences.append(Difference(name, "source", one and one["release"], other and other["release"]))
            continue
        pairs = {
            "origin": (one[_kind(one)], other[_kind(other)]),
            "commit": (one["commit"], other["commit"]),
            "tree": (one["tree"], other["tree"]),
        }
        differences += [Difference(name, what, *pair) for what, pair in pairs.items() if pair[0] != pair[1]]
    return differences


def _record(source: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(source)
    values = {
        kind: source[kind],
        "commit": result.get("commit"),
        "sha256": result.get("sha256") or source.get("sha256"),
        "subdirectory": source.get("subdirectory"),
        "release": result["release"],
        "tree": result["tree"],
    }
    return {
        key: value if value is None else str(value)
        for key, value in values.items()
        if value is not None or key in _ALWAYS_SAID
    }


def _kind(source: Mapping[str, Any]) -> str:
    return next(kind for kind in ORIGINS if source.get(kind) is not None)


def _mismatches(source: Mapping[str, Any], entry: Mapping[str, Any], there: str) -> list[str]:
    """What the description says otherwise than the environment that is followed.

    Only a repository has to be the same one. A path, an archive's place or a bucket may be another in each environment,
    and its content is compared by its hash.
    """
    kind, wanted = _kind(source), _kind(entry)
    if kind != wanted:
        return [
            f"it is described by {kind}, and {there} deployed it from {wanted} {entry[wanted]}; describe it so here"
        ]
    problems = []
    if kind == "repository" and source[kind] != entry[kind]:
        problems.append(
            f"it is described with the repository {source[kind]}, and {there} deployed it from {entry[kind]}; name that"
            " one here"
        )
    if source.get("subdirectory") != entry["subdirectory"]:
        problems.append(
            f"it is described with {_place(source.get('subdirectory'))}, and {there} deployed"
            f" {_place(entry['subdirectory'])}; describe the same"
        )
    return problems


def _place(subdirectory: str | None) -> str:
    return f"the subdirectory {subdirectory}" if subdirectory else "no subdirectory"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _entry(value: Any, where: str, problems: list[Problem]) -> dict[str, Any] | None:
    """A source of a lock, with the keys that stand in the module's docstring and no others."""
    entry = _locked(value, where, problems)
    if entry is None:
        return None
    kinds = [kind for kind in ORIGINS if entry[kind] is not None]
    if len(kinds) != 1:
        problems.append(Problem(where, ", ".join(kinds) or None, f"with one of {', '.join(ORIGINS)}"))
        return None
    [kind] = kinds
    if kind not in _HASHED and entry["sha256"] is not None:
        problems.append(Problem(f"{where}.sha256", entry["sha256"], f"left out, because {kind} is no archive"))
    said = (kind, *_ALWAYS_SAID, "release", "tree", *(["sha256"] if entry["sha256"] is not None else []))
    return {key: found for key, found in entry.items() if key in said}


_address = matching(r"[^\0\n]+", "an address or a path on one line")
_sha256 = matching(r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits in quotes")
_commit = matching(r"[0-9a-f]{40}([0-9a-f]{24})?", "a commit's whole name, of 40 or 64 hexadecimal digits, or null")
_locked = record(
    {
        **{kind: Entry(_address) for kind in ORIGINS},
        "commit": Entry(_commit),
        "sha256": Entry(_sha256),
        "subdirectory": Entry(matching(r"[^\0\n]+", "a path inside the source, or null")),
        "release": Entry(matching(r"[0-9a-z][0-9a-z._-]*", "a release's name"), required=True),
        "tree": Entry(_sha256, required=True),
    }
)
_lock = record(
    {
        "environment": Entry(matching(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "an environment's name"), required=True),
        "sources": Entry(mapping(names.name, _entry), required=True),
    }
)
_variables = record({VARIABLE: Entry(_lock, required=True)})
_inventory = record({"all": Entry(record({"vars": Entry(_variables, required=True)}), required=True)})
