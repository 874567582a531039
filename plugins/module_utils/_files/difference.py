# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What has to change until a host holds what is wanted."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._files.ownership import Ownership
from ansible_collections.airstack.backbone.plugins.module_utils._files.wanted import WantedDirectory, WantedFile

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


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
