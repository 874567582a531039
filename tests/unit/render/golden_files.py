# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Files as they were rendered when somebody last looked at them whole.

After a wanted change: ``GOLDEN=write pytest tests/unit/render``, and read the diff.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def of(folder: str, made: Mapping[str, str]) -> dict[str, str]:
    """The golden files of a folder, by the path on the host; where that is asked for, what was made becomes them."""
    place = GOLDEN / folder
    if os.environ.get("GOLDEN") == "write":
        shutil.rmtree(place, ignore_errors=True)
        for path, text in made.items():
            file = place / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return {
        f"/{path.relative_to(place)}": path.read_text(encoding="utf-8") for path in place.rglob("*") if path.is_file()
    }
