# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""dag_sync_info: what it tells of releases that dag_sync made, rolled back and somebody damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import dag_sync, dag_sync_info


@pytest.fixture(name="storage")
def storage_of_two_sources(run_module: Any, tmp_path: Path) -> Path:
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / ".airflow-dag-storage").touch()
    for text in ("one", "two"):
        for name in ("etl", "ml"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "a.py").write_text(f"# {name} {text}\n", encoding="utf-8")
        sources = [{"name": name, "path": str(tmp_path / name), "remote_src": True} for name in ("etl", "ml")]
        assert run_module(dag_sync.main, storage=str(storage), sources=sources)["changed"] is True
    run_module(dag_sync.main, storage=str(storage), sources=[{"name": "ml"}], state="rolled_back")
    return storage


def test_releases_and_their_history(run_module: Any, storage: Path) -> None:
    answer = run_module(dag_sync_info.main, storage=str(storage), verify=True)
    assert (answer["changed"], answer["problems"], set(answer["sources"])) == (False, [], {"etl", "ml"})
    etl, ml = answer["sources"]["etl"], answer["sources"]["ml"]
    newest = next(release for release in etl["releases"] if release["is_current"])
    assert (etl["current"], len(etl["releases"]), newest["files"]) == (newest["release"], 2, 1)
    assert etl["previous"] in {release["release"] for release in etl["releases"]} - {etl["current"]}
    assert [event["action"] for event in ml["history"]] == ["published", "published", "rolled_back"]
    assert ml["previous"] is None


def test_damage_is_found_only_where_it_is_looked_for(run_module: Any, storage: Path) -> None:
    release = (storage / "etl/current").resolve()
    (release / "a.py").write_text("# somebody else's\n", encoding="utf-8")
    assert run_module(dag_sync_info.main, storage=str(storage), sources=["etl"])["problems"] == []
    answer = run_module(dag_sync_info.main, storage=str(storage), sources=["etl"], verify=True)
    assert answer["problems"] == [f"etl: release {release.name}: a.py has another content"]
    assert set(answer["sources"]) == {"etl"}


def test_a_link_to_nowhere_is_a_problem(run_module: Any, storage: Path) -> None:
    (storage / "etl/current").unlink()
    (storage / "etl/current").symlink_to("releases/0000000000000000")
    answer = run_module(dag_sync_info.main, storage=str(storage))
    assert answer["problems"] == [
        f"etl: {storage}/etl/current names the release 0000000000000000, which is not there; roll back, or publish again"
    ]


def test_an_empty_mount_point_is_no_storage(run_module: Any, tmp_path: Path) -> None:
    answer = run_module(dag_sync_info.main, storage=str(tmp_path))
    assert answer["failed"] is True
    assert "is not a DAG storage" in answer["msg"]


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", ".", "..", "-x"])
def test_what_is_no_source_is_not_looked_at(run_module: Any, storage: Path, name: str) -> None:
    result = run_module(dag_sync_info.main, storage=str(storage), sources=["etl", name])
    assert result["failed"] is True
    assert result["msg"].startswith(f"{name!r} is no source's name")
