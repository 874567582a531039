# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Owners, groups and modes as options give them, into the numbers that the system takes."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable
from typing import Any

LAST_NUMBER = 2**32 - 2
"""Of a user or group: both have 32 bits on Linux, and to chown(2) the last of their values means "unchanged"."""


class OwnershipError(Exception):
    """An owner, group or mode that the system cannot take."""


def mode_bits(option: str, value: Any, pattern: re.Pattern[str]) -> int:
    """Return the number that a mode, a string of octal digits, stands for.

    :param value: as YAML gives it, which makes the number 416 of an unquoted 0640
    :param pattern: which strings the option accepts
    :raises OwnershipError: it is no such string
    """
    if not (isinstance(value, str) and pattern.fullmatch(value)):
        raise OwnershipError(
            f'{option} is {value!r}; it must be an octal number in quotes, such as "0755".'
            " Without quotes, YAML reads 0755 as the number 493."
        )
    return int(value, 8)


def user_number(name: str, if_missing: int | None = None) -> int:
    """Return the number of a user, given by name or number; `if_missing`, if given, for a name that is not there.

    :raises OwnershipError: there is no such user, or it is too large a number
    """
    return _number("user", name, lambda: pwd.getpwnam(name).pw_uid, if_missing)


def group_number(name: str, if_missing: int | None = None) -> int:
    """Return the number of a group, as `user_number` does of a user."""
    return _number("group", name, lambda: grp.getgrnam(name).gr_gid, if_missing)


def _number(kind: str, name: str, find: Callable[[], int], if_missing: int | None) -> int:
    if name.isascii() and name.isdigit():
        if len(name) > len(str(LAST_NUMBER)) or int(name) > LAST_NUMBER:
            raise OwnershipError(f"{name} is no number of a {kind}; the largest is {LAST_NUMBER}")
        return int(name)
    try:
        return find()
    except (KeyError, ValueError):  # the latter for what cannot be a name, such as one with a NUL
        if if_missing is None:
            raise OwnershipError(f"there is no {kind} {name} on this host") from None
        return if_missing
