# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The directories in which a run stages new files, and how a killed run's is told from one at work."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

STAGE_PREFIX = ".file_set-"
_STAGE_LIFE = 3600.0
"""Seconds after which a stage is a killed run's: none writes and validates some forty small files for an hour."""


def is_stage(path: Path, status: os.stat_result) -> bool:
    """Say whether a path may be another run's, at work or killed, which no pattern of a prune means."""
    return path.name.startswith(STAGE_PREFIX) and (stat.S_ISDIR(status.st_mode) or is_young(status))


def is_young(status: os.stat_result) -> bool:
    return time.time() - status.st_mtime < _STAGE_LIFE
