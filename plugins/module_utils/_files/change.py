# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The difference, applied as a whole.

Every new file is staged aside and validated, and all of them are renamed at the end, so that whatever goes wrong leaves
the host as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._files.difference import (
    Changes,
    DirectoryChange,
    FileChange,
)
from ansible_collections.airstack.backbone.plugins.module_utils._files.ownership import Ownership
from ansible_collections.airstack.backbone.plugins.module_utils._files.pending import read_pending
from ansible_collections.airstack.backbone.plugins.module_utils._files.problems import FileSetError
from ansible_collections.airstack.backbone.plugins.module_utils._files.stages import STAGE_PREFIX
from ansible_collections.airstack.backbone.plugins.module_utils._files.wanted import WantedFile

Validator = Callable[[WantedFile, Path], "str | None"]
"""Runs a file's validate command on the staged path; answers with what is wrong, or None."""
Labeller = Callable[[Path, Path], None]
"""Gives a staged path the security context that belongs to its target path."""


def apply(changes: Changes, *, validate: Validator, label: Labeller) -> None:
    """Make the changes, all or none.

    :raises FileSetError: when nothing was changed, and why.
    """
    stages: dict[Path, Path] = {}
    settled: list[DirectoryChange] = []
    try:
        for directory in changes.directories:
            _settle(directory, label)
            settled.append(directory)
        moves = [(_stage(change, stages, label), change.wanted.path) for change in changes.files]
        _validate(changes.files, [staged for staged, _target in moves], validate)
        removals = [(path, _stage_of(path, stages)) for path in changes.removed_files]
        _commit(_stage_pending(changes, stages, label) + moves, removals, changes)
    except BaseException as error:
        _remove_stages(stages)
        for directory in reversed(settled):
            with suppress(OSError):
                _unsettle(directory)
        if isinstance(error, OSError):
            where = error.filename2 or error.filename or "writing the files"
            raise FileSetError([f"{where}: {error.strerror}; nothing was changed"]) from error
        raise
    _remove_stages(stages)
    for path in changes.removed_directories:
        if path.name.startswith(STAGE_PREFIX):
            shutil.rmtree(path, ignore_errors=True)
            continue
        with suppress(OSError):  # somebody has put something in it meanwhile
            path.rmdir()


def _settle(change: DirectoryChange, label: Labeller) -> None:
    path = change.wanted.path
    if change.ownership_before is None:
        path.mkdir(0o700)
    try:
        if change.ownership_before is None:
            label(path, path)
        _own(path, change.ownership_after)
    except BaseException:
        with suppress(OSError):
            _unsettle(change)
        raise


def _unsettle(change: DirectoryChange) -> None:
    if change.ownership_before is None:
        change.wanted.path.rmdir()
    else:
        _own(change.wanted.path, change.ownership_before)


def _own(path: Path, ownership: Ownership) -> None:
    os.chown(path, ownership.uid, ownership.gid)
    path.chmod(ownership.mode)


def _stage_of(path: Path, stages: dict[Path, Path]) -> Path:
    """A folder beside the path, for it and its neighbours: on their file system, and nobody else's to read."""
    if path.parent not in stages:
        stages[path.parent] = Path(tempfile.mkdtemp(prefix=STAGE_PREFIX, dir=path.parent))
    return stages[path.parent]


def _stage(change: FileChange, stages: dict[Path, Path], label: Labeller) -> Path:
    staged = _write_aside(change.wanted.path, change.wanted.content, stages)
    _own(staged, change.ownership_after)
    label(staged, change.wanted.path)
    return staged


def _write_aside(target: Path, content: bytes, stages: dict[Path, Path]) -> Path:
    """Write a private file under its real name: validators look at it, and patterns such as conf.d/* do not."""
    staged = _stage_of(target, stages) / target.name
    staged.touch(0o600, exist_ok=False)
    staged.write_bytes(content)
    return staged


def _stage_pending(changes: Changes, stages: dict[Path, Path], label: Labeller) -> list[tuple[Path, Path]]:
    """Write the pending labels with the new ones aside; no move when nothing is to be added."""
    if changes.pending is None:
        return []
    noted = read_pending(changes.pending)  # again: another run may have added some meanwhile
    if changes.new_labels <= noted:
        return []
    text = "".join(f"{word}\n" for word in sorted(changes.new_labels | noted))
    staged = _write_aside(changes.pending, text.encode("utf-8", "surrogateescape"), stages)
    label(staged, changes.pending)
    _flush(staged)
    return [(staged, changes.pending)]


def _flush(path: Path) -> None:
    """Have what was written to a file, or what was named in a directory, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _validate(changes: list[FileChange], staged: list[Path], validate: Validator) -> None:
    problems = []
    for change, path in zip(changes, staged):
        problem = validate(change.wanted, path) if change.wanted.validate else None
        if problem:
            problems.append(f"{change.wanted.path}: {problem}")
    if problems:
        raise FileSetError(problems)


def _flush_pending(path: Path, changes: Changes) -> None:
    made = (change.wanted.path for change in changes.directories if change.ownership_before is None)
    for directory in (path.parent, *(item.parent for item in made if item in path.parents)):
        _flush(directory)


def _commit(moves: list[tuple[Path, Path]], removals: list[tuple[Path, Path]], changes: Changes) -> None:
    """Rename every staged file to its target and every removed one into its stage.

    The pending labels come first and are safe on disk before anything else changes: a run that dies later leaves word
    of what it may have changed. They are also what is put back last.

    When one cannot be renamed, the earlier ones are put back. No fallback to copying, as AnsibleModule.atomic_move has
    it: that one gives a new file its mode after the rename, and a secret would be readable for a moment.
    """
    done: list[tuple[Path, Path | None]] = []
    try:
        for staged, target in moves:
            backup: Path | None = _backup(staged.parent, target)
            try:
                os.link(target, str(backup))
            except FileNotFoundError:
                backup = None
            staged.rename(target)
            done.append((target, backup))
            if target == changes.pending:
                _flush_pending(target, changes)
        for target, stage in removals:
            target.rename(_backup(stage, target))
            done.append((target, _backup(stage, target)))
    except BaseException:
        for target, backup in reversed(done):
            if backup is None:
                target.unlink()
            else:
                backup.rename(target)
        raise


def _backup(stage: Path, target: Path) -> Path:
    return stage / f".before-{target.name}"


def _remove_stages(stages: Mapping[Path, Path]) -> None:
    for path in stages.values():
        shutil.rmtree(path, ignore_errors=True)
