# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Releases on a real filesystem: whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags import (
    files,
    jobs,
    pruning,
    publishing,
    releases,
    report,
    staging,
    switching,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import directory as origins_directory
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import scan
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import locked
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError, compare
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems, tree_hash
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags import publisher
from ansible_collections.airstack.backbone.tests.unit.dags.trees import TREES, Executable, Link, Tree, make, read

MINE = Attributes(os.geteuid(), os.getegid())
FIRST: Tree = {"a.py": b"a", "deep/b.py": b"b", "run": Executable(b"#!"), "latest": Link("deep/b.py")}
ROUNDS = 200
"""Of a publisher that is killed."""

SOURCE_FILES = [".history", ".lock", "current", "releases"]
SECOND: Tree = {"a.py": b"A", "deep/b.py": b"b", "new/c.py": b"c", "new/a copy": b"b"}


def job_for(storage: Path, **options: Any) -> jobs.Job:
    return jobs.Job(Directory(storage, "etl"), options.pop("attributes", MINE), "test", **options)


def publish(storage: Path, tree: Tree, **options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        return publisher.publish(job_for(storage, **options), make(Path(directory), tree))


def whole(directory: Directory) -> Tree:
    """The tree of the current release, which has to be what its name and its metadata say."""
    name = directory.current()
    assert name is not None
    release = directory.release(name)
    metadata = json.loads((release / ".release.json").read_text(encoding="utf-8"))
    entries = scan(release, (".release.*",))
    assert metadata["tree"] == tree_hash(entries)
    assert metadata["tree"].startswith(name)
    assert metadata["files"] == len(entries)
    return read(release)


def names(storage: Path) -> list[str]:
    return sorted(each.name for each in (storage / "etl").iterdir())


@given(st.lists(TREES, min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_each_release_is_its_source_and_stays_so(trees: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        storage = Path(temporary)
        (storage / releases.SENTINEL).touch()
        directory = Directory(storage, "etl")
        made: dict[str, Tree] = {}
        for tree in trees:
            before = directory.current()
            result = publish(storage, tree)
            assert result["changed"] == (before != result["release"])
            assert result["previous"] == before
            assert whole(directory) == tree
            made[result["release"]] = tree
        assert {name: read(directory.release(name)) for name in os.listdir(directory.path / "releases")} == made
        assert names(storage) == SOURCE_FILES


def test_what_stays_the_same_is_shared_and_the_rest_is_counted(storage: Path) -> None:
    first = publish(storage, FIRST)
    second = publish(storage, SECOND)
    assert second["counts"] == {"added": 2, "changed": 1, "removed": 2, "unchanged": 1}
    assert second["files"] == {"added": ["new/a copy", "new/c.py"], "changed": ["a.py"], "removed": ["latest", "run"]}
    assert second["bytes"] == len(b"A") + len(b"c")
    old, new = Path(first["directory"]), Path(second["directory"])
    assert (new / "deep/b.py").samefile(old / "deep/b.py")
    assert (new / "new/a copy").samefile(old / "deep/b.py")
    assert not (new / "a.py").samefile(old / "a.py")
    assert (old / "a.py").read_bytes() == b"a"


def test_what_is_current_costs_no_look_at_its_files(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = publish(storage, FIRST)["tree"]
    for module in (files, releases, publishing):
        monkeypatch.setattr(module, "ThreadPoolExecutor", None)
    staged = staging.taken_up(job_for(storage), tree)
    assert staged is not None
    again = switching.switch(job_for(storage), staged)
    assert (again["changed"], again["counts"]["unchanged"]) == (False, 4)
    assert staging.taken_up(job_for(storage), "0" * 64) is None


def test_content_that_was_published_before_is_only_switched_to(storage: Path) -> None:
    first = publish(storage, FIRST)
    publish(storage, SECOND)
    back = publish(storage, FIRST)
    assert (back["changed"], back["release"], back["bytes"]) == (True, first["release"], 0)
    assert back["counts"] == {"added": 2, "changed": 1, "removed": 2, "unchanged": 1}
    assert whole(Directory(storage, "etl")) == FIRST


def test_modes_and_links(storage: Path) -> None:
    umask = os.umask(0o077)
    try:
        publish(storage, FIRST, attributes=Attributes(MINE.uid, MINE.gid, 0o640, 0o750))
    finally:
        os.umask(umask)
    release = storage / "etl/current"
    modes = {
        path: f"{(release / path).stat().st_mode & 0o7777:o}" for path in ("a.py", "run", "deep", ".", ".release.json")
    }
    assert modes == {"a.py": "640", "run": "750", "deep": "750", ".": "750", ".release.json": "640"}
    assert os.readlink(storage / "etl/current").startswith("releases/")
    assert os.readlink(release / "latest") == "deep/b.py"


@needs.root
def test_owner_and_group_even_in_a_directory_that_gives_its_own_group(storage: Path) -> None:
    (storage / "etl").mkdir()
    os.chown(storage / "etl", 0, 4321)
    (storage / "etl").chmod(0o2775)
    publish(storage, FIRST, attributes=Attributes(1234, 0))
    release = storage / "etl/current"
    for path in ("a.py", "deep", "deep/b.py", "latest", ".", ".release.manifest"):
        status = (release / path).lstat()
        assert (status.st_uid, status.st_gid) == (1234, 0), path


@pytest.mark.parametrize("how", ["edited", "of another mode", "gone", "of an unreadable release"])
def test_what_is_not_as_it_was_published_is_not_shared(storage: Path, how: str) -> None:
    release = Path(publish(storage, FIRST)["directory"])
    if how == "edited":
        (release / "deep/b.py").write_bytes(b"B")
    elif how == "of another mode":
        (release / "deep/b.py").chmod(0o666)
    elif how == "gone":
        (release / "deep/b.py").unlink()
    else:
        (release / ".release.manifest").write_text("{")
    publish(storage, SECOND)
    assert whole(Directory(storage, "etl")) == SECOND


def test_a_filesystem_without_hard_links_gets_copies(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(storage, FIRST)

    def refuse(*_paths: str, **_roots: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    publish(storage, SECOND)
    assert whole(Directory(storage, "etl")) == SECOND


@pytest.mark.parametrize("call", ["open", "mkdir", "symlink", "link", "fsync", "stat", "lstat", "rename", "replace"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("calls_before", [0, 1, 4])
def test_whatever_call_fails_the_old_release_stays(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, reason: int, calls_before: int
) -> None:
    publish(storage, FIRST)
    links = {f"l{number}": Link("a.py") for number in range(5)}
    tree = {**SECOND, **links, **{f"same/{number}": b"b" for number in range(5)}}
    source = make(tmp_path / "source", tree)
    real: Callable[..., Any] = getattr(os, call)
    calls = 0

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > calls_before:
            raise OSError(reason, os.strerror(reason))
        return real(*arguments, **options)

    failed = False
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        try:
            publisher.publish(job_for(storage), source)
        except (PublishError, SourceProblems, OSError):
            failed = True
    # Some are called less often; and a file that cannot be linked or looked at is written instead.
    assert failed or calls <= calls_before or call in ("link", "stat", "lstat")
    assert whole(Directory(storage, "etl")) == (FIRST if failed else tree)
    publish(storage, tree)
    assert whole(Directory(storage, "etl")) == tree
    assert names(storage) == SOURCE_FILES


def test_a_disk_that_is_full_is_said_and_nothing_is_left(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(storage, FIRST)

    def full(_wanted: Any, _source: Any, _attributes: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.py")

    monkeypatch.setattr(origins_directory, "write_file", full)
    with pytest.raises(PublishError, match=r"could not be written to .*: No space left on device: a\.py"):
        publish(storage, SECOND)
    assert names(storage) == SOURCE_FILES
    assert len(os.listdir(storage / "etl/releases")) == 1


def test_a_storage_that_is_not_mounted_is_not_written_to(storage: Path) -> None:
    (storage / releases.SENTINEL).unlink()
    with pytest.raises(PublishError, match="is not a DAG storage"):
        publish(storage, FIRST)
    assert list(storage.iterdir()) == []


def test_check_mode_says_the_same_and_touches_nothing(storage: Path, tmp_path: Path) -> None:
    fresh = publish(tmp_path / "not there yet", FIRST, is_check=True)
    assert (fresh["changed"], fresh["previous"], fresh["counts"]["added"]) == (True, None, 4)
    publish(storage, FIRST)
    before = sorted(storage.rglob("*"))
    said = publish(storage, SECOND, is_check=True)
    assert sorted(storage.rglob("*")) == before
    done = publish(storage, SECOND)
    ignored = ("bytes", "seconds")
    assert {key: said[key] for key in said if key not in ignored} == {
        key: done[key] for key in done if key not in ignored
    }


@pytest.mark.parametrize("is_check", [True, False])
def test_a_diff_shows_paths_and_the_text_of_small_files(storage: Path, is_check: bool) -> None:
    first = publish(storage, {"a.py": b"one\n", "gone.py": b"bye\n", "image": b"\0\1", "l": Link("a.py")})
    large = b"x" * (report.DIFF_BYTES + 1)
    tree: Tree = {"a.py": b"two\n", "image": b"\0\2", "large": large, "l": Link("image")}
    result = publish(storage, tree, is_check=is_check, is_diff=True)
    summary, *texts = result["diff"]
    assert summary["prepared"].splitlines() == [
        f"source etl: release {first['release']} -> {result['release']}",
        "+ large",
        "~ a.py",
        "~ image",
        "~ l",
        "- gone.py",
    ]
    assert [(each["before"], each["after"]) for each in texts] == [
        ("one\n", "two\n"),
        ("-> a.py\n", "-> image\n"),
        ("bye\n", ""),
    ]
    assert texts[0]["after_header"] == f"etl/{result['release']}/a.py"
    assert texts[2]["after_header"] == "/dev/null"


@pytest.mark.parametrize("wrong", ["a directory", "a link elsewhere", "a link out"])
def test_a_current_that_no_publisher_made_is_refused(storage: Path, wrong: str) -> None:
    (storage / "etl").mkdir()
    current = storage / "etl/current"
    if wrong == "a directory":
        current.mkdir()
    else:
        current.symlink_to("/srv" if wrong == "a link elsewhere" else "releases/..")
    with pytest.raises(PublishError, match="current"):
        publish(storage, FIRST)
    assert names(storage) == ["current"]


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.EINVAL, "current is not a symbolic link"), (errno.EACCES, "current cannot be read: Permission denied")],
)
def test_why_current_cannot_be_read_is_said(
    storage: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    def readlink(path: Path) -> str:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(os, "readlink", readlink)
    with pytest.raises(PublishError, match=message):
        Directory(storage, "etl").current()


def test_a_directory_in_a_releases_place_is_refused(storage: Path) -> None:
    name = publish(storage, FIRST, is_check=True)["release"]
    (storage / "etl/releases" / name).mkdir(parents=True)
    with pytest.raises(PublishError, match="no publisher made it"):
        publish(storage, FIRST)
    (storage / "etl/releases" / name / ".release.json").write_text('{"tree": "another"}')
    with pytest.raises(PublishError, match="of the tree another"):
        publish(storage, FIRST)


def start(storage: Path, source: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, publisher.__file__, str(storage), "etl", str(source)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_killed_at_any_moment_a_publisher_leaves_one_whole_release_to_every_reader(
    storage: Path, tmp_path: Path
) -> None:
    trees: list[Tree] = [
        {
            **{f"d{number % 5}/{number}.py": b"%d %d" % (number % 20, version) for number in range(60)},
            "v": b"%d" % version,
        }
        for version in range(3)
    ]
    sources = [make(tmp_path / f"v{version}", tree) for version, tree in enumerate(trees)]
    directory = Directory(storage, "etl")
    publish(storage, trees[0])
    began = time.monotonic()
    publish(storage, trees[1])
    lasts = time.monotonic() - began
    luck = random.Random(4)
    left_something = 0
    with readers_of(directory, trees) as passes:
        for turn in range(ROUNDS):
            version = turn % 3
            for name in set(directory.names()) - {directory.current()}:
                pruning.remove_tree(directory.release(name))
            process = forked(lambda version=version: publisher.publish(job_for(storage), sources[version]))
            time.sleep(luck.uniform(0, lasts * 1.2))
            has_ended = os.waitpid(process, os.WNOHANG) != (0, 0)
            if not has_ended:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            assert whole(directory) in trees
            was_writing = names(storage) != SOURCE_FILES
            left_something += was_writing
            # What else the machine has to do changes meanwhile.
            lasts *= 0.95 if has_ended else 1 if was_writing else 1.05
    assert left_something > ROUNDS / 10, "few were killed while they wrote"
    for reader in passes:
        wrong, right = reader.recv()
        assert wrong == [], f"a pass saw parts of several releases: {wrong[0]}"
        assert right > 10
    publish(storage, trees[0])
    assert whole(directory) == trees[0]
    assert names(storage) == SOURCE_FILES


def forked(do: Callable[[], Any]) -> int:
    """Do something in a process of its own, and return its number."""
    process = os.fork()
    if process == 0:
        try:
            do()
        finally:
            os._exit(0)
    return process


@contextmanager
def readers_of(directory: Directory, trees: Sequence[Tree]) -> Iterator[list[Connection]]:
    """Processes that read all of the current release, over and over: by the link once resolved, as Airflow does.

    In the end each connection has what a reader saw: the passes that were no whole tree, and the number of those that were.
    A release that is removed while it is read is neither: pruning leaves readers time, and this test does not.
    """
    go_on = directory.storage.parent / "go on"
    go_on.touch()
    pipes = [multiprocessing.Pipe() for _reader in range(2)]

    def read_on(answer: Connection) -> None:
        wrong, right = [], 0
        while go_on.exists():
            release = directory.link.resolve()
            try:
                seen = read(release)
            except FileNotFoundError:
                continue
            if seen in trees:
                right += 1
            elif release.exists():
                wrong.append(seen)
        answer.send((wrong, right))

    processes = [forked(lambda answer=answer: read_on(answer)) for _mine, answer in pipes]
    try:
        yield [mine for mine, _answer in pipes]
    finally:
        go_on.unlink()
        for process in processes:
            os.waitpid(process, 0)


def test_leftovers_go_even_when_nothing_is_published_and_are_told(storage: Path) -> None:
    publish(storage, FIRST)
    (storage / "etl/.staging-1/deep").mkdir(parents=True)
    (storage / "etl/.current-x").symlink_to("releases/x")
    assert publish(storage, FIRST, is_check=True)["cleaned"] == [".current-x", ".staging-1"]
    again = publish(storage, FIRST)
    assert (again["changed"], again["cleaned"]) == (True, [".current-x", ".staging-1"])
    assert publish(storage, FIRST)["changed"] is False
    assert names(storage) == SOURCE_FILES


def test_what_another_publisher_is_making_is_no_leftover(storage: Path, tmp_path: Path) -> None:
    publish(storage, FIRST)
    # POSIX locks are a process's: the other publisher has to be another one.
    holder = os.fork()
    if holder == 0:
        try:
            with locked(Directory(storage, "etl"), MINE):
                (storage / "etl/.staging-live").mkdir()
                (tmp_path / "holds").touch()
                time.sleep(60)
        finally:
            os._exit(0)
    try:
        while not (tmp_path / "holds").exists():
            time.sleep(0.01)
        assert publish(storage, FIRST)["cleaned"] == []
        with (
            pytest.raises(PublishError, match="Another publisher is at work"),
            locked(Directory(storage, "etl"), MINE, seconds=0.3),
        ):
            pass
        assert (storage / "etl/.staging-live").exists()
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
    assert publish(storage, FIRST)["cleaned"] == [".staging-live"]


def test_two_publishers_of_one_source_take_turns(storage: Path, tmp_path: Path) -> None:
    sources = [make(tmp_path / "one", FIRST), make(tmp_path / "two", SECOND)]
    processes = [start(storage, sources[number % 2]) for number in range(6)]
    names_said = []
    for process in processes:
        out, _err = process.communicate()
        assert process.returncode == 0
        names_said.append(out.splitlines()[-1])
    directory = Directory(storage, "etl")
    assert directory.current() in names_said
    assert whole(directory) in (FIRST, SECOND)
    assert sorted(os.listdir(directory.path / "releases")) == sorted(set(names_said))


@pytest.mark.parametrize("is_there_already", [False, True])
def test_of_two_that_publish_the_same_at_once_one_changes_something(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there_already: bool
) -> None:
    if is_there_already:
        publish(storage, FIRST)
    before = publish(storage, SECOND)["release"]
    source = make(tmp_path / "source", FIRST)
    other: list[dict[str, Any]] = []
    real = jobs.Job.turn

    def turn(job: jobs.Job) -> Any:
        """The other one is faster, by as much as can be."""
        monkeypatch.setattr(jobs.Job, "turn", real)
        other.append(publisher.publish(job_for(storage), source))
        return real(job)

    monkeypatch.setattr(jobs.Job, "turn", turn)
    mine = publisher.publish(job_for(storage, is_diff=True), source)
    assert (other[0]["changed"], other[0]["previous"]) == (True, before)
    assert (mine["changed"], mine["previous"], mine["diff"]) == (False, mine["release"], [])
    assert mine["counts"] == {"added": 0, "changed": 0, "removed": 0, "unchanged": len(FIRST)}


def test_a_reader_that_resolves_the_link_once_sees_one_release(storage: Path) -> None:
    trees: list[Tree] = [{f"{number}.py": b"%d" % version for number in range(40)} for version in range(2)]
    publish(storage, trees[0])
    stop = threading.Event()
    seen: list[set[bytes]] = []

    def reader() -> None:
        while not stop.is_set():
            release = (storage / "etl" / "current").resolve()
            seen.append({(release / f"{number}.py").read_bytes() for number in range(40)})

    thread = threading.Thread(target=reader)
    thread.start()
    deadline = time.monotonic() + 120
    turn = 0
    while turn < 30 or set().union(*seen) != {b"0", b"1"}:
        assert time.monotonic() < deadline, f"the reader has seen {len(seen)} releases"
        publish(storage, trees[turn % 2])
        turn += 1
    stop.set()
    thread.join()
    assert {len(contents) for contents in seen} == {1}


@given(TREES, TREES)
@settings(max_examples=50)
def test_comparing_is_complete(before: Tree, after: Tree) -> None:
    with tempfile.TemporaryDirectory() as directory:
        old, new = scan(make(Path(directory) / "old", before)), scan(make(Path(directory) / "new", after))
    changes = compare(old, new)
    assert set(changes.added) == set(after) - set(before)
    assert set(changes.removed) == set(before) - set(after)
    assert set(changes.changed) == {path for path in set(before) & set(after) if before[path] != after[path]}
    assert changes.unchanged == len(after) - len(changes.added) - len(changes.changed)
