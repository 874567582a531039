# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What was fetched of git repositories: it outlives crashes and other publishers, and does not grow for ever."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git import cache as git_cache
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.process import LONGEST
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING, Known
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags.git_contents import (
    commands,
    problems_of,
    published,
    record_git,
)
from ansible_collections.airstack.backbone.tests.unit.dags.git_servers import Silent, Upstream, git, serving
from ansible_collections.airstack.backbone.tests.unit.dags.trees import before

TREE = {f"d{number % 3}/f{number}": os.urandom(200) for number in range(120)}


def repository(cache: Path) -> Path:
    [path] = [each for each in cache.glob("[!.]*") if each.is_dir() and ".new-" not in each.name]
    return path


def objects(cache: Path) -> list[Path]:
    return [each for each in (repository(cache) / "objects").rglob("*") if each.is_file()]


def damage(path: Path, size: int) -> None:
    """Write zeros into the middle of a file, as a filesystem leaves it that lost power."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek((path.stat().st_size - size) // 2)
        file.write(bytes(size))


def empty_objects(cache: Path) -> None:
    for each in objects(cache):
        each.chmod(0o600)
        each.write_bytes(b"")


def remove_objects(cache: Path) -> None:
    for each in objects(cache):
        each.unlink()


def holding(name: str, data: bytes) -> Callable[[Path], None]:
    def write(cache: Path) -> None:
        (repository(cache) / name).write_bytes(data)

    return write


def make_file(cache: Path) -> None:
    path = repository(cache)
    shutil.rmtree(path)
    path.write_text("not a directory")


def damage_packs(cache: Path) -> None:
    for each in objects(cache):
        damage(each, each.stat().st_size // 2)


def damage_content(cache: Path) -> None:
    for each in objects(cache):
        if each.suffix == ".pack":
            damage(each, 100)


def lock(cache: Path) -> None:
    for name in ("shallow.lock", "config.lock", "HEAD.lock", "packed-refs.lock", "refs/kept/x.lock", "gc.pid"):
        (repository(cache) / name).write_text("")
    (repository(cache) / "objects" / "pack" / "tmp_pack_x").write_bytes(bytes(1000))


BREAKAGES: dict[str, Callable[[Path], None]] = {
    "no objects": lambda cache: shutil.rmtree(repository(cache) / "objects"),
    "no packs": remove_objects,
    "damaged packs": damage_packs,
    "damaged content": damage_content,
    "empty objects": empty_objects,
    "no HEAD": lambda cache: (repository(cache) / "HEAD").unlink(),
    "a broken configuration": holding("config", b"[core"),
    "an empty list of shallow commits": holding("shallow", b""),
    "a broken list of shallow commits": holding("shallow", b"zz\n"),
    "a broken list of commits": holding("kept-commits", b"\0\xff"),
    "no refs": lambda cache: shutil.rmtree(repository(cache) / "refs"),
    "a file": make_file,
    "git's locks": lock,
    "half a new one": lambda cache: (cache / f"{repository(cache).name}.new-x").mkdir(),
}


@pytest.mark.parametrize("is_new", [False, True], ids=["the same commit", "a new commit"])
@pytest.mark.parametrize("kind", BREAKAGES)
def test_a_broken_cache_heals(upstream: Upstream, cache: Path, kind: str, is_new: bool) -> None:
    upstream.commit(TREE)
    assert published(GitOrigin(str(upstream.bare), cache)) == TREE
    BREAKAGES[kind](cache)
    tree = {**TREE, "d0/f0": b"new"} if is_new else TREE
    if is_new:
        upstream.commit(tree)
    assert published(GitOrigin(str(upstream.bare), cache)) == tree
    assert published(GitOrigin(str(upstream.bare), cache)) == tree
    assert not list(cache.glob("*.broken"))


def test_a_cache_that_breaks_after_it_was_read_is_made_anew_by_the_next(
    upstream: Upstream, cache: Path, tmp_path: Path
) -> None:
    """What is known is read only when it is to be written."""
    tree = {"a": os.urandom(100_000)}
    upstream.commit(tree)
    origin = GitOrigin(str(upstream.bare), cache)
    with origin.open(NOTHING) as content:
        known = {content.marks[each.path]: Known(each.digest, each.size) for each in content.entries}
    damage_content(cache)
    with origin.open(before(known)) as content, ThreadPoolExecutor(2) as pool:
        wanted = {each.digest: [Wanted(tmp_path / str(number), each)] for number, each in enumerate(content.entries)}
        with pytest.raises(SourceProblems, match=r"lacks the blob .* it is made anew when you publish again"):
            content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
    assert published(origin) == tree


def test_a_cache_that_cannot_be_healed_is_told(upstream: Upstream, cache: Path) -> None:
    """A commit whose blob the server has lost."""
    upstream.commit({"a": os.urandom(100)})
    blob = git(upstream.bare, "rev-parse", "main:a")
    (upstream.bare / "objects" / blob[:2] / blob[2:]).unlink()
    [problem] = problems_of(GitOrigin(str(upstream.bare), cache))
    assert problem.startswith(f"git failed with {upstream.bare}: ")


WORKER = """
import sys
from pathlib import Path
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import tree_hash
print("begins", flush=True)
with GitOrigin(sys.argv[1], Path(sys.argv[2]), sys.argv[3] or None).open(NOTHING) as content:
    print(tree_hash(content.entries), flush=True)
    sys.stdin.readline()
"""


Worker = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def worker(upstream: Upstream, cache: Path) -> Iterator[Worker]:
    """Start a publisher of its own process, which says `begins`, then the hash of the tree, and waits for a line."""
    started = []

    def start(repository: str = str(upstream.bare), version: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORKER, repository, str(cache), version]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environment, text=True, bufsize=1, stdin=pipe, stdout=pipe))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_publishers_at_once_share_the_cache(upstream: Upstream, cache: Path, worker: Worker) -> None:
    """All of them read at the same time, for none ends before the others are there."""
    upstream.commit(TREE)
    workers = [worker() for _time in range(3)]
    assert [line(each) for each in workers] == ["begins"] * 3
    assert len({line(each) for each in workers} - {""}) == 1
    assert repository(cache).is_dir()
    upstream.commit({"a": b"new"})
    assert published(GitOrigin(str(upstream.bare), cache)) == {"a": b"new"}


def test_a_publisher_that_is_killed_leaves_a_cache_that_the_next_can_use(
    upstream: Upstream, cache: Path, worker: Worker
) -> None:
    upstream.commit({f"f{number}": os.urandom(1000) for number in range(500)})
    for round_ in range(4):
        process = worker()
        line(process)
        time.sleep(round_ * 0.05)
        process.kill()
        process.wait()
    tree = {"a": b"x", "b": b"y"}
    upstream.commit(tree)
    assert published(GitOrigin(str(upstream.bare), cache)) == tree


def test_a_git_that_outlives_its_publisher_keeps_others_out(cache: Path, worker: Worker) -> None:
    server = Silent()
    with serving(server) as port:
        address = f"git://127.0.0.1:{port}/etl.git"
        process = worker(address, "1" * 40)
        assert server.accepted.wait(300)
        process.kill()
        process.wait()
        path = git_cache.Cache(cache).place(address)
        with pytest.raises(SourceProblems), git_cache.locked(path, ".lock", fcntl.LOCK_EX, 0):
            pass
    with git_cache.locked(path, ".lock", fcntl.LOCK_EX, 300):
        pass


def test_a_publisher_that_waits_too_long_says_for_what(upstream: Upstream, cache: Path) -> None:
    commit = upstream.commit({"a": b""})
    origin = GitOrigin(str(upstream.bare), cache, version=commit, timeout=0.6 / LONGEST)
    path = git_cache.Cache(cache).place(str(upstream.bare))
    with git_cache.locked(path, ".lock", fcntl.LOCK_EX, 0):
        [problem] = problems_of(origin)
    assert problem == f"another publisher has been using the cache {path} for 0.6 s; publish again when it is done"


def test_what_no_kept_commit_has_is_dropped_unless_somebody_reads(
    upstream: Upstream, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_cache, "KEPT", 2)
    monkeypatch.setattr(git_cache, "_LOOSE", 1)
    monkeypatch.setattr(git_cache, "_PACKS", 1)
    size = 100_000

    def publish() -> int:
        tree = {"a": os.urandom(size)}
        upstream.commit(tree)
        assert published(GitOrigin(str(upstream.bare), cache)) == tree
        return sum(each.stat().st_size for each in objects(cache)) // size

    assert max(publish() for _time in range(6)) <= 4
    with GitOrigin(str(upstream.bare), cache).open(NOTHING) as content:
        expected = content.read(content.entries[0])
        assert [publish() for _time in range(4)][-1] >= 5
        assert content.read(content.entries[0]) == expected
    publish()
    assert publish() <= 4


def test_the_last_commits_stay(
    upstream: Upstream, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(git_cache, "KEPT", 3)
    commits = [upstream.commit({"a": str(number).encode()}) for number in range(4)]
    for commit in (commits[0], commits[1], commits[2], commits[0], commits[3]):
        published(GitOrigin(str(upstream.bare), cache, commit))
    log = record_git(tmp_path, monkeypatch)
    for commit in (commits[0], commits[2], commits[3]):
        published(GitOrigin(str(upstream.bare), cache, commit))
    assert "fetch" not in commands(log)
    assert published(GitOrigin(str(upstream.bare), cache, commits[1])) == {"a": b"1"}
    assert "fetch" in commands(log)


def test_repositories_have_caches_of_their_own(tmp_path: Path, cache: Path) -> None:
    for root in ("one", "two"):
        upstream = Upstream.make(tmp_path / root / "served", "etl")
        upstream.commit({root: b""})
        assert published(GitOrigin(str(upstream.bare), cache)) == {root: b""}
    names = [each.name for each in cache.iterdir() if each.is_dir()]
    assert len(names) == 2
    assert all(name.startswith("etl.git-") for name in names)


@needs.root
def test_a_cache_of_another_user_is_refused(upstream: Upstream, cache: Path) -> None:
    """Its owner could have git run what they like."""
    upstream.commit({"a": b""})
    cache.mkdir()
    os.chown(cache, 12345, 12345)
    [problem] = problems_of(GitOrigin(str(upstream.bare), cache))
    assert problem == f"the cache {cache} belongs to another user; name another directory, or remove it"


def test_a_cache_that_cannot_be_made_is_told(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    [problem] = problems_of(GitOrigin(str(upstream.bare), cache))
    assert problem == f"the cache {cache} cannot be used: Not a directory: {cache}"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 400 kB."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(path)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a filesystem")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_cache_that_is_full_is_told_and_recovers(upstream: Upstream, small: Path) -> None:
    upstream.commit({"a": os.urandom(1_000_000)})
    [problem] = problems_of(GitOrigin(str(upstream.bare), small / "cache"))
    assert problem.startswith("the cache of git repositories has no space left (")
    upstream.commit({"a": b"small"})
    assert published(GitOrigin(str(upstream.bare), small / "cache")) == {"a": b"small"}
