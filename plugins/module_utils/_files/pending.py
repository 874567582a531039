# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The file of labels that are still to be acted on."""

from __future__ import annotations

from pathlib import Path


def read_pending(path: Path) -> frozenset[str]:
    """Read the labels, one on each line.

    :raises OSError: when the file is there and cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    return frozenset(filter(None, text.split("\n")))
