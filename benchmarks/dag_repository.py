# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A DAG repository that is the same each time: what it holds at each version, in git and as a directory."""

from __future__ import annotations

import functools
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GIT = shutil.which("git") or "/usr/bin/git"
FILE_BYTES = 4096
BRANCH = "main"
WORDS = ["extract", "load", "orders", "schedule", "retries", "warehouse", "partition", "customer", "daily", "upstream"]
GIT_ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "bench" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "bench@example.org" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_DATE": "1700000000 +0000" for who in ("AUTHOR", "COMMITTER")},
}
"""What git reads no setting of this machine with."""


@dataclass(frozen=True)
class Version:
    """A commit, and which edition of each file it holds."""

    commit: str
    editions: Mapping[str, int]

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path, edition in self.editions.items():
            yield path, content(path, edition)


def git(*arguments: str | Path, given: bytes | None = None) -> str:
    """What a git command prints, without its last line break.

    :raises SystemExit: it fails
    """
    done = subprocess.run([GIT, *arguments], env=GIT_ENVIRONMENT, input=given, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(map(str, arguments))} failed: {done.stderr.decode().strip()}")
    return done.stdout.decode().rstrip("\n")


def content(path: str, edition: int) -> bytes:
    """A file's text, which begins with its edition."""
    beginning = f"EDITION = {edition:06}\n".encode()
    return beginning + _text(path)[len(beginning) :]


@functools.cache
def _text(path: str) -> bytes:
    words = random.Random(path).choices(WORDS, k=FILE_BYTES // 4)
    lines = [" ".join(line) for line in itertools.batched(words, 12)]
    return "\n".join(lines).encode()[: FILE_BYTES - 1] + b"\n"


class Repository:
    """A bare repository at `url`, and its content as a plain directory, both at the version that is offered."""

    def __init__(self, folder: Path, files: int, directories: int) -> None:
        self.paths = [f"team{at % directories:03}/dag{at:05}.py" for at in range(files)]
        self.bare = folder / "dags.git"
        self.url = self.bare.as_uri()
        self.checkout = folder / "checkout"
        self._offered: dict[str, int] = {}
        self._times = itertools.count(1_700_000_000)
        git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", self.bare)

    def commit(self, editions: Mapping[str, int], parent: Version | None = None) -> Version:
        """A new commit, whose tree differs from its parent's in the files that have another edition."""
        before = parent.editions if parent else {}
        stream = [b"commit refs/heads/work\ncommitter bench <bench@example.org> 1700000000 +0000\ndata 5\nbench"]
        if parent:
            stream.append(f"from {parent.commit}".encode())
        for path, edition in editions.items():
            if before.get(path) != edition:
                data = content(path, edition)
                stream.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data)
        git("-C", self.bare, "fast-import", "--quiet", "--force", given=b"\n".join(stream) + b"\n\n")
        return Version(git("-C", self.bare, "rev-parse", "refs/heads/work"), dict(editions))

    def offer(self, version: Version) -> None:
        """Let the branch and the plain directory be at a version. A file that changes there gets a new time."""
        git("-C", self.bare, "update-ref", f"refs/heads/{BRANCH}", version.commit)
        now = next(self._times)
        for path, edition in version.editions.items():
            if self._offered.get(path) != edition:
                place = self.checkout / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content(path, edition))
                os.utime(place, (now, now))
        self._offered = dict(version.editions)


def difference(directory: Path, version: Version) -> str:
    """How the DAGs below a directory differ from a version; empty where they do not."""
    there = {str(place.relative_to(directory)) for place in directory.glob("*/*.py")}
    if there != set(version.editions):
        return f"{len(there)} files, not the {len(version.editions)} that were committed"
    wrong = [path for path, data in version.files() if (directory / path).read_bytes() != data]
    return f"{len(wrong)} files are not as they were committed, such as {wrong[0]}" if wrong else ""
