# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Releases and sources that go: what check mode says of them, what makes them stay, and who publishes meanwhile."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history, jobs, pruning, staging, switching
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems
from ansible_collections.airstack.backbone.tests.unit.dags import publisher
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Tree, make

MINE = Attributes(os.geteuid(), os.getegid())
ROUNDS = 60


def job(storage: Path, **options: Any) -> jobs.Job:
    return jobs.Job(Directory(storage, "etl"), MINE, "me@here", **options)


def publish(storage: Path, tree: Tree, **options: Any) -> dict[str, Any]:
    source = storage.parent / f"source-{len(list(storage.parent.iterdir()))}"
    return publisher.publish(job(storage, **options), make(source, tree))


def compared(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in ("seconds", "bytes")}


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("minimum_age", [-1, 600])
@pytest.mark.parametrize("last", ["new", "earlier", "same"])
def test_check_mode_says_what_will_be_pruned(storage: Path, keep: int, minimum_age: float, last: str) -> None:
    made = [publish(storage, {"a.py": b"%d" % number})["release"] for number in range(4)]
    data = {"new": b"new", "earlier": b"1", "same": b"3"}[last]
    retention = pruning.Retention(keep, minimum_age)
    said = publish(storage, {"a.py": data}, retention=retention, is_check=True)
    done = publish(storage, {"a.py": data}, retention=retention)
    assert compared(said) == compared(done)
    assert bool(done["pruned"]) == (minimum_age < 0 and keep < (4 if last != "new" else 5))
    assert not set(done["pruned"]) & {made[3] if keep > 1 else None, done["release"]}


def test_what_cannot_be_removed_keeps_nobody_from_publishing(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = publish(storage, {"deep/a.py": b"1"})["release"]
    publish(storage, {"deep/a.py": b"2"})
    real = os.rmdir

    def rmdir(path: str, **options: Any) -> None:
        """As NFS refuses while somebody has one of the files open."""
        if path == "deep":
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        real(path, **options)

    retention = pruning.Retention(keep=2, minimum_age=-1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", rmdir)
        third = publish(storage, {"deep/a.py": b"3"}, retention=retention)
        assert (third["is_current"], third["pruned"]) == (True, [])
        trash = f"{storage}/etl/.trash-{old}"
        assert third["left"] == [f"{old} could not be removed: Directory not empty: {trash}/deep"]
        fourth = publish(storage, {"deep/a.py": b"4"})
        assert (fourth["cleaned"], fourth["left"][0].partition(" ")[0]) == ([], f".trash-{old}")
        assert publish(storage, {"deep/a.py": b"4"})["changed"] is False
        with pytest.raises(PublishError, match="could not be removed: Directory not empty"):
            switching.remove(job(storage))
    assert old not in Directory(storage, "etl").names()
    assert f".trash-{old}" in publish(storage, {"deep/a.py": b"5"})["cleaned"]


@pytest.mark.parametrize("keep", [1, 2, 9])
def test_check_mode_says_what_a_rollback_will_do(storage: Path, keep: int) -> None:
    made = [publish(storage, {"a.py": b"%d" % number})["release"] for number in range(4)]
    retention = pruning.Retention(keep, minimum_age=-1)
    said, done = (
        switching.switch(each, staging.earlier(each), history.ROLLED_BACK)
        for each in (job(storage, retention=retention, is_diff=True, is_check=is_check) for is_check in (True, False))
    )
    assert compared(said) == compared(done)
    assert (done["release"], done["previous"], made[2] in done["pruned"]) == (made[2], made[3], False)


def test_a_rollback_leads_to_a_release_that_is_whole_and_what_is_to_be_deployed(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    publish(storage, {"a.py": b"2"})
    assert staging.earlier(job(storage, tree=first["tree"])).name == first["release"]
    with pytest.raises(SourceProblems, match="is what is to be deployed"):
        staging.earlier(job(storage, tree="0" * 64))
    (storage / "etl/releases" / first["release"] / ".release.json").unlink()
    with pytest.raises(PublishError, match=r"has no \.release\.json: no publisher made it"):
        staging.earlier(job(storage))


@pytest.mark.parametrize("name", ["notes.txt", "releases/notes.txt", "releases/link"])
def test_a_source_with_something_else_in_it_stays_as_a_whole(storage: Path, name: str) -> None:
    publish(storage, {"a.py": b"1"})
    if name.endswith("link"):
        (storage / "etl" / name).symlink_to("/srv")
    else:
        (storage / "etl" / name).touch()
    before = sorted(storage.rglob("*"))
    for is_check in (True, False):
        with pytest.raises(PublishError, match=rf"holds what no publisher made \({name}\)"):
            switching.remove(job(storage, is_check=is_check))
    assert sorted(storage.rglob("*")) == before


def test_who_begins_to_publish_when_the_lock_goes_keeps_the_directory(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(storage, {"a.py": b"1"})
    real = pruning._remove_empty

    def remove_late(path: Path) -> None:
        monkeypatch.undo()
        publish(storage, {"b.py": b"2"})
        real(path)

    monkeypatch.setattr(pruning, "_remove_empty", remove_late)
    assert switching.remove(job(storage))["changed"] is True
    assert (storage / "etl/current/b.py").read_bytes() == b"2"


def test_who_publishes_when_the_directory_goes_makes_it_again(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(storage, {"a.py": b"1"})
    real = Path.mkdir

    def mkdir(path: Path, *arguments: Any, **options: Any) -> None:
        try:
            real(path, *arguments, **options)
        finally:
            if path == storage / "etl" and path.exists() and not list(path.glob(".staging-*")):
                monkeypatch.undo()
                switching.remove(job(storage))

    source = make(storage.parent / "source", {"b.py": b"2"})
    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert publisher.publish(job(storage), source)["changed"] is True
    assert os.listdir(storage / "etl/current/") != []


def test_removed_and_published_and_killed_at_any_moment_a_source_is_whole_or_not_there(
    storage: Path, tmp_path: Path
) -> None:
    sources = [
        make(tmp_path / f"v{version}", {f"d{number % 3}/{number}.py": b"%d" % version for number in range(40)})
        for version in range(3)
    ]
    directory = Directory(storage, "etl")
    retention = pruning.Retention(keep=1, minimum_age=-1)
    luck = random.Random(5)

    def work(turn: int) -> None:
        if turn % 4 == 3:
            switching.remove(job(storage))
        elif turn % 4 == 2 and len(directory.names()) > 1:
            mine = job(storage, retention=retention)
            switching.switch(mine, staging.earlier(mine), history.ROLLED_BACK)
        else:
            publisher.publish(job(storage, retention=retention if turn % 2 else None), sources[turn % 3])

    killed_at_work = 0
    for turn in range(ROUNDS):
        process = os.fork()
        if process == 0:
            try:
                work(turn)
            finally:
                os._exit(0)
        time.sleep(luck.uniform(0, 0.03))
        os.kill(process, signal.SIGKILL)
        _number, status = os.waitpid(process, 0)
        killed_at_work += os.WIFSIGNALED(status)
        current = directory.current()
        assert current is None or len(list(directory.release(current).glob("d*/*.py"))) == 40
    assert killed_at_work > ROUNDS / 10
    publish(storage, {"a.py": b"1"}, retention=retention)
    assert sorted(each.name for each in (storage / "etl").iterdir()) == [".history", ".lock", "current", "releases"]
    switching.remove(job(storage))
    assert not (storage / "etl").exists()
