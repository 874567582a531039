# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Why the core cannot be installed."""

from __future__ import annotations


class CoreError(Exception):
    """The core cannot be installed; the text says what was asked, what was found and what to do."""


def reason(error: OSError) -> str:
    """What the system says of an error; one that Python raises itself has its text elsewhere."""
    return str(error.strerror or (error.args[0] if error.args else type(error).__name__))
