# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a set of small files, which is written as a whole, shall be. All of this is pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._files.problems import FileSetError, unique
from ansible_collections.airstack.backbone.plugins.module_utils._files.stages import STAGE_PREFIX

_MODE = re.compile(r"[0-7]{4}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_NO_ID = 2**32 - 1  # uid_t and gid_t have 32 bits, and chown(2) takes the last number for "leave it as it is"


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
        raise FileSetError(unique(problems))
    return Wanted(tuple(sorted(directories, key=lambda item: item.path)), tuple(files), tuple(prunes), pending)


def _read_path(text: str, option: str, problems: list[str]) -> Path:
    path = Path(text)
    if str(path) != text or ".." in path.parts or "\0" in text or path.root != "/" or path == path.parent:
        problems.append(
            f"{text!r} in {option}: a path is absolute and plain, without '.', '..', or slashes doubled or at its end"
        )
    if any(part.startswith(STAGE_PREFIX) for part in path.parts):
        problems.append(f"{text!r} in {option}: names that begin with {STAGE_PREFIX} are for staging alone")
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
        if name is not None and name.isdigit() and read_number(name) is None:
            problems.append(f"{entry['path']}: {option} is {name!r}; as a number it is one from 0 to {_NO_ID - 1}")
    return Attributes(owner=entry.get("owner"), group=entry.get("group"), mode=int(mode, 8))


def read_number(name: str) -> int | None:
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
