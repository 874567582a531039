# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A set of small files that is written as a whole: read the wish, compare it with the host, apply the difference.

`read` is pure. `compare` reads the host and changes nothing. `apply` stages every new file aside, lets it be validated,
and renames all of them at the end, so that whatever goes wrong leaves the host as it was.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

_MODE = re.compile(r"[0-7]{4}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NUMBER = re.compile(r"[0-9]{1,10}")
_NO_ID = 2**32 - 1  # uid_t and gid_t have 32 bits, and chown(2) takes the last number for "leave it as it is"
_UNKNOWN = -1
_STAGE_PREFIX = ".file_set-"
_STAGE_LIFE = 3600.0
"""Seconds after which a stage is a killed run's: none writes and validates some forty small files for an hour."""


class FileSetError(Exception):
    """The set cannot be written; `problems` says everything that stands in its way."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Attributes:
    """Wanted owner, group (None: as they are) and mode bits of a path."""

    owner: str | None
    group: str | None
    mode: int


@dataclass(frozen=True)
class WantedDirectory:
    path: Path
    attributes: Attributes


@dataclass(frozen=True)
class WantedFile:
    path: Path
    content: bytes
    is_secret: bool
    attributes: Attributes
    validate: tuple[str, ...]
    """The words of a command, %s standing for the file; empty for none."""
    restarts: tuple[str, ...]


@dataclass(frozen=True)
class Prune:
    """Regular files under `path` whose name matches a pattern and that are not wanted go away."""

    path: Path
    patterns: tuple[str, ...]
    recurse: bool
    restarts: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    directories: tuple[WantedDirectory, ...]
    files: tuple[WantedFile, ...]
    prunes: tuple[Prune, ...]
    pending: Path | None
    """Where the labels stand that are still to be acted on."""


@dataclass(frozen=True)
class Ownership:
    """Owner, group and mode of a path. The numbers count; the names are for people."""

    uid: int
    """-1, which is nobody's, where the host does not know the wanted user yet."""
    gid: int
    mode: int
    owner: str = field(compare=False)
    group: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


@dataclass(frozen=True)
class FileChange:
    wanted: WantedFile
    before: bytes | None
    """What stands there, None when nothing does."""
    ownership_before: Ownership | None
    ownership_after: Ownership

    @property
    def is_content_changed(self) -> bool:
        return self.before != self.wanted.content

    @property
    def is_opened(self) -> bool:
        """Whether nobody but its owner could read what others will."""
        return (
            self.ownership_before is not None
            and not self.ownership_before.mode & _OTHERS
            and bool(self.ownership_after.mode & _OTHERS)
        )


@dataclass(frozen=True)
class DirectoryChange:
    wanted: WantedDirectory
    ownership_before: Ownership | None
    ownership_after: Ownership


@dataclass
class Changes:
    """The difference between what is wanted and what is there, in the order in which it is applied."""

    directories: list[DirectoryChange] = field(default_factory=list)
    files: list[FileChange] = field(default_factory=list)
    removed_files: list[Path] = field(default_factory=list)
    removed_directories: list[Path] = field(default_factory=list)
    pruned_for: set[str] = field(default_factory=set)
    pending: Path | None = None
    pending_for: frozenset[str] = frozenset()
    """The labels that earlier runs left at `pending`."""

    def __bool__(self) -> bool:
        return bool(
            self.directories or self.files or self.removed_files or self.removed_directories or self.pending_for
        )

    @property
    def new_labels(self) -> frozenset[str]:
        """The labels of what is about to change."""
        return frozenset(self.pruned_for).union(*(change.wanted.restarts for change in self.files))

    @property
    def changed_for(self) -> list[str]:
        return sorted(self.new_labels | self.pending_for)


# --- the wish -------------------------------------------------------------------------------------------------------


def read(parameters: Mapping[str, Any]) -> Wanted:
    """Read the module's parameters.

    :raises FileSetError: with every mistake that can be seen without looking at the host.
    """
    problems: list[str] = []
    secrets = parameters.get("secrets") or {}
    directories = [
        WantedDirectory(
            path=_read_path(entry["path"], "directories", problems),
            attributes=_read_attributes(entry, "0755", problems),
        )
        for entry in parameters.get("directories") or []
    ]
    files = [_read_file(entry, secrets, problems) for entry in parameters.get("files") or []]
    prunes = [_read_prune(entry, problems) for entry in parameters.get("prune") or []]

    pending = None if parameters.get("pending") is None else _read_path(parameters["pending"], "pending", problems)
    places = [item.path for item in directories] + [item.path for item in files]
    if pending is not None:
        places.append(pending)
        problems += _problems_of_labels([*files, *prunes])

    seen: set[Path] = set()
    for path in places:
        if path in seen:
            problems.append(f"{path}: listed more than once")
        seen.add(path)
    problems += _problems_of_secrets(secrets, parameters.get("files") or [], seen, files, prunes)
    if problems:
        raise FileSetError(_unique(problems))
    return Wanted(tuple(sorted(directories, key=lambda item: item.path)), tuple(files), tuple(prunes), pending)


def _read_path(text: str, option: str, problems: list[str]) -> Path:
    path = Path(text)
    if str(path) != text or ".." in path.parts or "\0" in text or path.root != "/" or path == path.parent:
        problems.append(
            f"{text!r} in {option}: a path is absolute and plain, without '.', '..', or slashes doubled or at its end"
        )
    if any(part.startswith(_STAGE_PREFIX) for part in path.parts):
        problems.append(f"{text!r} in {option}: names that begin with {_STAGE_PREFIX} are for staging alone")
    return path


def _read_attributes(entry: Mapping[str, Any], default_mode: str, problems: list[str]) -> Attributes:
    mode = entry.get("mode")
    if mode is None:
        mode = default_mode
    if not (isinstance(mode, str) and _MODE.fullmatch(mode)):
        problems.append(
            f'{entry["path"]}: mode is {mode!r}; it is a quoted string of four octal digits, such as "{default_mode}"'
        )
        mode = default_mode
    for option in ("owner", "group"):
        name = entry.get(option)
        if name is not None and name.isdigit() and _number(name) is None:
            problems.append(f"{entry['path']}: {option} is {name!r}; as a number it is one from 0 to {_NO_ID - 1}")
    return Attributes(owner=entry.get("owner"), group=entry.get("group"), mode=int(mode, 8))


def _number(name: str) -> int | None:
    """Read the number of a user or group, None for a name and for a number that nobody can have."""
    number = int(name) if _NUMBER.fullmatch(name) else _NO_ID
    return number if number < _NO_ID else None


def _read_file(entry: Mapping[str, Any], secrets: Mapping[str, Any], problems: list[str]) -> WantedFile:
    path = _read_path(entry["path"], "files", problems)
    text, key = entry.get("content"), entry.get("secret")
    if (text is None) == (key is None):
        problems.append(f"{path}: give either content or secret")
    if key is not None:
        if key in secrets:
            text = secrets[key]
        else:
            problems.append(f"{path}: its secret {key!r} is no key of secrets")
    elif text is not None and not isinstance(text, str):
        problems.append(f"{path}: content is a {type(text).__name__}; it is a string (to_json makes one)")
    return WantedFile(
        path=path,
        content=text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b"",
        is_secret=key is not None,
        attributes=_read_attributes(entry, "0644" if key is None else "0600", problems),
        validate=_read_validate(entry.get("validate"), path, problems),
        restarts=tuple(entry.get("restarts") or ()),
    )


def _read_validate(command: str | None, path: Path, problems: list[str]) -> tuple[str, ...]:
    if command is None:
        return ()
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        problems.append(f"{path}: validate is {command!r}, which is no command: {error}")
        return ()
    if not any("%s" in word for word in words):
        problems.append(f"{path}: validate is {command!r}; %s in it has to stand for the file")
    return words


def _read_prune(entry: Mapping[str, Any], problems: list[str]) -> Prune:
    path = _read_path(entry["path"], "prune", problems)
    if path.parent == path.parent.parent:
        problems.append(f"{str(path)!r} in prune: a directory at the top of the system is never pruned")
    patterns = entry.get("patterns")
    return Prune(
        path=path,
        patterns=("*",) if patterns is None else tuple(patterns),
        recurse=bool(entry.get("recurse")),
        restarts=tuple(entry.get("restarts") or ()),
    )


def _problems_of_labels(items: Iterable[WantedFile | Prune]) -> list[str]:
    return [
        f"{item.path}: {label!r} in restarts; with pending, a label is one line that is not empty"
        for item in items
        for label in item.restarts
        if not label or "\n" in label
    ]


def _problems_of_secrets(
    secrets: Mapping[str, Any],
    file_entries: Iterable[Mapping[str, Any]],
    paths: Iterable[Path],
    files: Iterable[WantedFile],
    prunes: Iterable[Prune],
) -> list[str]:
    used = {entry.get("secret") for entry in file_entries}
    shown = {str(path) for path in paths}.union(*(item.restarts for item in files), *(item.restarts for item in prunes))
    problems = []
    for key, value in secrets.items():
        if not isinstance(value, str):
            problems.append(f"secret {key!r}: a {type(value).__name__}; it is a string (quote numbers)")
        elif key not in used:
            problems.append(f"secret {key!r}: no file uses it; a host is sent what it needs alone")
        elif value and any(value in text for text in shown):
            # Ansible would star it out of the paths and labels in the result, and nothing would be restarted.
            problems.append(f"secret {key!r}: its value is part of a path or a label of this set; take a longer one")
    return problems


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


# --- the difference -------------------------------------------------------------------------------------------------


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
        raise FileSetError(_unique(problems))
    return changes


def _lstat(path: Path, problems: list[str]) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return None


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


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _ownership(uid: int, gid: int, mode: int) -> Ownership:
    return Ownership(uid, gid, mode, _user_name(uid), _group_name(gid))


def _ownership_of(status: os.stat_result) -> Ownership:
    return _ownership(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def _wanted_ownership(
    path: Path, wanted: Attributes, before: Ownership | None, problems: list[str], *, is_check: bool
) -> Ownership:
    if before is None:
        before = _ownership(os.geteuid(), os.getegid(), 0)
    uid = before.uid if wanted.owner is None else _uid(wanted.owner)
    gid = before.gid if wanted.group is None else _gid(wanted.group)
    if not is_check:
        for name, number, kind in ((wanted.owner, uid, "user"), (wanted.group, gid, "group")):
            if number == _UNKNOWN:
                problems.append(f"{path}: there is no {kind} {name!r} on this host")
    owner = _user_name(uid) if wanted.owner is None or _number(wanted.owner) is not None else wanted.owner
    group = _group_name(gid) if wanted.group is None or _number(wanted.group) is not None else wanted.group
    return Ownership(uid, gid, wanted.mode, owner, group)


def _uid(name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # a name with a null byte is no value for C
        return _UNKNOWN


def _gid(name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return _UNKNOWN


def _compare_directory(directory: WantedDirectory, problems: list[str], *, is_check: bool) -> DirectoryChange | None:
    status = _lstat(directory.path, problems)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        problems.append(f"{directory.path}: {_kind(status)}, where a directory shall be")
        return None
    before = None if status is None else _ownership_of(status)
    after = _wanted_ownership(directory.path, directory.attributes, before, problems, is_check=is_check)
    return None if before == after else DirectoryChange(directory, before, after)


def _compare_file(file: WantedFile, problems: list[str], *, is_check: bool) -> FileChange | None:
    status = _lstat(file.path, problems)
    content, before = None, None
    if status is not None:
        if not stat.S_ISREG(status.st_mode):
            problems.append(f"{file.path}: {_kind(status)}, where a regular file shall be")
            return None
        before = _ownership_of(status)
        try:
            content = file.path.read_bytes()
        except OSError as error:
            problems.append(f"{file.path}: cannot be read: {error.strerror}")
            return None
    after = _wanted_ownership(file.path, file.attributes, before, problems, is_check=is_check)
    if before == after and content == file.content:
        return None
    return FileChange(file, content, before, after)


def _kind(status: os.stat_result) -> str:
    names = ((stat.S_ISLNK, "a symlink"), (stat.S_ISDIR, "a directory"), (stat.S_ISREG, "a regular file"))
    return next((name for is_kind, name in names if is_kind(status.st_mode)), "a special file")


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
        if _is_stage(path, status):
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


def _is_stage(path: Path, status: os.stat_result) -> bool:
    """Say whether a path may be another run's, at work or killed, which no pattern of a prune means."""
    return path.name.startswith(_STAGE_PREFIX) and (stat.S_ISDIR(status.st_mode) or _is_young(status))


def _is_young(status: os.stat_result) -> bool:
    return time.time() - status.st_mtime < _STAGE_LIFE


def _note_stage(path: Path, status: os.stat_result, changes: Changes) -> bool:
    """Note a stage that a killed run left, with secrets in it maybe; say whether it goes away."""
    is_left = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not _is_young(status)
    if is_left:
        _note(path, changes.removed_directories)
    return is_left


def _compare_stages(directory: Path, changes: Changes) -> None:
    """Find what killed runs left beside the files. Where that cannot be seen it is left alone."""
    with suppress(OSError):
        for path in sorted(directory.glob(f"{_STAGE_PREFIX}*")):
            _note_stage(path, path.lstat(), changes)


def _compare_pending(path: Path, made: set[Path], changes: Changes, problems: list[str]) -> None:
    """Find the labels of earlier runs and, when there will be some to note, the directories to make for them."""
    changes.pending = path
    status = _lstat(path, problems)
    if status is not None and not stat.S_ISREG(status.st_mode):
        problems.append(f"{path}: {_kind(status)}, where the file of pending labels shall be")
        return
    try:
        changes.pending_for = _read_pending(path)
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


def _read_pending(path: Path) -> frozenset[str]:
    """Read the labels, one on each line.

    :raises OSError: when the file is there and cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    return frozenset(filter(None, text.split("\n")))


def _note(path: Path, paths: list[Path]) -> None:
    """Remember a path once, though several prunes may find it."""
    if path not in paths:
        paths.append(path)


# --- the change -----------------------------------------------------------------------------------------------------

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
        if path.name.startswith(_STAGE_PREFIX):
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
        stages[path.parent] = Path(tempfile.mkdtemp(prefix=_STAGE_PREFIX, dir=path.parent))
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
    noted = _read_pending(changes.pending)  # again: another run may have added some meanwhile
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


# --- the report -----------------------------------------------------------------------------------------------------


def diff(changes: Changes) -> list[dict[str, str]]:
    """Before and after, as `ansible-playbook --diff` shows them. A secret's text is in none of it.

    Nor is the former text of a file that is opened to others: it may have been a secret until now.
    """
    return [
        *(_diff_of_directory(change) for change in changes.directories),
        *(_diff_of_file(change) for change in changes.files),
        *(_entry(path, "file\n", "") for path in changes.removed_files),
        *(_entry(path, "directory\n", "") for path in changes.removed_directories),
    ]


def _entry(path: Path, before: str, after: str) -> dict[str, str]:
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": after}


def _diff_of_directory(change: DirectoryChange) -> dict[str, str]:
    before, after = _line("directory", change.ownership_before), _line("directory", change.ownership_after)
    return _entry(change.wanted.path, before, after)


def _diff_of_file(change: FileChange) -> dict[str, str]:
    before, after = _line("file", change.ownership_before), _line("file", change.ownership_after)
    if before == after:
        before = after = ""
    if change.is_content_changed and change.wanted.is_secret:
        before += "" if change.before is None else "secret: the former one\n"
        after += "secret: another one\n"
    elif change.is_content_changed:
        before += "text that its owner alone could read\n" if change.is_opened else _text(change.before or b"")
        after += _text(change.wanted.content)
    return _entry(change.wanted.path, before, after)


def _line(kind: str, ownership: Ownership | None) -> str:
    return "" if ownership is None else f"{kind} {ownership}\n"


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
