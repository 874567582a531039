# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""core.lock.yml: written, read back, refused where it is something else, and taken over by another environment."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core.deployed import parse, promoted, text
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError

LOCK: dict[str, Any] = {
    "environment": "acceptance",
    "airflow_version": "3.3.2",
    "image": "registry.example.com/data/airflow",
    "digest": "sha256:" + "0a" * 32,
    "wheelhouse": "1e" * 32,  # digits with an e, which YAML would take for a number
    "commit": "12" * 20,
}


@pytest.mark.parametrize("commit", ["12" * 20, "ab" * 32, None])
def test_a_lock_reads_back(commit: str | None) -> None:
    assert parse(text({**LOCK, "commit": commit}), "core.lock.yml") == {**LOCK, "commit": commit}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (text(LOCK).replace("sha256:", "md5:"), "digest: found"),
        (text(LOCK).replace("airflow_version", "version"), "airflow_version"),
        ("all: [", "is not a lock as playbooks/core.yml writes it"),
        ("<<<<<<< HEAD\n" + text(LOCK), "it holds a merge conflict that nobody resolved"),
        ("all: {}\n", "vars"),
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
        (text(LOCK), "prod", "3.3.1", "has an image of Airflow 3.3.2, and airflow_version is 3.3.1 here"),
        (text(LOCK), "acceptance", "3.3.2", "is of acceptance itself"),
        (text({**LOCK, "image": "localhost/airflow"}), "prod", "3.3.2", "which is in no registry"),
    ],
)
def test_what_cannot_be_taken_over_is_told(content: str, environment: str, version: str, said: str) -> None:
    _lock, problems = promoted(content, "core.lock.yml", environment, version)
    assert len(problems) == 1
    assert said in problems[0]
