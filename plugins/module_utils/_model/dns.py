# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names that DNS takes, for whatever a platform names by components."""

from __future__ import annotations

import hashlib
import re

LONGEST = 52
"""Characters. A label has 63 (RFC 1123), of which a StatefulSet's controller-revision-hash takes 11."""

HASH = 10
"""Hexadecimal digits of a hash in a name."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def label(name: str) -> str:
    """The same label for the same name, and another one for another name.

    Names of pools and teams have underscores and no hyphens, so that these may stand for them; what still is no label or
    too long for one gets a hash.
    """
    found = name.replace("_", "-")
    if _LABEL.fullmatch(found) and len(found) <= LONGEST:
        return found
    digest = hashlib.sha256(name.encode()).hexdigest()[:HASH]
    return f"{found[: LONGEST - HASH - 1].strip('-')}-{digest}"
