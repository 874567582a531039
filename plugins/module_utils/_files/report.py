# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What changes, for people to read."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._files.difference import (
    Changes,
    DirectoryChange,
    FileChange,
)
from ansible_collections.airstack.backbone.plugins.module_utils._files.ownership import Ownership


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
