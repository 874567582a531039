# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""An empty DAG storage; a git repository, and an origin that reads it from this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags import releases
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.tests.unit.dags.git_servers import Upstream


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / releases.SENTINEL).touch()
    return storage


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream.make(tmp_path / "served", "etl")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def origin(upstream: Upstream, cache: Path) -> GitOrigin:
    return GitOrigin(str(upstream.bare), cache)
