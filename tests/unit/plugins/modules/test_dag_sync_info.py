# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""dag_sync_info as a module: what it looks at, and what it refuses to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import dag_sync, dag_sync_info


@pytest.fixture(name="storage")
def storage_with_a_source(run_module: Any, tmp_path: Path) -> Path:
    storage, source = tmp_path / "storage", tmp_path / "source"
    for directory in (storage, source):
        directory.mkdir()
    (storage / ".airflow-dag-storage").touch()
    (source / "a.py").write_text("a = 1\n", encoding="utf-8")
    etl = {"name": "etl", "path": str(source), "remote_src": True}
    assert run_module(dag_sync.main, storage=str(storage), sources=[etl])["changed"]
    return storage


@pytest.mark.parametrize("sources", [None, ["etl"]])
def test_a_source_and_its_damage(run_module: Any, storage: Path, sources: list[str] | None) -> None:
    wanted = {} if sources is None else {"sources": sources}
    found = run_module(dag_sync_info.main, storage=str(storage), verify=True, **wanted)
    assert (found["changed"], found["problems"], list(found["sources"])) == (False, [], ["etl"])
    release = found["sources"]["etl"]["current"]
    (storage / "etl/current/a.py").write_text("a = 2\n", encoding="utf-8")
    found = run_module(dag_sync_info.main, storage=str(storage), verify=True, **wanted)
    assert found["problems"] == [f"etl: release {release}: a.py has another content"]


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", ".", "..", "-x"])
def test_what_is_no_source_is_not_looked_at(run_module: Any, storage: Path, name: str) -> None:
    result = run_module(dag_sync_info.main, storage=str(storage), sources=["etl", name])
    assert result["failed"] is True
    assert result["msg"].startswith(f"{name!r} is no source's name")
