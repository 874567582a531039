# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a git origin would publish, in the form of the trees that the tests make, and which processes that took."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.content import GitContent
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Known
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Executable, Link, before


def found(content: GitContent) -> dict[str, object]:
    """Return what would be published, in the form of a tree."""
    tree: dict[str, object] = {}
    for entry in content.entries:
        data = content.read(entry)
        assert (entry.digest, entry.size) == (hashlib.sha256(data).hexdigest(), len(data))
        tree[entry.path] = Link(entry.target) if entry.target else Executable(data) if entry.kind == "x" else data
    return tree


def published(origin: GitOrigin, known: Mapping[str, Known] | None = None) -> dict[str, object]:
    with origin.open(before(known or {})) as content:
        return found(content)


def problems_of(origin: GitOrigin) -> list[str]:
    with pytest.raises(SourceProblems) as refused:
        published(origin)
    return refused.value.problems


def record_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have each git that is started written down, and return the file."""
    log, wrapper = tmp_path / "git.log", tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    return log


def commands(log: Path) -> list[str]:
    known = {"ls-remote", "init", "fetch", "gc", "ls-tree", "diff-tree", "cat-file", "update-ref", "config", "fsck"}
    return [next(word for word in line.split() if word in known) for line in log.read_text().splitlines()]
