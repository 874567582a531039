# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A clock for code that waits, so that no test waits and none depends on how fast its machine is."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """What a module has of `time`: it passes in the module's own pauses alone, and what comes meanwhile comes then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()
