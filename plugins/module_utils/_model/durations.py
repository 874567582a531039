# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durations as people write them: ``90s``, ``30m``, ``8h``, ``1d12h``."""

from __future__ import annotations

import re

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
LONGEST = 365 * SECONDS["d"]
_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in SECONDS), re.ASCII)


def parse(text: str) -> int | None:
    """Seconds of a duration such as ``8h``; None where the text is no duration of 1 s to 365 days."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = sum(int(count or 0) * size for count, size in zip(match.groups(), SECONDS.values()))
    return seconds if 0 < seconds <= LONGEST else None


def spell(seconds: int) -> str:
    """The way to write a number of seconds that ``parse`` reads: 5400 is ``1h30m``."""
    parts = []
    for unit, size in SECONDS.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
