# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A source's directory that somebody else owns, who puts links and pipes where the publisher works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags import (
    history,
    inspection,
    jobs,
    pruning,
    switching,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import directory as origins_directory
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import (
    DirectoryContent,
    open_file,
    scan,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags import publisher
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Tree, make, read

ATTRIBUTES = Attributes(os.geteuid(), os.getegid())
ELSEWHERE: Tree = {"b.py": b"of the host", "old/b.py": b"of the host", "deep/b.py": b"of the host"}


@pytest.fixture(name="elsewhere")
def what_no_publisher_may_touch(tmp_path: Path) -> Path:
    return make(tmp_path / "elsewhere", ELSEWHERE)


def job(storage: Path, **options: Any) -> jobs.Job:
    return jobs.Job(Directory(storage, "etl"), ATTRIBUTES, "test", **options)


def publish(storage: Path, tree: Tree, **options: Any) -> dict[str, Any]:
    source = storage.parent / f"source-{len(list(storage.parent.iterdir()))}"
    return publisher.publish(job(storage, **options), make(source, tree))


def names_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("is_check", [False, True])
@pytest.mark.parametrize("what", ["etl", "etl/releases", "etl/.lock"])
def test_a_link_is_not_written_through(storage: Path, elsewhere: Path, what: str, is_check: bool) -> None:
    leads_to = elsewhere / "made" if what == "etl/.lock" else elsewhere
    (storage / what).parent.mkdir(exist_ok=True)
    (storage / what).symlink_to(leads_to)
    before = names_below(elsewhere)
    all_old = pruning.Retention(keep=1, minimum_age=-1)
    if not (is_check and what == "etl/.lock"):
        with pytest.raises((PublishError, OSError), match=r"symbolic link"):
            publish(storage, {"a.py": b"1"}, retention=all_old, is_check=is_check)
    if what != "etl/.lock":
        with pytest.raises(PublishError, match=r"symbolic link"):
            switching.remove(job(storage, is_check=is_check))
    assert names_below(elsewhere) == before


def test_a_link_in_place_of_what_is_being_made_is_not_followed(
    storage: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DirectoryContent.write

    def write(
        content: DirectoryContent, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes
    ) -> int:
        [staging] = (storage / "etl").glob(".staging-*")
        staging.rename(storage / "etl/.moved")
        staging.symlink_to(elsewhere)
        return real(content, pool, wanted, attributes)

    monkeypatch.setattr(DirectoryContent, "write", write)
    with pytest.raises(PublishError, match="run this again"):
        publish(storage, {"a.py": b"1", "deep/new.py": b"2"})
    assert read(elsewhere) == ELSEWHERE
    assert read(storage / "etl/.moved") == {"a.py": b"1", "deep/new.py": b"2"}


@needs.root
def test_nobody_else_gets_into_what_is_being_made(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    real = DirectoryContent.write

    def write(
        content: DirectoryContent, pool: ThreadPoolExecutor, wanted: Mapping[str, list[Wanted]], attributes: Attributes
    ) -> int:
        found.extend(path.stat() for path in (storage / "etl").glob(".staging-*"))
        return real(content, pool, wanted, attributes)

    monkeypatch.setattr(DirectoryContent, "write", write)
    tenants = jobs.Job(Directory(storage, "etl"), Attributes(1234, 1234), "test")
    release = Path(publisher.publish(tenants, make(storage.parent / "source", {"deep/a.py": b"1"}))["directory"])
    assert [(each.st_uid, each.st_mode & 0o7777) for each in found] == [(0, 0o700)]
    assert [(each.stat().st_uid, each.stat().st_mode & 0o7777) for each in (release, release / "deep")] == [
        (1234, 0o755),
        (1234, 0o755),
    ]


def test_a_link_in_place_of_what_is_being_removed_is_not_followed(
    storage: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Path(publish(storage, {"deep/b.py": b"1"})["directory"])
    real = pruning.each

    def each(*arguments: Any) -> list[Any]:
        if (release / "deep").is_dir() and not (release / "deep").is_symlink():
            (release / "deep").rename(storage / "etl/moved")
            (release / "deep").symlink_to(elsewhere)
        return real(*arguments)

    monkeypatch.setattr(pruning, "each", each)
    pruning.remove_tree(release)
    assert read(elsewhere) == ELSEWHERE
    assert not release.exists()


@pytest.mark.parametrize("name", [".history", "current/.release.json", "current/.release.manifest"])
def test_a_pipe_is_not_waited_for(storage: Path, name: str) -> None:
    publish(storage, {"a.py": b"1"})
    (storage / "etl" / name).unlink()
    os.mkfifo(storage / "etl" / name)
    directory = Directory(storage, "etl")
    inspection.inspect(directory, verify=True)
    if name == "current/.release.json":
        with pytest.raises(PublishError, match="It is not a file"):
            publish(storage, {"a.py": b"1"})
    else:
        assert publish(storage, {"a.py": b"1"})["changed"] is False
    assert publish(storage, {"a.py": b"2"}, is_diff=True)["counts"]["added" if "manifest" in name else "changed"] == 1
    assert history.read(directory)


@pytest.mark.parametrize("what", ["a link", "a pipe", "beneath a link", "gone"])
def test_a_file_that_becomes_something_else_while_it_is_read_is_named(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    source = make(tmp_path / "source", {"deep/b.py": b"mine"})
    real = origins_directory._read

    def read_late(*arguments: Any) -> Any:
        if what == "beneath a link":
            (source / "deep").rename(tmp_path / "moved")
            (source / "deep").symlink_to(elsewhere)
        else:
            (source / "deep/b.py").unlink()
        if what == "a link":
            (source / "deep/b.py").symlink_to(elsewhere / "b.py")
        elif what == "a pipe":
            os.mkfifo(source / "deep/b.py")
        return real(*arguments)

    monkeypatch.setattr(origins_directory, "_read", read_late)
    with pytest.raises(SourceProblems, match=r"deep/b\.py cannot be read: "):
        scan(source)


def test_a_file_of_the_root_directory_is_where_it_is() -> None:
    with open_file(Path("/"), "etc/passwd") as file:
        assert file.read()
