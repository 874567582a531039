# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One run at a time."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError

LOCK_SECONDS = 1800
"""How long to wait for another run that works on the same root or cache: as long as a slow first download may take."""


@contextmanager
def locked(path: Path, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends.

    :raises CoreError: when another process has held it for so long.
    """
    with path.open("w") as stream:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CoreError(
                        f"Another process has held {path} for {seconds:.0f} seconds; end it, then run this again."
                    ) from None
                time.sleep(0.2)
        yield
