# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which release of a source was the current one when, and who made it so. Tells what a rollback goes back to.

The link `current` is the truth: what a publisher that was killed did not write down is seen from it.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, read_file, write_text
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import STAGING_PREFIX, Directory

HISTORY = ".history"
LENGTH = 100
"""Events that are kept; there are never as many releases."""

PUBLISHED = "published"
ROLLED_BACK = "rolled_back"


class Event(NamedTuple):
    """A release became the current one.

    action: PUBLISHED or ROLLED_BACK. at: when, in UTC, as ISO 8601 has it with seconds. by: user@host of the publisher.
    made: `tree`, `files` and `origin` of the release, so that who finds it current need not open it; None where they
    are not known.
    """

    release: str
    action: str
    at: str
    by: str
    made: dict[str, Any] | None = None


def now() -> datetime.datetime:
    """The time as events have it."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def read(directory: Directory) -> list[Event]:
    """Return the events, oldest first; none where they cannot be read, since nothing but comfort depends on them."""
    try:
        found = json.loads(read_file(directory.path / HISTORY))
        return [_event(each) for each in found]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _event(fields: dict[str, Any]) -> Event:
    release, action, at, by = (str(fields[name]) for name in ("release", "action", "at", "by"))
    event = Event(release, action, at, by)
    if datetime.datetime.fromisoformat(event.at).tzinfo is None:
        raise ValueError(f"{event.at} is a time of no zone")
    made = fields.get("made")
    return event._replace(made=dict(made)) if made else event


def note(directory: Directory, event: Event, attributes: Attributes) -> None:
    """Add what is going to happen now. In one's turn."""
    events = following(read(directory), event, directory.current())
    text = "[\n" + ",\n".join(json.dumps(each._asdict()) for each in events[-LENGTH:]) + "\n]\n"
    aside = directory.path / f"{STAGING_PREFIX}history"
    with suppress(FileNotFoundError):
        aside.unlink()
    write_text(aside, text, attributes)
    os.replace(aside, directory.path / HISTORY)


def following(events: Sequence[Event], event: Event, current: str | None) -> list[Event]:
    """Return the events with one more. What was written down and did not happen is taken back before."""
    if current is not None and trail(events, None)[-1:] != [current]:
        return [*events, event._replace(release=current, action=ROLLED_BACK, made=None), event]
    return [*events, event]


def trail(events: Sequence[Event], current: str | None) -> list[str]:
    """Return the releases that led to the current one, which is the last: what a rollback left is not among them."""
    found: list[str] = []
    for event in events:
        if event.action == ROLLED_BACK and event.release in found[:-1]:
            _cut(found, event.release)
        elif found[-1:] != [event.release]:
            found.append(event.release)
    if current is not None and found[-1:] != [current]:
        if current in found:
            _cut(found, current)
        else:
            found.append(current)
    return found


def _cut(found: list[str], release: str) -> None:
    """End the list with the last time that a release is in it, its present end apart."""
    last = max(at for at, name in enumerate(found[:-1]) if name == release)
    del found[last + 1 :]


def before(events: Sequence[Event], current: str | None, there: Collection[str]) -> str | None:
    """Return the release that was current before the one that is now, of those that are there still."""
    found = trail(events, current)
    return next((name for name in reversed(found[:-1]) if name != current and name in there), None)


def last_current(events: Sequence[Event], release: str) -> datetime.datetime | None:
    """Return when a release ceased to be the current one for the last time; None where no event tells."""
    ends = [
        following.at for event, following in zip(events, events[1:]) if release == event.release != following.release
    ]
    return datetime.datetime.fromisoformat(ends[-1]) if ends else None


def path(directory: Directory) -> Path:
    return directory.path / HISTORY
