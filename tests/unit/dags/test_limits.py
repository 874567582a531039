# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is too long, too deep or too much; and filesystems that are small, read-only or out of links."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags import jobs, publishing, releases, report
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, describe
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import DEPTH, Entry, SourceProblems, check
from ansible_collections.airstack.backbone.tests.unit.dags import publisher
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Tree, make, read

MINE = Attributes(os.geteuid(), os.getegid())


def publish(storage: Path, source: Path, **options: Any) -> dict[str, Any]:
    return publisher.publish(jobs.Job(Directory(storage, "etl"), MINE, "test", **options), source)


@contextmanager
def small(storage: Path, options: str) -> Iterator[None]:
    """A filesystem in memory, mounted there."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(storage)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a filesystem")
    try:
        (storage / releases.SENTINEL).touch()
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(storage)], check=True)


@pytest.mark.parametrize("is_check", [True, False])
@pytest.mark.parametrize("longer", [0, 1])
def test_a_path_that_nobody_could_open_is_refused(storage: Path, tmp_path: Path, is_check: bool, longer: int) -> None:
    release = publish(storage, make(tmp_path / "source", {"a.py": b"1"}))["directory"]
    room = 4095 - len(release) - 1
    names, last = divmod(room + longer, 201)
    path = "/".join(["d" * 200] * names + ["f" * last])
    deep = tmp_path / "source" / path
    with _inside(tmp_path / "source", path) as name:
        Path(name).write_bytes(b"2")
    if longer:
        with pytest.raises(SourceProblems, match=rf"is a path of more than {room} bytes"):
            publish(storage, tmp_path / "source", is_check=is_check)
    else:
        assert publish(storage, tmp_path / "source", is_check=is_check)["counts"]["added"] == 1
        assert is_check or (storage / "etl/current" / path).read_bytes() == b"2", deep


@contextmanager
def _inside(root: Path, path: str) -> Iterator[str]:
    """Make a file's directories, however long its path becomes, and yield its name in the last of them."""
    before = Path.cwd()
    *directories, name = path.split("/")
    os.chdir(root)
    try:
        for directory in directories:
            Path(directory).mkdir(exist_ok=True)
            os.chdir(directory)
        yield name
    finally:
        os.chdir(before)


def test_directories_within_one_another_have_an_end() -> None:
    fits, not_any_more = (Entry("/".join(["d"] * depth), "f", "0" * 64, 0) for depth in (DEPTH, DEPTH + 1))
    assert check([fits]) == []
    assert check([not_any_more]) == [f"{not_any_more.path} is within more than {DEPTH} directories"]


def test_a_diff_has_an_end(storage: Path, tmp_path: Path) -> None:
    large = {f"{number}.py": b"x" * report.DIFF_BYTES for number in range(report.DIFF_FILES)}
    [summary, *texts] = publish(storage, make(tmp_path / "source", large), is_diff=True)["diff"]
    assert len(summary["prepared"].splitlines()) == 1 + len(large)
    assert sum(len(each["after"]) for each in texts) == report.DIFF_SIZE


def test_copies_are_on_disk_too(storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(storage, make(tmp_path / "one", {"a.py": b"1"}))
    flushed: list[str] = []
    real = publishing.flush

    def refuse(*_paths: str, **_roots: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    def flush(root: Path, paths: Sequence[str]) -> None:
        flushed.extend(paths)
        real(root, paths)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(publishing, "flush", flush)
    publish(storage, make(tmp_path / "two", {"a.py": b"1", "b.py": b"2"}))
    assert {"a.py", "b.py"} <= set(flushed)


@pytest.mark.parametrize(
    ("options", "tree", "message"),
    [
        ("size=1m", {"a.py": b"x" * 2_000_000}, "no room: 2.0 MB are needed, and 1.0 MB are free"),
        (
            "size=1m",
            {f"{number}.py": b"%d" % number for number in range(600)},
            "no room: 2.5 MB are needed, and 1.0 MB",
        ),
        ("nr_inodes=40", {f"{number}.py": b"%d" % number for number in range(600)}, "600 files are to be made, and"),
        ("nr_inodes=40", {f"{number}/a/b.py": b"1" for number in range(20)}, "No space left on device"),
    ],
)
def test_a_filesystem_that_is_full_is_said_and_left_as_it_was(
    storage: Path, tmp_path: Path, options: str, tree: Tree, message: str
) -> None:
    with small(storage, options):
        publish(storage, make(tmp_path / "first", {"first.py": b"first"}))
        before = sorted(storage.rglob("*"))
        with pytest.raises(PublishError, match=message):
            publish(storage, make(tmp_path / "large", tree))
        assert sorted(storage.rglob("*")) == before
        assert read(storage / "etl/current") == {"first.py": b"first"}


def test_a_network_filesystems_blocks_are_not_what_files_take(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(f_frsize=1 << 20, f_bavail=3, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _path: free)
    assert publish(storage, make(tmp_path / "source", {f"{number}.py": b"1" for number in range(10)}))["changed"]
    with pytest.raises(PublishError, match=r"no room: 3\.2 MB are needed, and 3\.1 MB are free"):
        publish(storage, make(tmp_path / "source", {f"{number}.py": b"2" for number in range(770)}))


def test_a_quota_that_is_used_up_is_said_and_left_as_it_was(storage: Path, tmp_path: Path) -> None:
    with limited(storage, tmp_path / "image", megabytes=2) as within:
        publish(within, make(tmp_path / "first", {"first.py": b"first"}))
        before = sorted(within.rglob("*"))
        message = "Disk quota exceeded.*; the filesystem may have room, but its quota is used up: have it raised"
        for large in ({"a.py": os.urandom(3_000_000)}, {f"{number}.py": os.urandom(9000) for number in range(400)}):
            with pytest.raises(PublishError, match=message):
                publish(within, make(tmp_path / f"of {len(large)}", large))
            assert sorted(within.rglob("*")) == before
            assert read(within / "etl/current") == {"first.py": b"first"}
        assert publish(within, make(tmp_path / "small", {"small.py": b"small"}))["changed"]


@contextmanager
def limited(mount: Path, image: Path, megabytes: int) -> Iterator[Path]:
    """A storage with a quota, in a filesystem of an image that has more room. Btrfs keeps quotas on every kernel."""
    if os.geteuid() != 0 or not shutil.which("mkfs.btrfs"):
        pytest.skip("needs root and btrfs-progs, for a filesystem with a quota")
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "--quiet", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(mount)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs loop devices and a kernel with btrfs")
    within = mount / "limited"
    try:
        for command in (
            ["quota", "enable", str(mount)],
            ["subvolume", "create", str(within)],
            ["qgroup", "limit", f"{megabytes}M", str(within)],
        ):
            subprocess.run(["btrfs", *command], check=True, capture_output=True)
        (within / releases.SENTINEL).touch()
        yield within
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_filesystem_that_is_read_only_is_said_where_something_is_to_be_written(storage: Path, tmp_path: Path) -> None:
    first, second = make(tmp_path / "first", {"a.py": b"1"}), make(tmp_path / "second", {"a.py": b"2"})
    with small(storage, "size=1m"):
        publish(storage, first)
        subprocess.run(["mount", "-o", "remount,ro", str(storage)], check=True)
        assert publish(storage, first)["changed"] is False
        assert publish(storage, second, is_check=True)["counts"]["changed"] == 1
        with pytest.raises(OSError, match="Read-only file system") as refused:
            publish(storage, second)
        lock = storage / "etl" / releases.LOCK
        advice = "it is mounted read-only here: publish from the host that has it read-write, or mount it so"
        assert describe(refused.value) == f"Read-only file system: {lock}; {advice}"
