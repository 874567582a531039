# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a description, in words that a person can act on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

LONGEST_FOUND = 120

NOT_SHOWN = "(not shown)"
"""Stands for a value that may be a secret."""

_CREDENTIALS = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    variable: where it stands, for instance ``airflow_worker_pools[1].queues[0]``.
    found: the value that stands there; None where nothing does.
    right: what would be right, as the end of "... should be".
    """

    variable: str
    found: Any
    right: str

    def __str__(self) -> str:
        return f"{self.variable}: found {_shown(self.found)}; should be {self.right}"


def _shown(found: Any) -> str:
    if found is None:
        return "nothing"
    try:
        text = repr(found)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number without end"
    return shorten(_CREDENTIALS.sub("//***@", text))


def shorten(text: str, limit: int = LONGEST_FOUND) -> str:
    """The text, cut to ``limit`` characters where it is longer."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def report(problems: list[Problem]) -> str:
    """All problems as one numbered message."""
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{number:3}. {problem}" for number, problem in enumerate(problems, start=1)]
    return "\n".join([f"The deployment description has {count}; nothing was changed.", *lines])
