# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tools that bring DAGs into a shared directory, each as its users run it, and what is measured of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from dag_repository import BRANCH, GIT_ENVIRONMENT, Repository, Version, git
from performance_page import ROOT

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.airstack.backbone.plugins.module_utils._dags import arguments, jobs, staging, switching
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import kinds
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import identity
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory

KEPT = 3
"""Worktrees that stay, the current one among them."""

SOURCE = "etl"
SENTINEL = ".airflow-dag-storage"
RSYNC = shutil.which("rsync") or "/usr/bin/rsync"
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


class Publisher(ABC):
    """A tool that fills a shared directory, and has a place of its own on the publisher's disk."""

    name: ClassVar[str]

    def __init__(self, repository: Repository, own: Path) -> None:
        self.repository = repository
        self.own = own

    def prepare(self, shared: Path) -> None:
        """Make both, empty. This is not measured."""
        for directory in (self.own, shared):
            directory.mkdir()

    @abstractmethod
    def publish(self, shared: Path) -> float:
        """Bring what the repository offers into the shared directory, and return the seconds that it took."""

    @abstractmethod
    def roll_back(self, shared: Path, version: Version) -> float:
        """Return to the version before, and return the seconds. For those who keep none, the repository offers it."""

    def published(self, shared: Path) -> Path:
        """Where readers find the DAGs: the directory itself, or a link that they resolve."""
        return shared


class Rsync(Publisher):
    """What a checkout on the publisher holds is written over what is there."""

    name = "rsync -a --delete"

    def publish(self, shared: Path) -> float:
        command = [RSYNC, "-a", "--delete", f"{self.repository.checkout}/", f"{shared}/"]
        return _seconds(lambda: subprocess.run(command, check=True))

    def roll_back(self, shared: Path, version: Version) -> float:
        return self.publish(shared)


class GitPull(Publisher):
    """The shared directory is a clone."""

    name = "git pull"

    def publish(self, shared: Path) -> float:
        if (shared / ".git").exists():
            return _seconds(lambda: git("-C", shared, "pull", "--quiet", "--ff-only"))
        return _seconds(lambda: git("clone", "--quiet", self.repository.url, shared))

    def roll_back(self, shared: Path, version: Version) -> float:
        return _seconds(lambda: git("-C", shared, "reset", "--quiet", "--hard", version.commit))


class GitWorktree(Publisher):
    """A worktree for each commit of a bare clone on the publisher's disk, and a link that is renamed to the newest."""

    name = "git worktree add + rename"
    options: ClassVar[Sequence[str]] = ()

    def publish(self, shared: Path) -> float:
        return _seconds(lambda: self._publish(shared, self.own / "clone.git"))

    def roll_back(self, shared: Path, version: Version) -> float:
        return _seconds(lambda: self._switch(shared, version.commit))

    def published(self, shared: Path) -> Path:
        return shared / "current"

    def _publish(self, shared: Path, clone: Path) -> None:
        if not clone.exists():
            git("clone", "--quiet", "--bare", self.repository.url, clone)
        git("-C", clone, "fetch", "--quiet", "origin", BRANCH)
        commit = git("-C", clone, "rev-parse", "FETCH_HEAD")
        worktree = shared / "releases" / commit
        if not worktree.exists():
            git("-C", clone, *self.options, "worktree", "add", "--quiet", "--detach", worktree, commit)
        self._switch(shared, commit)
        with os.scandir(shared / "releases") as found:
            oldest_first = sorted(found, key=lambda entry: entry.stat().st_ctime_ns)
        for old in oldest_first[:-KEPT]:
            git("-C", clone, "worktree", "remove", "--force", old.path)

    def _switch(self, shared: Path, commit: str) -> None:
        link, target = shared / "current", f"releases/{commit}"
        if not link.is_symlink() or os.readlink(link) != target:
            (shared / "next").symlink_to(target)
            (shared / "next").replace(link)


class GitWorktreeWorkers(GitWorktree):
    """The same, with git's own way of doing calls side by side, which is off by default."""

    name = "git worktree add (16 workers) + rename"
    options = ("-c", "checkout.workers=16")


class Library(Publisher):
    """What dag_sync does on a host, without Ansible around it."""

    name = "dag_sync, as a library"

    def prepare(self, shared: Path) -> None:
        super().prepare(shared)
        (shared / SENTINEL).touch()

    def publish(self, shared: Path) -> float:
        options = {option: described.get("default") for option, described in arguments.SOURCE.items()}
        source = {**options, "name": SOURCE, "repository": self.repository.url, "version": BRANCH}
        return self._switch(shared, lambda job: staging.stage(job, kinds.origin(source, self.own)))

    def roll_back(self, shared: Path, version: Version) -> float:
        return self._switch(shared, staging.earlier)

    def published(self, shared: Path) -> Path:
        return shared / SOURCE / "current"

    @staticmethod
    def _switch(shared: Path, stage: Callable[[jobs.Job], jobs.Staged]) -> float:
        attributes = Attributes(os.geteuid(), os.getegid())
        job = jobs.Job(Directory(shared, SOURCE), attributes, identity())
        return _seconds(lambda: switching.switch(job, stage(job)))


class Task(Publisher):
    """A task of a playbook that is run for it alone. The seconds are the task's: a playbook's start is the same for all."""

    @abstractmethod
    def task(self, shared: Path, back_to: Version | None = None) -> dict[str, Any]:
        """The task as a playbook has it: a module with its options."""

    def publish(self, shared: Path) -> float:
        return _task_seconds(self.task(shared), self.own)

    def roll_back(self, shared: Path, version: Version) -> float:
        return _task_seconds(self.task(shared, version), self.own)


class Synchronize(Task):
    """Rsync in a task."""

    name = "ansible.posix.synchronize"

    def task(self, shared: Path, back_to: Version | None = None) -> dict[str, Any]:
        options = {"src": f"{self.repository.checkout}/", "dest": f"{shared}/", "delete": True}
        return {"ansible.posix.synchronize": options}


class Git(Task):
    """A clone in a task."""

    name = "ansible.builtin.git"

    def task(self, shared: Path, back_to: Version | None = None) -> dict[str, Any]:
        version = back_to.commit if back_to else BRANCH
        return {"ansible.builtin.git": {"repo": self.repository.url, "dest": str(shared), "version": version}}


class Module(Task):
    """Ours in a task."""

    name = "airstack.backbone.dag_sync"

    def prepare(self, shared: Path) -> None:
        super().prepare(shared)
        (shared / SENTINEL).touch()

    def task(self, shared: Path, back_to: Version | None = None) -> dict[str, Any]:
        source: dict[str, Any] = {"name": SOURCE}
        if not back_to:
            source |= {"repository": self.repository.url, "version": BRANCH}
        state = "rolled_back" if back_to else "present"
        options = {"storage": str(shared), "sources": [source], "state": state, "cache": str(self.own)}
        return {self.name: options}

    def published(self, shared: Path) -> Path:
        return shared / SOURCE / "current"


def nothing() -> float:
    """The seconds of a task that does nothing."""
    with tempfile.TemporaryDirectory() as name:
        return _task_seconds({"ansible.builtin.ping": {}}, Path(name))


def _task_seconds(task: dict[str, Any], folder: Path) -> float:
    """Run a playbook of one task, and return how long the task took.

    :raises SystemExit: it failed
    """
    playbook, configuration = folder / "playbook.yml", folder / "ansible.cfg"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    configuration.touch()
    environment = {
        **GIT_ENVIRONMENT,
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command: list[str | Path] = [PLAYBOOK, "--inventory", "localhost,", "--connection", "local", playbook]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{', '.join(task)} failed: {done.stdout}{done.stderr}")
    took = json.loads(done.stdout)["plays"][0]["tasks"][0]["task"]["duration"]
    begin, end = (datetime.fromisoformat(took[at]) for at in ("start", "end"))
    return (end - begin).total_seconds()


def _seconds(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin
