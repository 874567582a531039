# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lock of what an environment deployed: written, read, followed by another environment."""

from __future__ import annotations

import copy
import json
import typing as t
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.lock import (
    LockError,
    compare,
    lock,
    parse,
    pinned,
    text,
)
from ansible_collections.airstack.backbone.tests.unit.dags.locks import (
    COMMIT,
    OTHER_COMMIT,
    OTHER_TREE,
    SHA256,
    SOURCES,
    TREE,
    Lock,
    all_locked,
    entry,
    locked,
)

RESULTS: dict[str, dict[str, t.Any]] = {
    name: {
        "release": all_locked()["sources"][name]["release"],
        "tree": TREE,
        "commit": COMMIT if name == "etl" else None,
    }
    for name in ("etl", "lake", "ml", "ops")
}

FILE = f"""\
---
# What airstack.backbone deployed last in this environment; playbooks/dags.yml writes it. Production deploys acceptance's.
all:
  vars:
    airflow_dags_deployed:
      environment: acceptance
      sources:
        etl:
          repository: https://git.example.com/etl/dags.git
          commit: {COMMIT}
          subdirectory: dags
          release: {COMMIT[:12]}-{TREE[:16]}
          tree: {TREE}
        ops:
          archive: /srv/archives/ops.tar.gz
          commit: null
          sha256: '{SHA256}'
          subdirectory: null
          release: {TREE[:16]}
          tree: {TREE}
"""


def in_inventory(content: t.Any) -> str:
    """A file with what may be a lock. JSON is YAML."""
    return json.dumps({"all": {"vars": {"airflow_dags_deployed": content}}})


def problems_of(content: str) -> list[str]:
    with pytest.raises(LockError) as refused:
        parse(content, "dags.lock.yml")
    assert str(refused.value).startswith("dags.lock.yml is not a lock")
    return refused.value.problems


def test_a_deployment_of_all_sources_is_recorded() -> None:
    assert lock("acceptance", SOURCES, RESULTS, None) == all_locked()


def test_the_file_is_of_this_format() -> None:
    assert text(locked(ops=entry("ops"), etl=entry("etl"))) == FILE


def test_the_file_is_the_same_whatever_the_order_of_the_description() -> None:
    after = lock("acceptance", SOURCES[::-1], dict(reversed(RESULTS.items())), None)
    assert text(after) == text(lock("acceptance", SOURCES, RESULTS, None))


def test_a_source_that_was_not_deployed_stands_as_before() -> None:
    before = all_locked(ml=entry("ml", tree=OTHER_TREE, release="old"))
    result = {"etl": {"release": "new", "tree": OTHER_TREE, "commit": OTHER_COMMIT}}
    after = lock("acceptance", SOURCES, result, before)
    assert after["sources"]["etl"] == entry("etl", release="new", tree=OTHER_TREE, commit=OTHER_COMMIT)
    assert {name: each for name, each in after["sources"].items() if name != "etl"} == {
        name: before["sources"][name] for name in ("lake", "ml", "ops")
    }


def test_a_source_that_left_the_description_vanishes() -> None:
    assert set(lock("acceptance", SOURCES[1:], {}, all_locked())["sources"]) == {"etl", "lake", "ops"}


def test_a_source_that_was_never_deployed_is_not_in_the_lock() -> None:
    assert lock("acceptance", SOURCES, {}, locked(ml=entry("ml"))) == locked(ml=entry("ml"))


def test_the_lock_of_another_environment_says_nothing_of_this_one() -> None:
    assert lock("production", SOURCES, {"etl": RESULTS["etl"]}, all_locked()) == locked("production", etl=entry("etl"))


def test_a_description_that_changed_is_recorded_when_it_is_deployed() -> None:
    moved = [{"name": "etl", "path": "/srv/etl", "repository": None}]
    assert lock("acceptance", moved, {}, all_locked())["sources"] == {"etl": entry("etl")}
    result = {"etl": {"release": "new", "tree": OTHER_TREE}}
    after = lock("acceptance", moved, result, all_locked())
    assert after["sources"] == {
        "etl": {"path": "/srv/etl", "commit": None, "subdirectory": None, "release": "new", "tree": OTHER_TREE}
    }


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["inventory: found nothing; should be a dictionary with all"]),
        ("- a", ["inventory: found ['a']; should be a dictionary with all"]),
        ("all: {vars: {}}", ["airflow_dags_deployed: found nothing; should be a dictionary with environment, sources"]),
        (
            in_inventory({"sources": {}}),
            ["airflow_dags_deployed.environment: found nothing; should be an environment's name"],
        ),
        (
            in_inventory({"environment": "a", "sources": [], "sorces": {}}),
            [
                "airflow_dags_deployed.sorces: found {}; should be left out (did you mean sources?)",
                "airflow_dags_deployed.sources: found []; should be a dictionary",
            ],
        ),
        (
            in_inventory({"environment": "A b", "sources": {"Etl": 1, "ml": 2}}),
            [
                "airflow_dags_deployed.environment: found 'A b'; should be an environment's name",
                (
                    "a key of airflow_dags_deployed.sources: found 'Etl'; should be a name of lower-case letters, digits"
                    " and underscores that begins with a letter, up to 32 characters"
                ),
                *(
                    f"airflow_dags_deployed.sources.{name}: found {found}; should be a dictionary with path, repository,"
                    " archive, s3, commit, sha256, subdirectory, release, tree"
                    for name, found in {"Etl": 1, "ml": 2}.items()
                ),
            ],
        ),
        ("<<<<<<< HEAD\nenvironment: a\n", ["it holds a merge conflict that nobody resolved"]),
        ("environment: !!timestamp never", ["it is no YAML: 'NoneType' object has no attribute 'groupdict'"]),
    ],
)
def test_what_is_no_lock_is_refused_with_everything_that_is_wrong(content: str, problems: list[str]) -> None:
    assert problems_of(content) == problems


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        (
            "ml",
            {"sha256": SHA256},
            f"ml.sha256: found '{SHA256}'; should be left out, because path is no archive",
        ),
        (
            "ml",
            {"path": None},
            "ml: found nothing; should be with one of path, repository, archive, s3",
        ),
        (
            "ml",
            {"s3": "s3://a"},
            "ml: found 'path, s3'; should be with one of path, repository, archive, s3",
        ),
        (
            "etl",
            {"commit": "main"},
            "etl.commit: found 'main'; should be a commit's whole name, of 40",
        ),
        (
            "etl",
            {"tree": int(SHA256)},
            f"etl.tree: found {SHA256}; should be a SHA-256 of 64 hexadecimal",
        ),
        ("etl", {"tree": TREE.upper()}, "etl.tree: found '41C3A0E2B5D9"),
        (
            "etl",
            {"release": "../x"},
            "etl.release: found '../x'; should be a release's name",
        ),
        (
            "etl",
            {"relase": "x"},
            "etl.relase: found 'x'; should be left out (did you mean release?)",
        ),
    ],
)
def test_a_source_that_could_not_be_deployed_again_is_refused(
    name: str, changes: dict[str, t.Any], problem: str
) -> None:
    [found] = problems_of(in_inventory(locked(**{name: entry(name, **changes)})))
    assert found.removeprefix("airflow_dags_deployed.sources.").startswith(problem)


ONE_LINE = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True) | st.sampled_from(["no", "on", "null", "y", "e1", "true"])


@st.composite
def entries(draw: st.DrawFn) -> dict[str, t.Any]:
    origin = draw(st.sampled_from(["repository", "path", "archive", "s3"]))
    commit = draw(HEX.map(lambda digits: digits[:40]))
    tree = draw(HEX)
    result: dict[str, t.Any] = {origin: draw(ONE_LINE), "commit": commit if origin == "repository" else None}
    if origin in ("archive", "s3") and draw(st.booleans()):
        result["sha256"] = draw(HEX)
    return {**result, "subdirectory": draw(st.none() | ONE_LINE), "release": tree[:16], "tree": tree}


LOCKS = st.fixed_dictionaries(
    {
        "environment": st.from_regex(r"[a-z][a-z0-9]{0,3}(-[a-z0-9]{1,3})?", fullmatch=True),
        "sources": st.dictionaries(NAMES, entries(), max_size=4),
    }
)


@given(LOCKS)
def test_what_is_written_is_read_as_it_was(content: Lock) -> None:
    written = text(content)
    assert parse(written, "dags.lock.yml") == content
    assert text(parse(written, "dags.lock.yml")) == written


@given(st.text() | st.text("[]{}:,-&*!|>'\"# \n?~019.eabtmp<"))
def test_no_text_is_a_traceback(content: str) -> None:
    assert problems_of(content)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(LOCKS, st.data())
def test_no_lock_with_another_value_somewhere_is_a_traceback(content: Lock, data: st.DataObject) -> None:
    broken = copy.deepcopy(content)
    spots: list[tuple[dict[str, t.Any], str]] = [(broken, "environment"), (broken, "sources")]
    for name, each in broken["sources"].items():
        spots += [(broken["sources"], name), *((each, key) for key in each), (each, "unknown")]
    place, key = data.draw(st.sampled_from(spots))
    place[key] = data.draw(ANYTHING)
    with suppress(LockError):
        assert text(parse(in_inventory(broken), "dags.lock.yml"))


def test_sources_are_pinned_to_what_the_other_environment_deployed() -> None:
    sources, problems = pinned(SOURCES, all_locked())
    assert problems == []
    assert sources == [
        {**SOURCES[0], "tree": TREE},
        {**SOURCES[1], "tree": TREE, "version": COMMIT},
        {**SOURCES[2], "tree": TREE, "sha256": SHA256},
        {**SOURCES[3], "tree": TREE},
    ]
    assert SOURCES[1]["version"] == "main"


def test_an_archive_and_a_bucket_may_have_another_address_but_not_another_content() -> None:
    here = [
        {"name": "ops", "archive": "/srv/production/ops.tar.gz", "sha256": 64 * "1"},
        {"name": "lake", "s3": "s3://production-dags/lake.zip"},
    ]
    sources, problems = pinned(here, locked(ops=entry("ops"), lake=entry("lake", sha256=SHA256)))
    assert problems == []
    assert sources == [{**each, "sha256": SHA256, "tree": TREE} for each in here]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            {"name": "new", "path": "/srv/new"},
            "source new: acceptance has not deployed it; deploy it there first",
        ),
        (
            {**SOURCES[1], "repository": "https://git.example.com/fork.git"},
            (
                "source etl: it is described with the repository https://git.example.com/fork.git, and acceptance deployed it"
                " from https://git.example.com/etl/dags.git; name that one here"
            ),
        ),
        (
            {"name": "etl", "path": "/srv/etl", "subdirectory": "dags"},
            (
                "source etl: it is described by path, and acceptance deployed it from repository"
                " https://git.example.com/etl/dags.git; describe it so here"
            ),
        ),
        (
            {**SOURCES[1], "subdirectory": None},
            (
                "source etl: it is described with no subdirectory, and acceptance deployed the subdirectory dags; describe"
                " the same"
            ),
        ),
    ],
)
def test_a_source_that_cannot_follow_the_lock_is_a_problem(source: dict[str, t.Any], problem: str) -> None:
    others = [each for each in SOURCES if each["name"] != source["name"]]
    assert pinned([*others, source], all_locked())[1] == [problem]


def test_a_locked_source_that_is_not_described_is_a_problem() -> None:
    assert pinned(SOURCES[1:], all_locked())[1] == [
        (
            "source ml: acceptance has deployed it, and airflow_dag_sources does not name it here; describe it here too, or"
            " take it out of acceptance and deploy that first"
        )
    ]


def test_every_problem_comes_at_once() -> None:
    here = [
        {**SOURCES[1], "repository": "https://git.example.com/fork.git", "subdirectory": None},
        {"name": "new", "path": "/srv/new"},
    ]
    problems = pinned(here, all_locked())[1]
    assert [problem.split(":")[0] for problem in problems] == [
        f"source {name}" for name in ("etl", "etl", "new", "lake", "ml", "ops")
    ]


@given(LOCKS)
def test_an_environment_that_follows_a_lock_ends_with_the_same_one(there: Lock) -> None:
    described = [{"name": name, "version": "main", **each} for name, each in there["sources"].items()]
    sources, problems = pinned(described, there)
    assert problems == []
    results = {name: {**each, "release": "here"} for name, each in there["sources"].items()}
    after = lock("production", sources, results, None)
    assert compare(there, after) == []


def test_locks_are_compared_by_what_they_say_of_each_source() -> None:
    there = all_locked()
    here = locked(
        "production",
        etl=entry("etl", commit=OTHER_COMMIT, tree=OTHER_TREE),
        lake=entry("lake", s3="s3://production-dags/lake"),
        ml=entry("ml"),
        new=entry("ml", release="r"),
    )
    assert compare(there, here) == [
        ("etl", "commit", COMMIT, OTHER_COMMIT),
        ("etl", "tree", TREE, OTHER_TREE),
        ("lake", "origin", "s3://example-dags/lake/", "s3://production-dags/lake"),
        ("new", "source", None, "r"),
        ("ops", "source", TREE[:16], None),
    ]
    assert compare(there, there) == []
