# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Old releases, and whole sources, that may go, and how they go."""

from __future__ import annotations

import datetime
import errno
import functools
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import describe, opened_directory, sync
from ansible_collections.airstack.backbone.plugins.module_utils._dags.parallel import THREADS, each
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import (
    CURRENT,
    LOCK,
    RELEASES,
    TRASH_PREFIX,
    Directory,
    PublishError,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.seen import Seen


@dataclass(frozen=True)
class Retention:
    """What stays.

    keep: how many releases, the current one included. minimum_age: seconds that a release stays after it was the current
    one, since readers may have found it a moment before. in_use: releases that unfinished DagRuns use.
    """

    keep: int
    minimum_age: float
    in_use: Collection[str] = ()


def outdated(directory: Directory, seen: Seen, retention: Retention, current: str) -> list[str]:
    """Return the releases that need not stay once this one is the current one, the oldest first."""
    events = seen.events
    if seen.current != current:
        event = history.Event(current, history.PUBLISHED, history.now().isoformat(), "")
        events = history.following(events, event, seen.current)
    ages = {name: _age(directory, name, events) for name in seen.names if name != current}
    # Times are in whole seconds, in which several may have been current one after the other.
    last = {event.release: -at for at, event in enumerate(events)}
    # What never was current, as what a gate refused, takes no other's place.
    by_age = sorted(ages, key=lambda name: (name not in last, ages[name], last.get(name, 0)))
    kept = {*by_age[: max(retention.keep - 1, 0)], *retention.in_use}
    return [name for name in reversed(by_age) if name not in kept and ages[name] > retention.minimum_age]


def _age(directory: Directory, name: str, events: Sequence[history.Event]) -> float:
    """Seconds since a release was the current one or, where it never was, since it was made."""
    ended = history.last_current(events, name)
    if ended is None:
        try:
            made = os.lstat(directory.release(name)).st_ctime
        except FileNotFoundError:
            made = 0.0
        ended = datetime.datetime.fromtimestamp(made, datetime.timezone.utc)
    return (history.now() - ended).total_seconds()


class Removed(NamedTuple):
    """Names of what was removed, and why the rest was not: it is tried again by the next publisher.

    On NFS, for instance, a directory stays for as long as a process of the same host has one of its files open.
    """

    names: list[str]
    problems: list[str]


def clean(directory: Directory) -> Removed:
    """Remove leftovers. Only in one's turn: another publisher's work is no leftover."""
    return _removed([path.name for path in directory.leftovers()], lambda name: remove_tree(directory.path / name))


def remove(directory: Directory, names: Sequence[str]) -> Removed:
    """Remove releases, each in one step for its readers. In one's turn."""
    return _removed(names, lambda name: _remove_release(directory, name))


def _removed(names: Sequence[str], do: Callable[[str], None]) -> Removed:
    problems = {name: _problem(name, do) for name in names}
    return Removed([name for name in names if not problems[name]], [each for each in problems.values() if each])


def _problem(name: str, do: Callable[[str], None]) -> str | None:
    try:
        do(name)
    except OSError as error:
        return f"{name} could not be removed: {describe(error)}"
    return None


def _remove_release(directory: Directory, name: str) -> None:
    trash = directory.path / f"{TRASH_PREFIX}{name}"
    with opened_directory(directory.path / RELEASES) as releases:
        os.rename(name, trash, src_dir_fd=releases)
    remove_tree(trash)


def require_nothing_else(directory: Directory) -> None:
    """Raise `PublishError` where a source's directory holds what no publisher made."""
    made = {LOCK, CURRENT, RELEASES, history.HISTORY, *(path.name for path in directory.leftovers())}
    names = set(os.listdir(directory.path)) - made
    with suppress(FileNotFoundError):
        names |= {f"{RELEASES}/{name}" for name in set(os.listdir(directory.path / RELEASES)) - set(directory.names())}
    if names:
        listed = ", ".join(sorted(names)[:5])
        raise PublishError(
            f"{directory.path} holds what no publisher made ({listed}); look at it, and remove it yourself"
        )


def remove_source(directory: Directory) -> None:
    """Remove a source with all its releases. In one's turn: the lock's file is the last to go.

    :raises PublishError: something could not be removed, or something else is there and all of it stays
    """
    require_nothing_else(directory)
    try:
        if os.path.lexists(directory.link):
            directory.link.unlink()
            sync(f"{directory.path}")
        problems = [*clean(directory).problems, *remove(directory, directory.names()).problems]
        if problems:
            raise PublishError("; ".join(problems))
        for path in (directory.path / RELEASES, history.path(directory), directory.path / LOCK):
            remove_tree(path)
        _remove_empty(directory.path)
    except OSError as error:
        raise PublishError(f"Source '{directory.source}' could not be removed: {describe(error)}") from error


def _remove_empty(path: Path) -> None:
    """Remove a source's directory, unless the next publisher, who found no lock any more, has begun in it."""
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all that is in it, in parallel. What is not there is no error."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        # By open directories, for a link that somebody puts in a directory's place meanwhile leads anywhere.
        for folder, below, names, descriptor in os.fwalk(path, topdown=False, onerror=_raise):
            each(pool, functools.partial(_remove_name, folder, descriptor), [*names, *below])
    path.rmdir()


def _remove_name(folder: str, descriptor: int, name: str) -> None:
    """Remove a file, a link or an empty directory from an open directory. Its path is for the message."""
    try:
        try:
            os.unlink(name, dir_fd=descriptor)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{folder}/{name}") from None


def _raise(error: OSError) -> None:
    raise error
