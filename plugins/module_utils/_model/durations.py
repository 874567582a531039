# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durations as people write them: ``90s``, ``30m``, ``8h``, ``2d``."""

from __future__ import annotations

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 365 * SECONDS["d"]
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def parse(text: str) -> int | None:
    """Seconds of a duration such as ``8h``; None where the text is no duration of 1 s to 365 days."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = int(match.group(1)) * SECONDS[match.group(2)]
    return seconds if 0 < seconds <= LONGEST else None


def spell(seconds: int) -> str:
    """The shortest way to write a number of seconds: 5400 is ``90m``, 28800 is ``8h``."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % SECONDS[unit] == 0)
    return f"{seconds // SECONDS[unit]}{unit}"
