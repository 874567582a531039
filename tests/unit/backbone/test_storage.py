# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How the core reads the DAG storage that dag_sync writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_backbone import storage as core
from airflow_backbone.storage import (
    ReleaseAbsent,
    StorageAbsent,
    current_release,
    pinned_release,
    read_metadata,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags import (
    files,
    jobs,
    releases,
    staging,
    switching,
    tree,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryOrigin


@pytest.fixture(name="storage")
def storage_with_one_release(tmp_path: Path) -> Path:
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / releases.SENTINEL).touch()
    publish(storage, b"1")
    return storage


def publish(storage: Path, content: bytes) -> str:
    source = storage.parent / "source"
    source.mkdir(exist_ok=True)
    (source / "a.py").write_bytes(content)
    job = jobs.Job(releases.Directory(storage, "etl"), files.Attributes(os.geteuid(), os.getegid()), "test")
    return str(switching.switch(job, staging.stage(job, OfCommit(source)))["release"])


class OfCommit(DirectoryOrigin):
    """A directory that says that it is a commit's."""

    def revision(self) -> dict[str, str]:
        return {"commit": "c0ffee", "content": (self.path / "a.py").read_text(encoding="utf-8")}


def test_writer_and_reader_mean_the_same_files() -> None:
    assert (core.SENTINEL, core.METADATA) == (releases.SENTINEL, tree.METADATA)


def test_the_current_release_is_named_by_its_own_path(storage: Path) -> None:
    release = current_release(storage, "etl")
    assert release.path == storage / "etl/releases" / release.name
    assert release.metadata["commit"] == "c0ffee"
    new = publish(storage, b"2")
    assert (release.path / "a.py").read_bytes() == b"1"
    assert current_release(storage, "etl").name == new


def test_a_run_keeps_the_release_that_it_began_with(storage: Path) -> None:
    old = current_release(storage, "etl").name
    publish(storage, b"2")
    assert (pinned_release(storage, "etl", old).path / "a.py").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["gone", "..", ".", "../../ml/releases/x", "/etc"])
def test_a_release_that_is_gone_is_said_so(storage: Path, name: str) -> None:
    with pytest.raises(ReleaseAbsent, match=r"of source 'etl' is gone from .*/etl/releases"):
        pinned_release(storage, "etl", name)


def test_a_storage_that_is_not_mounted_is_not_an_empty_one(storage: Path) -> None:
    name = current_release(storage, "etl").name
    (storage / core.SENTINEL).unlink()
    with pytest.raises(StorageAbsent, match=r"is not available here: .*/\.airflow-dag-storage does not exist"):
        current_release(storage, "etl")
    with pytest.raises(StorageAbsent):
        pinned_release(storage, "etl", name)


def test_a_source_without_a_release_is_said_so(storage: Path) -> None:
    with pytest.raises(ReleaseAbsent, match="Source 'ml' has no current release"):
        current_release(storage, "ml")
    (storage / "ml").mkdir()
    (storage / "ml/current").symlink_to("releases/none")
    with pytest.raises(ReleaseAbsent, match=r"names the release none, and .* does not exist"):
        current_release(storage, "ml")


@pytest.mark.parametrize("content", [None, "", "{", "[]", "\xff"])
def test_metadata_that_cannot_be_read_stops_no_dag(storage: Path, content: str | None) -> None:
    release = current_release(storage, "etl").path
    (release / core.METADATA).unlink()
    if content is not None:
        (release / core.METADATA).write_text(content, encoding="latin-1")
    assert read_metadata(release) == {}
    assert current_release(storage, "etl").path == release


def test_reading_writes_nothing(storage: Path) -> None:
    before = sorted(storage.rglob("*"))
    current_release(storage, "etl")
    assert sorted(storage.rglob("*")) == before
