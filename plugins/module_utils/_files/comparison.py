# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wanted, compared with a host, which is read and not changed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._files.difference import (
    Changes,
    DirectoryChange,
    FileChange,
)
from ansible_collections.airstack.backbone.plugins.module_utils._files.ownership import ownership_of, wanted_ownership
from ansible_collections.airstack.backbone.plugins.module_utils._files.pending import read_pending
from ansible_collections.airstack.backbone.plugins.module_utils._files.problems import FileSetError, unique
from ansible_collections.airstack.backbone.plugins.module_utils._files.stages import STAGE_PREFIX, is_stage, is_young
from ansible_collections.airstack.backbone.plugins.module_utils._files.wanted import (
    Attributes,
    Prune,
    Wanted,
    WantedDirectory,
    WantedFile,
)


def compare(wanted: Wanted, *, is_check: bool) -> Changes:
    """Find what has to change on this host.

    With `is_check`, owners, groups and parent directories may be missing: an earlier task would have made them.

    :raises FileSetError: with everything that stands in the way.
    """
    problems: list[str] = []
    changes = Changes()
    made = {item.path for item in wanted.directories}
    for directory in wanted.directories:
        change = _compare_directory(directory, problems, is_check=is_check)
        if change:
            changes.directories.append(change)
        _check_parent(directory.path, made, problems, is_check=is_check)
    for file in wanted.files:
        file_change = _compare_file(file, problems, is_check=is_check)
        if file_change:
            changes.files.append(file_change)
        _check_parent(file.path, made, problems, is_check=is_check)
    kept = made | {file.path for file in wanted.files}
    staged_in = {file.path.parent for file in wanted.files}
    if wanted.pending is not None:
        kept.update((wanted.pending, *wanted.pending.parents))
        staged_in.add(wanted.pending.parent)
    for prune in wanted.prunes:
        _compare_prune(prune, kept, changes, problems)
    if wanted.pending is not None:
        _compare_pending(wanted.pending, made, changes, problems)
    for place in sorted(staged_in):
        _compare_stages(place, changes)
    if problems:
        raise FileSetError(unique(problems))
    return changes


def _lstat(path: Path, problems: list[str]) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return None


def _kind(status: os.stat_result) -> str:
    names = ((stat.S_ISLNK, "a symlink"), (stat.S_ISDIR, "a directory"), (stat.S_ISREG, "a regular file"))
    return next((name for is_kind, name in names if is_kind(status.st_mode)), "a special file")


def _check_parent(path: Path, made: set[Path], problems: list[str], *, is_check: bool) -> None:
    parent = path.parent
    try:
        if parent in made or parent.is_dir():
            return
    except OSError as error:
        problems.append(f"{parent}: {error.strerror}")
        return
    if _lstat(parent, problems):
        problems.append(f"{parent}: not a directory, so {path} cannot stand in it")
    elif not is_check:
        problems.append(f"{parent}: not there, and not in directories; {path} needs it")


def _compare_directory(directory: WantedDirectory, problems: list[str], *, is_check: bool) -> DirectoryChange | None:
    status = _lstat(directory.path, problems)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        problems.append(f"{directory.path}: {_kind(status)}, where a directory shall be")
        return None
    before = None if status is None else ownership_of(status)
    after = wanted_ownership(directory.path, directory.attributes, before, problems, is_check=is_check)
    return None if before == after else DirectoryChange(directory, before, after)


def _compare_file(file: WantedFile, problems: list[str], *, is_check: bool) -> FileChange | None:
    status = _lstat(file.path, problems)
    content, before = None, None
    if status is not None:
        if not stat.S_ISREG(status.st_mode):
            problems.append(f"{file.path}: {_kind(status)}, where a regular file shall be")
            return None
        before = ownership_of(status)
        try:
            content = file.path.read_bytes()
        except OSError as error:
            problems.append(f"{file.path}: cannot be read: {error.strerror}")
            return None
    after = wanted_ownership(file.path, file.attributes, before, problems, is_check=is_check)
    if before == after and content == file.content:
        return None
    return FileChange(file, content, before, after)


def _compare_prune(prune: Prune, kept: set[Path], changes: Changes, problems: list[str]) -> None:
    status = _lstat(prune.path, problems)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        problems.append(f"{prune.path}: {_kind(status)}; only a directory is pruned")
        return
    try:
        _prune_below(prune.path, prune, kept, status.st_dev, changes)
    except OSError as error:
        problems.append(f"{error.filename}: cannot be pruned: {error.strerror}")


def _prune_below(directory: Path, prune: Prune, kept: set[Path], device: int, changes: Changes) -> bool:
    """Note what goes away below a directory; say whether nothing would be left in it."""
    is_empty = True
    for path in sorted(directory.iterdir()):
        try:
            status = path.lstat()
        except FileNotFoundError:  # another run's stage, done meanwhile
            continue
        if is_stage(path, status):
            is_empty = _note_stage(path, status, changes) and is_empty
        elif path not in kept and _is_pruned_file(path, status, prune):
            _note(path, changes.removed_files)
            changes.pruned_for.update(prune.restarts)
        elif (
            stat.S_ISDIR(status.st_mode)
            and prune.recurse
            and status.st_dev == device
            and _prune_below(path, prune, kept, device, changes)
            and path not in kept
        ):
            _note(path, changes.removed_directories)
        else:
            is_empty = False
    return is_empty


def _is_pruned_file(path: Path, status: os.stat_result, prune: Prune) -> bool:
    return stat.S_ISREG(status.st_mode) and any(fnmatchcase(path.name, pattern) for pattern in prune.patterns)


def _compare_stages(directory: Path, changes: Changes) -> None:
    """Find what killed runs left beside the files. Where that cannot be seen it is left alone."""
    with suppress(OSError):
        for path in sorted(directory.glob(f"{STAGE_PREFIX}*")):
            _note_stage(path, path.lstat(), changes)


def _note_stage(path: Path, status: os.stat_result, changes: Changes) -> bool:
    """Note a stage that a killed run left, with secrets in it maybe; say whether it goes away."""
    is_left = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not is_young(status)
    if is_left:
        _note(path, changes.removed_directories)
    return is_left


def _note(path: Path, paths: list[Path]) -> None:
    """Remember a path once, though several prunes may find it."""
    if path not in paths:
        paths.append(path)


def _compare_pending(path: Path, made: set[Path], changes: Changes, problems: list[str]) -> None:
    """Find the labels of earlier runs and, when there will be some to note, the directories to make for them."""
    changes.pending = path
    status = _lstat(path, problems)
    if status is not None and not stat.S_ISREG(status.st_mode):
        problems.append(f"{path}: {_kind(status)}, where the file of pending labels shall be")
        return
    try:
        changes.pending_for = read_pending(path)
    except OSError as error:
        problems.append(f"{path}: the pending labels cannot be read: {error.strerror}")
        return
    parent, missing = path.parent, []
    while parent not in made and _lstat(parent, problems) is None and parent != parent.parent:
        missing.append(parent)
        parent = parent.parent
    if parent not in made and not parent.is_dir():
        problems.append(f"{parent}: not a directory, so {path} cannot stand below it")
    elif changes.new_labels:
        attributes = Attributes(owner=None, group=None, mode=0o755)
        for directory in reversed(missing):
            change = _compare_directory(WantedDirectory(directory, attributes), problems, is_check=True)
            if change:
                changes.directories.append(change)
