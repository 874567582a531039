# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What changes from one release to another, for people: lists of paths, and the text of what is small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import read_file
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Changes, Directory, compare
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import Entry

LISTED_FILES = 100
"""Paths of each kind that a result names; the counts are complete."""

DIFF_BYTES = 64 * 1024
DIFF_FILES = 50
"""The largest file, and the number of files, whose text a diff shows."""

DIFF_SIZE = 1 << 20
"""Characters of text after which a diff shows no more of a source: all of it goes through Ansible's one result."""

Read = Callable[[Entry], "bytes | None"]


class Version(NamedTuple):
    """A release, or what would become one: its name (None: there is none), its entries, and how its files are read."""

    name: str | None
    entries: Sequence[Entry]
    read: Read


def released(directory: Directory, name: str | None, entries: Sequence[Entry] | None = None) -> Version:
    """A release as it is on disk.

    :param entries: what its manifest lists, if that is known
    """
    root = directory.release(name) if name else Path()
    listed = [each.entry for each in directory.manifest(name)] if entries is None else entries
    return Version(name, listed, lambda entry: read_file(root / entry.path))


def counted(before: Version, after: Version) -> dict[str, Any]:
    """The numbers and the paths of what changes: {counts, files}."""
    changes = compare(before.entries, after.entries)
    lists = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    return {
        "counts": {**{kind: len(paths) for kind, paths in lists.items()}, "unchanged": changes.unchanged},
        "files": {kind: paths[:LISTED_FILES] for kind, paths in lists.items()},
    }


def unchanged(files: int) -> dict[str, Any]:
    """What `counted` says of a release that is current already."""
    same = {"added": 0, "changed": 0, "removed": 0, "unchanged": files}
    return {"counts": same, "files": {"added": [], "changed": [], "removed": []}}


def differences(source: str, before: Version, after: Version) -> list[dict[str, str]]:
    """A list of the paths that change, and the text of those that are small, as Ansible shows a diff."""
    if before.name == after.name:
        return []
    signs = _signs(compare(before.entries, after.entries))
    lines = [f"source {source}: release {before.name or 'none'} -> {after.name}"]
    lines += [f"{sign} {path}" for sign, path in signs[:LISTED_FILES]]
    lines += [f"... and {len(signs) - LISTED_FILES} more"] if len(signs) > LISTED_FILES else []
    found: list[dict[str, str]] = [{"prepared": "\n".join(lines) + "\n"}]
    old = {entry.path: entry for entry in before.entries}
    new = {entry.path: entry for entry in after.entries}
    shown = 0
    for _sign, path in signs[:DIFF_FILES]:
        texts = _text(old.get(path), before.read), _text(new.get(path), after.read)
        shown += sum(len(text or "") for text in texts)
        if texts[0] is not None and texts[1] is not None and shown <= DIFF_SIZE:
            found.append(
                {
                    "before_header": f"{source}/{before.name}/{path}" if path in old else "/dev/null",
                    "after_header": f"{source}/{after.name}/{path}" if path in new else "/dev/null",
                    "before": texts[0],
                    "after": texts[1],
                }
            )
    return found


def _signs(changes: Changes) -> list[tuple[str, str]]:
    signs = [*(("+", path) for path in changes.added), *(("~", path) for path in changes.changed)]
    return signs + [("-", path) for path in changes.removed]


def _text(entry: Entry | None, read: Read) -> str | None:
    """Return an entry's text, empty where there is no entry, and None for what is too large or no text."""
    if entry is None:
        return ""
    if entry.target is not None:
        return f"-> {entry.target}\n"
    if entry.size > DIFF_BYTES:
        return None
    try:
        data = read(entry)
        return None if data is None or b"\0" in data else data.decode()
    except (OSError, UnicodeDecodeError):
        return None
