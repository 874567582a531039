# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The DAG repository that a pipeline is in."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.airstack.backbone.tests.unit.pipelines.running import committed, git


@pytest.fixture(name="repository")
def dag_repository(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "etl"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    committed(folder, dags__orders_py="first = 1\n", README="etl\n")
    return folder
