# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""core.lock.yml: written, read back, refused where it is something else, and taken over by another environment."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core.deployed import parse, promoted, refusals, text
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError

LOCK: dict[str, Any] = {
    "environment": "acceptance",
    "airflow_version": "3.3.2",
    "image": "registry.example.com/data/airflow",
    "digest": "sha256:" + "0a" * 32,
    "wheelhouse": "1e" * 32,  # digits with an e, which YAML would take for a number
    "commit": "12" * 20,
}

VENV: dict[str, Any] = {
    "environment": "acceptance",
    "airflow_version": "3.3.2",
    "locks": {"3.11": "3a" * 32, "3.13": "4b" * 32},
    "backbone": "5c" * 32,
    "commit": None,
}
HOOKS = {"hooks-1.0-py3-none-any.whl": "7e" * 32}
MADE = {key: VENV[key] for key in ("locks", "backbone")}


@pytest.mark.parametrize("commit", ["12" * 20, "ab" * 32, None])
def test_a_lock_reads_back(commit: str | None) -> None:
    for lock in (LOCK, VENV, {**VENV, "packages": HOOKS}):
        assert parse(text({**lock, "commit": commit}), "core.lock.yml") == {**lock, "commit": commit}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (text(LOCK).replace("sha256:", "md5:"), "digest: found"),
        (text(LOCK).replace("airflow_version", "version"), "airflow_version"),
        ("all: [", "is not a lock as playbooks/core.yml writes it"),
        ("<<<<<<< HEAD\n" + text(LOCK), "it holds a merge conflict that nobody resolved"),
        ("all: {}\n", "vars"),
        (
            text({**LOCK, **MADE}),
            "found environment, airflow_version, image, digest, wheelhouse, locks, backbone, commit",
        ),
        (text({key: LOCK[key] for key in LOCK if key != "digest"}), "should be with image and digest and wheelhouse"),
        (text({**VENV, "locks": {"3": "3a" * 32}}), "a Python's version in quotes"),
        (text({**VENV, "packages": {"a/b.whl": "7e" * 32}}), "a wheel's file name"),
        (text({**LOCK, "packages": HOOKS}), "found environment, airflow_version, image, digest, wheelhouse, packages"),
    ],
)
def test_what_is_no_lock_is_refused(content: str, said: str) -> None:
    with pytest.raises(CoreError, match=r"inventories/acceptance/core\.lock\.yml") as refused:
        parse(content, "inventories/acceptance/core.lock.yml")
    assert said in str(refused.value)


def test_another_environment_takes_the_image_over() -> None:
    assert promoted(text(LOCK), "core.lock.yml", "prod", "3.3.2") == ({**LOCK, "environment": "prod"}, [])


@pytest.mark.parametrize(
    ("content", "environment", "version", "said"),
    [
        ("", "prod", "3.3.2", "there is no such file"),
        ("all: {}\n", "prod", "3.3.2", "is not a lock"),
        (text(LOCK), "prod", "3.3.1", "has Airflow 3.3.2, and airflow_version is 3.3.1 here"),
        (text(LOCK), "acceptance", "3.3.2", "is of acceptance itself"),
        (text({**LOCK, "image": "localhost/airflow"}), "prod", "3.3.2", "which is in no registry"),
    ],
)
def test_what_cannot_be_taken_over_is_told(content: str, environment: str, version: str, said: str) -> None:
    _lock, problems = promoted(content, "core.lock.yml", environment, version)
    assert len(problems) == 1
    assert said in problems[0]


def test_another_environment_takes_virtual_environments_over() -> None:
    assert promoted(text(VENV), "core.lock.yml", "prod", "3.3.2", MADE) == ({**VENV, "environment": "prod"}, [])
    # A Python that only this environment has a lock for was tried nowhere, and is not taken over.
    made = {**MADE, "locks": {**VENV["locks"], "3.12": "6d" * 32}}
    assert promoted(text(VENV), "core.lock.yml", "prod", "3.3.2", made) == ({**VENV, "environment": "prod"}, [])


@pytest.mark.parametrize(
    ("content", "made", "said"),
    [
        (text(VENV), None, "has virtual environments, and an image was asked for"),
        (text(LOCK), MADE, "has an image, and airflow_core_provider is venv here"),
        (text(VENV), {**MADE, "backbone": "0" * 64}, "airflow_backbone is not what core.lock.yml says"),
        (
            text(VENV),
            {**MADE, "packages": HOOKS},
            "of airflow_core_packages, hooks-1.0-py3-none-any.whl is others, which is",
        ),
        (
            text(VENV),
            {"locks": {}, "backbone": "0" * 64},
            "3.11 and the lock for Python 3.13 and airflow_backbone are not what",
        ),
        (
            text({**VENV, "commit": "12" * 20}),
            {**MADE, "locks": {"3.11": "3a" * 32}},
            f"such as that of the commit {'12' * 20}, or run playbooks/core.yml for acceptance again",
        ),
    ],
)
def test_what_would_be_another_core_is_not_taken_over(content: str, made: dict[str, Any] | None, said: str) -> None:
    _lock, problems = promoted(content, "core.lock.yml", "prod", "3.3.2", made)
    assert len(problems) == 1
    assert said in problems[0]


HOST = {"lock": "4b" * 32, "backbone": "5c" * 32}


@pytest.mark.parametrize(
    ("content", "python", "made", "must", "said"),
    [
        ("", "3.13", HOST, False, []),
        (text(LOCK), "3.13", HOST, False, []),
        (text(VENV), "3.13", HOST, True, []),
        (text({**VENV, "packages": HOOKS}), "3.13", {**HOST, "packages": HOOKS}, True, []),
        (
            text({**VENV, "packages": HOOKS}),
            "3.13",
            HOST,
            False,
            ["of airflow_core_packages, hooks-1.0-py3-none-any.whl is others"],
        ),
        ("", "3.13", HOST, True, ["airflow_core_promote_from is given, and there is no core.lock.yml yet"]),
        (text(LOCK), "3.13", HOST, True, ["core.lock.yml has an image, of which no host here is installed"]),
        ("x: [", "3.13", HOST, False, ["core.lock.yml is not a lock"]),
        (
            text(VENV),
            "3.13",
            {**HOST, "backbone": "0" * 64},
            False,
            [f"airflow_backbone has the hash {'0' * 12} and not 5c5c"],
        ),
        (
            text(VENV),
            "3.13",
            {**HOST, "lock": "0" * 64},
            False,
            [f"Python 3.13 has the hash {'0' * 12} and not 4b4b4b4b4b4b"],
        ),
        (
            text(VENV),
            "3.12",
            HOST,
            False,
            ["the lock for Python 3.12 has the hash 4b4b4b4b4b4b and it has locks for Python 3.11 and"],
        ),
        (
            text({**VENV, "environment": "prod", "airflow_version": "3.3.1"}),
            "3.13",
            HOST,
            False,
            ["the environment is acceptance and not prod; Airflow is 3.3.2 and not 3.3.1. Run playbooks/core.yml"],
        ),
    ],
)
def test_a_host_installs_what_its_environment_has(
    content: str, python: str, made: dict[str, str], must: bool, said: list[str]
) -> None:
    found = refusals(content, "core.lock.yml", "acceptance", "3.3.2", python, made, must=must)
    assert len(found) == len(said)
    assert all(part in whole for part, whole in zip(said, found, strict=True)), found
