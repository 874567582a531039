# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long DAGs take to be published, by tool, by case and by filesystem, and what readers see meanwhile.

Every tool has the same repository, of the same files each time, on the publisher's disk, and a shared directory: on that disk
too, or behind a delay of each call (slow_filesystem.py). What was published is held against what was committed after
each case. The tools take turns in each round, so that what else the machine does hits them alike. Nothing is removed
before all is measured: ext4 without a journal does not use an inode again for minutes (fs/ext4/ialloc.c), and looks
for another one for longer than most of what is measured takes. It needs 8 GB and 2 million inodes.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dag_publishers import (
    Git,
    GitPull,
    GitWorktree,
    GitWorktreeWorkers,
    Library,
    Module,
    Publisher,
    Rsync,
    Synchronize,
    Task,
    nothing,
)
from dag_readers import READERS, Passes, watched
from dag_repository import FILE_BYTES, Repository, Version, difference
from performance_page import table, write
from slow_filesystem import compiled, slow

CASES = ("first publish", "no change", "one file", "1 %", "rollback")
FIRST, NO_CHANGE, ONE_FILE, _PERCENT, ROLLBACK = CASES


class Filesystem(NamedTuple):
    """Where the shared directory is, the delay of each call in milliseconds, and what is published there."""

    name: str
    delay: float
    files: int
    directories: int
    seconds: float
    """Of measured time, after which a tool has no further round."""


FILESYSTEMS = (
    Filesystem("local", 0, 10_000, 400, 60),
    Filesystem("0.5 ms", 0.5, 10_000, 400, 15),
    Filesystem("3 ms", 3, 1_000, 40, 15),
)
ROUNDS = 5

COMMANDS: Sequence[type[Publisher]] = (Rsync, GitPull, GitWorktree, GitWorktreeWorkers, Library)
TASKS: Sequence[type[Task]] = (Synchronize, Git, Module)

WATCHED: Sequence[type[Publisher]] = (Rsync, GitPull, GitWorktree, Library)
WATCHED_FILES, WATCHED_DIRECTORIES, WATCHED_VERSIONS = 1_000, 40, 15

Seconds = dict[tuple[str, str], list[float]]
"""Of each round, by tool and case."""


class Goal(NamedTuple):
    """Ours takes at most so many times what the fastest of the others takes, on the filesystems that are named."""

    case: str
    ours: type[Publisher]
    others: Sequence[type[Publisher]]
    at_most: float
    filesystems: Sequence[str]


EVERYWHERE = tuple(filesystem.name for filesystem in FILESYSTEMS)
GOALS = (
    Goal(NO_CHANGE, Library, (Rsync, GitPull, GitWorktree), 0.5, EVERYWHERE),
    Goal(NO_CHANGE, Module, (Synchronize, Git), 0.5, EVERYWHERE),
    Goal(ONE_FILE, Library, (GitWorktree,), 0.5, EVERYWHERE),
    Goal(FIRST, Library, (Rsync,), 0.3, ("0.5 ms", "3 ms")),
    Goal(FIRST, Module, (Synchronize,), 0.3, ("0.5 ms", "3 ms")),
)


def history(repository: Repository) -> dict[str, Version]:
    """What the repository offers in each case; a rollback is to what was offered before the last."""
    first = repository.commit(dict.fromkeys(repository.paths, 1))
    one = repository.commit({**first.editions, repository.paths[len(repository.paths) // 2]: 2}, first)
    percent = repository.commit({**one.editions, **dict.fromkeys(repository.paths[::100], 3)}, one)
    return dict(zip(CASES, (first, first, one, percent, one), strict=True))


@contextmanager
def shown(directory: Path, filesystem: Filesystem) -> Iterator[Path]:
    """The directory as the filesystem shows it, with nothing in its cache."""
    if not filesystem.delay:
        yield directory
        return
    with slow(directory, filesystem.delay) as mounted:
        yield mounted


def measure(filesystem: Filesystem, tools: Sequence[type[Publisher]], folder: Path) -> Seconds:
    """Each case of each tool in each round; the tools take turns."""
    found: Seconds = {}
    spent = dict.fromkeys(tools, 0.0)
    repository = Repository(new_directory(folder), filesystem.files, filesystem.directories)
    versions = history(repository)
    for at in range(ROUNDS):
        for tool in tools:
            if spent[tool] > filesystem.seconds:
                continue
            for case, seconds in one_round(filesystem, tool, repository, versions, folder).items():
                found.setdefault((tool.name, case), []).append(seconds)
                spent[tool] += seconds
                print(f"{filesystem.name}, round {at + 1}: {tool.name}: {case}: {seconds:.3f} s", flush=True)
    return found


def one_round(
    filesystem: Filesystem,
    tool: type[Publisher],
    repository: Repository,
    versions: Mapping[str, Version],
    folder: Path,
) -> dict[str, float]:
    """The seconds of each case.

    :raises SystemExit: the tool did not publish what was committed
    """
    seconds = {}
    publisher, directory = started(tool, repository, folder)
    for case, version in versions.items():
        repository.offer(version)
        os.sync()
        with shown(directory, filesystem) as shared:
            taken = publisher.roll_back(shared, version) if case == ROLLBACK else publisher.publish(shared)
        wrong = difference(publisher.published(directory), version)
        if wrong:
            raise SystemExit(f"{tool.name} did not do its job ({case}, {filesystem.name}): {wrong}")
        seconds[case] = taken
    return seconds


def started(tool: type[Publisher], repository: Repository, folder: Path) -> tuple[Publisher, Path]:
    """A tool that published nothing yet, and the directory that it is to publish to."""
    place = new_directory(folder)
    publisher = tool(repository, place / "own")
    publisher.prepare(place / "shared")
    return publisher, place / "shared"


def new_directory(folder: Path) -> Path:
    """An empty directory, which stays until the folder goes."""
    return Path(tempfile.mkdtemp(dir=folder))


def watch(tool: type[Publisher], folder: Path) -> Passes:
    """What readers see while a tool publishes one version after the other, each of which changes all files."""
    repository = Repository(new_directory(folder), WATCHED_FILES, WATCHED_DIRECTORIES)
    versions = [repository.commit(dict.fromkeys(repository.paths, 0))]
    for edition in range(1, WATCHED_VERSIONS + 1):
        versions.append(repository.commit(dict.fromkeys(repository.paths, edition), versions[-1]))
    publisher, shared = started(tool, repository, folder)

    def publish(offered: Sequence[Version]) -> None:
        for version in offered:
            repository.offer(version)
            publisher.publish(shared)

    publish(versions[:1])
    passes = watched(publisher.published(shared), len(repository.paths), lambda: publish(versions[1:]))
    print(f"torn reads: {tool.name}: {passes.torn} of {passes.all}", flush=True)
    return passes


def timings(filesystem: Filesystem, found: Seconds) -> str:
    """A table of the medians, one line for each tool."""
    rows = []
    for tool in [*COMMANDS, *TASKS]:
        medians = [f"{statistics.median(found[tool.name, case]):.3f}" for case in CASES]
        rows.append((f"`{tool.name}`", len(found[tool.name, FIRST]), *medians))
    delay = f"{filesystem.delay:g} ms for each call" if filesystem.delay else "a local filesystem"
    title = f"{filesystem.files:,} files in {filesystem.directories} directories, {delay}, in seconds:"
    return f"{title}\n\n{table(('tool', 'rounds', *CASES), rows)}"


def goals(found: Mapping[str, Seconds], torn: int) -> str:
    """A table of what was wanted and what was measured."""
    rows = []
    for goal in GOALS:
        for name in goal.filesystems:
            medians = {tool: statistics.median(found[name][tool.name, goal.case]) for tool in (goal.ours, *goal.others)}
            fastest = min(goal.others, key=medians.__getitem__)
            ratio = medians[goal.ours] / medians[fastest]
            rows.append(
                (
                    f"{goal.case}, {name}",
                    f"`{goal.ours.name}`",
                    f"`{fastest.name}`",
                    f"{ratio:.2f}",
                    f"{goal.at_most:.2f}",
                    "yes" if ratio <= goal.at_most else "no",
                )
            )
    rows.append(("torn passes", f"`{Library.name}`", "", str(torn), "0", "no" if torn else "yes"))
    return table(("goal", "ours", "fastest of the others", "times that", "at most", "met"), rows)


def reads(seen: Mapping[type[Publisher], Passes]) -> str:
    """A table of what readers saw."""
    rows = [(f"`{tool.name}`", *passes, f"{100 * passes.torn / passes.all:.1f}") for tool, passes in seen.items()]
    return table(("tool", "passes", "torn", "%"), rows)


if __name__ == "__main__":
    missing = [command for command in ("git", "rsync") if not shutil.which(command)]
    if missing:
        raise SystemExit(f"The benchmark compares with {' and '.join(missing)}, which this machine lacks: install it")
    compiled()
    with tempfile.TemporaryDirectory(prefix="bench-dags-") as name:
        found = {each.name: measure(each, [*COMMANDS, *TASKS], Path(name)) for each in FILESYSTEMS}
        seen = {tool: watch(tool, Path(name)) for tool in WATCHED}
    idle = statistics.median(nothing() for _round in range(ROUNDS))
    text = [
        f"Medians of as many rounds as are stated, with files of {FILE_BYTES} bytes.",
        *(timings(filesystem, found[filesystem.name]) for filesystem in FILESYSTEMS),
        f"A task that does nothing (`ansible.builtin.ping`) takes {idle:.3f} s, which is in those of each task.",
        f"What {READERS} readers of {WATCHED_FILES:,} files saw while {WATCHED_VERSIONS} versions were published:",
        reads(seen),
        "What was wanted:",
        goals(found, seen[Library].torn),
    ]
    write("dags", "python benchmarks/bench_dags.py", "\n\n".join(text))
