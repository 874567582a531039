# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/performance.md, and other pages with figures: a benchmark owns a section, between two markers, and rewrites it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    listed = [[str(cell) for cell in row] for row in rows]
    align = ["---:" if all(_is_number(row[at]) for row in listed) else "---" for at in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, align, *listed])


def write(section: str, command: str, text: str, page: Path = PAGE) -> None:
    """Put the text, below the command that gave it, into the section of the page."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    machine = f"`{command}`, on {os.cpu_count()} cores."
    block = f"{begin}\n{machine}\n\n{text.strip()}\n{end}"
    content = page.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(content):
        raise SystemExit(f"{page.relative_to(ROOT)} has no section {section}: add its two markers")
    page.write_text(pattern.sub(lambda _match: block, content), encoding="utf-8")
    print(text)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+", cell) is not None
