# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where a source's DAGs come from: what is read, what does not go together, and which secrets it needs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import SOURCE
from ansible_collections.airstack.backbone.plugins.module_utils._model import dag_sources, plan, secrets
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory

GIT = "https://git.example.com/etl/dags.git"


def described(variables: dict[str, Any], **source: Any) -> dict[str, Any]:
    """The description with another first source."""
    first = {"name": "etl", "queues": ["etl"], **source}
    return {**variables, "airflow_dag_sources": [first, variables["airflow_dag_sources"][1]]}


def made(variables: dict[str, Any], inventory: Inventory, **source: Any) -> dict[str, Any]:
    result, problems = plan.make(described(variables, **source), inventory)
    assert problems == []
    assert result is not None
    return result


def problems_of(variables: dict[str, Any], inventory: Inventory, **source: Any) -> list[str]:
    result, problems = plan.make(described(variables, **source), inventory)
    assert result is None
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("source", "origin", "secret"),
    [
        ({"path": "/dags/etl"}, {"path": "/dags/etl", "exclude": []}, None),
        (
            {"path": "/dags/etl", "remote_src": True, "subdirectory": "dags"},
            {"path": "/dags/etl", "remote_src": True, "subdirectory": "dags", "exclude": []},
            None,
        ),
        (
            {"repository": GIT, "version": "main", "credential": "token", "username": "deploy", "lfs": True},
            {"repository": GIT, "version": "main", "username": "deploy", "lfs": True, "exclude": []},
            {"name": "source_etl", "option": "token"},
        ),
        (
            {"repository": "git@git.example.com:etl/dags.git", "credential": "ssh_key", "submodules": True},
            {"repository": "git@git.example.com:etl/dags.git", "submodules": True, "exclude": []},
            {"name": "source_etl", "option": "ssh_key"},
        ),
        (
            {"archive": "/builds/etl.tar.gz", "sha256": "0" * 64, "exclude": ["tests/"]},
            {"archive": "/builds/etl.tar.gz", "sha256": "0" * 64, "exclude": ["tests/"]},
            None,
        ),
        (
            {"s3": "s3://dags/etl/", "access_key": "AKIA", "endpoint_url": "https://s3.example.com"},
            {"s3": "s3://dags/etl/", "access_key": "AKIA", "endpoint_url": "https://s3.example.com", "exclude": []},
            {"name": "source_etl", "option": "secret_key"},
        ),
    ],
)
def test_each_kind_of_origin(
    variables: dict[str, Any], inventory: Inventory, source: dict[str, Any], origin: dict[str, Any], secret: Any
) -> None:
    planned = made(variables, inventory, **source)
    found = planned["sources"][0]
    assert (found["origin"], found["secret"]) == (origin, secret)
    assert origin.keys() <= SOURCE.keys()
    kinds = {each["name"]: each["kind"] for each in planned["secrets"]}
    is_key = secret is not None and secret["option"] == "ssh_key"
    assert kinds.get("source_etl") == (None if secret is None else "ssh_key" if is_key else "given")


def test_every_key_of_an_origin_is_an_option_of_dag_sync_or_the_plans_own() -> None:
    keys = {key for kind, keys in dag_sources.ORIGINS.items() for key in (kind, *keys)}
    assert keys - SOURCE.keys() == {"credential", "view_url"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({}, "airflow_dag_sources[0]: found nothing; should be one of path, repository, archive, s3"),
        ({"path": "/a", "archive": "/b"}, "found {'path': '/a', 'archive': '/b'}; should be one of"),
        ({"path": "/a", "version": "main"}, "[0].version: found 'main'; should be left out: it goes with repository"),
        (
            {"archive": "/a", "submodules": False},
            "should be left out: it goes with repository, and this source has archive",
        ),
        ({"s3": "s3://dags/etl/", "sha256": "0" * 64}, "the address names all objects below it, not an archive"),
        ({"s3": "dags/etl"}, "[0].s3: found 'dags/etl'; should be an address such as s3://bucket/dags/etl/"),
        ({"repository": "ext::sh -c id"}, "[0].repository"),
        ({"repository": "--upload-pack=id"}, "[0].repository"),
        ({"repository": GIT, "version": "-x"}, "[0].version: found '-x'; should be a branch, tag or commit"),
        ({"repository": "https://me:secret@git.example.com/x.git"}, "without user and password"),
        ({"repository": "http://git.example.com/x", "credential": "token"}, "begins with https://"),
        ({"repository": GIT, "credential": "ssh_key"}, "[0].credential: found 'ssh_key'; should be token"),
        ({"repository": GIT, "username": "x"}, "left out: it goes with credential: token"),
        ({"repository": GIT, "credential": "password"}, "should be one of token, ssh_key"),
        ({"repository": GIT, "view_url": "https://git.example.com/x"}, "write {commit} there"),
    ],
)
def test_what_does_not_go_together(
    variables: dict[str, Any], inventory: Inventory, source: dict[str, Any], problem: str
) -> None:
    found = problems_of(variables, inventory, **source)
    assert len(found) == 1
    assert problem in found[0]
    assert "secret@" not in found[0]


def test_the_page_of_a_commit_reaches_the_bundle(variables: dict[str, Any], inventory: Inventory) -> None:
    given = made(variables, inventory, repository=GIT, view_url="https://git.example.com/etl/-/commit/{commit}")
    assert given["sources"][0]["view_url"] == "https://git.example.com/etl/-/commit/{version!s:.12}"
    derived = made(variables, inventory, repository="git@github.com:etl/dags.git")
    assert derived["sources"][0]["view_url"].startswith("https://github.com/etl/dags/commit/{version")


def test_versions_and_a_choice_for_one_run(variables: dict[str, Any], inventory: Inventory) -> None:
    git = described(variables, repository=GIT, version="main")
    result, problems = plan.make(
        {**git, "airflow_dags_versions": {"etl": "v2.1.0"}, "airflow_dags_only": "etl, ml"}, inventory
    )
    assert problems == []
    assert result is not None
    assert (result["sources"][0]["origin"]["version"], result["dags_only"]) == ("v2.1.0", ["etl", "ml"])
    wrong = {"airflow_dags_versions": {"ml": "v1", "elt": "v2"}, "airflow_dags_only": ["elt"]}
    result, problems = plan.make({**git, **wrong}, inventory)
    assert [str(problem) for problem in problems] == [
        "airflow_dags_versions.ml: found 'v1'; should be the version of a source with a repository: etl",
        "airflow_dags_versions.elt: found 'v2'; should be the version of a source with a repository: etl",
        "airflow_dags_only[0]: found 'elt'; should be the name of a source: etl, ml",
    ]


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc=\n-----END OPENSSH PRIVATE KEY-----\n", None),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc=\n-----END OPENSSH PRIVATE KEY-----", None),
        ("ssh-ed25519 AAAA me@here", "it is no private key"),
        ("", "it is empty"),
    ],
)
def test_a_private_key_has_lines(value: str, flaw: str | None) -> None:
    found = secrets.flaw("ssh_key", value)
    assert found == flaw if flaw is None else flaw in str(found)
