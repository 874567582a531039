# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands in the way of a set of files."""

from __future__ import annotations

from collections.abc import Iterable


class FileSetError(Exception):
    """The set cannot be written; `problems` says everything that stands in its way."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
