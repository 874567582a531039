# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a rollback goes back to, what pruning leaves, and what an inspection finds."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags import (
    history,
    inspection,
    jobs,
    pruning,
    releases,
    staging,
    switching,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes
from ansible_collections.airstack.backbone.plugins.module_utils._dags.history import PUBLISHED, ROLLED_BACK, Event
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before, Content, Revision
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError
from ansible_collections.airstack.backbone.plugins.module_utils._dags.seen import LOOKS, Seen, look
from ansible_collections.airstack.backbone.tests.unit.dags import publisher
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Link, Tree, make

MINE = Attributes(os.geteuid(), os.getegid())
DAY = datetime.datetime(2026, 11, 26, tzinfo=datetime.timezone.utc)


def events(*names: str) -> list[Event]:
    """One event a minute; a name with < before it is rolled back to."""
    return [
        Event(
            name.lstrip("<"),
            ROLLED_BACK if name.startswith("<") else PUBLISHED,
            (DAY + datetime.timedelta(minutes=at)).isoformat(),
            "me@here",
        )
        for at, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("names", "current", "trail"),
    [
        ([], None, []),
        ([], "a", ["a"]),
        (["a"], "a", ["a"]),
        (["a", "b", "c"], "c", ["a", "b", "c"]),
        (["a", "b", "a"], "a", ["a", "b", "a"]),
        (["a", "b", "<a"], "a", ["a"]),
        (["a", "b", "c", "<b", "<a"], "a", ["a"]),
        (["a", "b", "c", "<b", "d"], "d", ["a", "b", "d"]),
        (["a", "b", "<x"], "x", ["a", "b", "x"]),
        # Killed between the history and the link, in both directions
        (["a", "b"], "a", ["a"]),
        (["a"], "b", ["a", "b"]),
        (["a", "b", "<a"], "b", ["a", "b"]),
    ],
)
def test_the_trail_that_led_here(names: list[str], current: str | None, trail: list[str]) -> None:
    assert history.trail(events(*names), current) == trail


@given(
    st.lists(st.sampled_from(["a", "b", "c", "<a", "<b", "<c"]), max_size=12), st.sampled_from(["a", "b", "c", None])
)
def test_a_trail_ends_where_we_are_and_each_step_back_shortens_it(names: list[str], current: str | None) -> None:
    noted = events(*names)
    trail = history.trail(noted, current)
    if current is not None:
        assert trail[-1] == current
    seen = 0
    while (earlier := history.before(noted, current, {"a", "b", "c"})) is not None:
        noted = history.following(noted, Event(earlier, ROLLED_BACK, DAY.isoformat(), "me@here"), current)
        current, seen = earlier, seen + 1
        assert seen < len(trail)


def job(storage: Path, **options: Any) -> jobs.Job:
    return jobs.Job(Directory(storage, "etl"), MINE, "me@here", **options)


def publish(storage: Path, tree: Tree, **options: Any) -> str:
    source = storage.parent / f"source-{len(list(storage.parent.iterdir()))}"
    return str(publisher.publish(job(storage, **options), make(source, tree))["release"])


def roll_back(storage: Path, release: str | None = None, **options: Any) -> dict[str, Any]:
    back = job(storage, **options)
    return switching.switch(back, staging.earlier(back, release), ROLLED_BACK)


def test_two_rollbacks_go_two_steps_back_and_a_publish_begins_anew(storage: Path) -> None:
    first, second, third = (publish(storage, {"a.py": data}) for data in (b"1", b"2", b"3"))
    assert (roll_back(storage)["release"], roll_back(storage)["release"]) == (second, first)
    with pytest.raises(PublishError, match=f"no release to go back to: {first} is current"):
        roll_back(storage)
    assert publish(storage, {"a.py": b"3"}) == third
    back = roll_back(storage)
    assert (back["changed"], back["previous"], back["release"], back["files"]["changed"]) == (
        True,
        third,
        first,
        ["a.py"],
    )
    assert [each.action for each in history.read(Directory(storage, "etl"))][-3:] == [
        ROLLED_BACK,
        PUBLISHED,
        ROLLED_BACK,
    ]


def test_a_rollback_to_a_release_by_name_is_done_once(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    publish(storage, {"a.py": b"2"})
    publish(storage, {"a.py": b"3"})
    assert roll_back(storage, first, is_check=True)["changed"] is True
    assert [roll_back(storage, first)["changed"] for _again in range(2)] == [True, False]
    with pytest.raises(PublishError, match=f"it has no release gone; there are .*{first}"):
        roll_back(storage, "gone")
    with pytest.raises(PublishError, match="it has no release"):
        roll_back(storage, "..")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '[{"release": "x"}]',
        "[]",
        "null",
        '[{"release":"a","action":"b","at":"c","by":"d"}]',
        '[{"release":"a","action":"b","at":"2026-11-26T10:00:00","by":"d"}]',
    ],
)
def test_a_history_that_cannot_be_read_does_no_harm(storage: Path, text: str) -> None:
    first = publish(storage, {"a.py": b"1"})
    (storage / "etl/.history").write_text(text, encoding="utf-8")
    publish(storage, {"a.py": b"2"}, retention=pruning.Retention(keep=1, minimum_age=600))
    assert roll_back(storage)["release"] == first


def test_the_history_says_what_the_current_release_was_made_of(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1", "b.py": b"2"})
    publish(storage, {"a.py": b"2"})
    roll_back(storage)
    directory = Directory(storage, "etl")
    with ThreadPoolExecutor(LOOKS) as pool:
        seen = look(pool, directory)()
    metadata = directory.metadata(first) or {}
    assert seen.current == first
    assert seen.made == {key: metadata[key] for key in ("tree", "files", "origin")}
    assert Seen("gone", seen.names, seen.events, []).made == {}
    assert seen._replace(names=[]).made == {}
    assert seen._replace(events=[seen.events[-1]._replace(made=None)]).made == {}


class Numbered:
    """A directory whose content a number names, and which counts how often it is read."""

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number, self.opened = path, number, 0

    def revision(self) -> Revision:
        return {"number": self.number}

    def open(self, before: Before) -> AbstractContextManager[Content]:
        self.opened += 1
        return DirectoryOrigin(self.path).open(before)


def test_what_is_current_already_is_not_read_again_unless_it_is_gone(storage: Path) -> None:
    origin = Numbered(make(storage.parent / "etl", {"a.py": b"1"}), 1)

    def again() -> tuple[dict[str, Any], int]:
        mine = job(storage)
        return switching.switch(mine, staging.stage(mine, origin)), origin.opened

    made, opened = again()
    assert (made["changed"], opened) == (True, 1)
    same, opened = again()
    assert (same["changed"], same["counts"]["unchanged"], opened) == (False, 1, 1)
    assert {key: same[key] for key in ("release", "tree", "directory")} == {
        key: made[key] for key in ("release", "tree", "directory")
    }
    pruning.remove_tree(Directory(storage, "etl").release(made["release"]))
    assert (again()[0]["release"], origin.opened) == (made["release"], 2)
    assert (Path(made["directory"]) / "a.py").read_bytes() == b"1"


def test_what_is_to_be_pruned_goes_also_where_nothing_is_new(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    publish(storage, {"a.py": b"2"})
    origin = Numbered(make(storage.parent / "etl", {"a.py": b"3"}), 1)
    retention = pruning.Retention(keep=1, minimum_age=150)
    for pruned in ([], [first]):
        mine = job(storage, retention=retention)
        assert switching.switch(mine, staging.stage(mine, origin))["pruned"][:1] == pruned
        age(storage, 10)


def test_what_a_killed_publisher_did_not_note_is_made_of_what_nobody_knows(storage: Path) -> None:
    noted = [Event("r1", PUBLISHED, DAY.isoformat(), "me@here", {"tree": "t", "files": 1, "origin": None})]
    after = history.following(noted, Event("r3", PUBLISHED, DAY.isoformat(), "me@here", {"tree": "u"}), "r2")
    assert [(each.release, each.made) for each in after[1:]] == [("r2", None), ("r3", {"tree": "u"})]


def age(storage: Path, minutes: int) -> None:
    """Let every event have been that much earlier."""
    path = storage / "etl/.history"
    found = history.read(Directory(storage, "etl"))
    earlier = datetime.timedelta(minutes=minutes)
    older = [each._replace(at=(datetime.datetime.fromisoformat(each.at) - earlier).isoformat()) for each in found]
    path.write_text(json.dumps([each._asdict() for each in older]), encoding="utf-8")


def kept(storage: Path) -> set[str]:
    return set(Directory(storage, "etl").names())


def test_what_is_old_and_unused_goes_and_nothing_else(storage: Path) -> None:
    names = []
    for number in range(6):
        names.append(publish(storage, {"a.py": b"%d" % number}))
        age(storage, 1)
    assert Directory(storage, "etl").current() == names[5]
    retention = pruning.Retention(keep=2, minimum_age=150, in_use=[names[1]])
    said = publisher.publish(
        job(storage, retention=retention, is_check=True), make(storage.parent / "same", {"a.py": b"5"})
    )
    # Ceased to be current 5, 4, 3, 2 and 1 minutes ago: two stay, one is in use, one is too young
    assert (said["changed"], said["pruned"]) == (True, [names[0], names[2]])
    assert kept(storage) == set(names)
    done = publisher.publish(job(storage, retention=retention), storage.parent / "same")
    assert (done["changed"], done["pruned"], kept(storage)) == (True, said["pruned"], {names[1], *names[3:]})
    again = publisher.publish(job(storage, retention=retention), storage.parent / "same")
    assert (again["changed"], again["pruned"]) == (False, [])
    assert roll_back(storage)["release"] == names[4]


def test_the_current_release_stays_whatever_its_age(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    publish(storage, {"a.py": b"2"})
    roll_back(storage, first)
    age(storage, 100)
    none = pruning.Retention(keep=0, minimum_age=-1)
    assert publisher.publish(job(storage, retention=none), make(storage.parent / "same", {"a.py": b"1"}))["pruned"]
    assert kept(storage) == {first}


def test_a_source_goes_with_all_its_releases_but_not_from_under_a_run(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    with pytest.raises(PublishError, match=f"unfinished DAG runs use its releases {first}"):
        switching.remove(job(storage), [first, "gone"])
    (storage / "etl/notes.txt").write_text("mine")
    with pytest.raises(PublishError, match=r"holds what no publisher made \(notes\.txt\)"):
        switching.remove(job(storage))
    (storage / "etl/notes.txt").unlink()
    publish(storage, {"a.py": b"1", "deep/b.py": b"2", "l": Link("a.py")})
    (storage / "etl/.staging-left/x").mkdir(parents=True)
    assert switching.remove(job(storage, is_check=True))["changed"] is True
    assert switching.remove(job(storage))["changed"] is True
    assert not (storage / "etl").exists()
    assert switching.remove(job(storage))["changed"] is False


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("echo more >>a.py", "a.py has another content"),
        ("rm deep/b.py", "deep/b.py is gone"),
        ("rm -r deep", "deep/b.py is gone"),
        ("chmod 755 a.py", "a.py has another mode"),
        ("ln -sf elsewhere l", "l is another link"),
        ("rm l && echo >l", "l is another link|l cannot be read: Invalid argument"),
        ("rm a.py && ln -s deep/b.py a.py", "a.py is no file any more"),
        ("touch new", "new was added"),
        ("ln -s /etc way", "way was added"),
        ("echo {} >.release.manifest", "its manifest is missing or cannot be read"),
        ("rm .release.json", "it has no .release.json"),
        ('echo \'{"tree": "0"}\' >.release.json', "its manifest is not of the tree"),
        ("echo '{' >.release.json", "cannot be read"),
        ("mv ../$PWD_NAME ../0000000000000000", "its name is not that of its tree"),
    ],
)
def test_damage_is_found_and_named(storage: Path, damage: str, problem: str) -> None:
    name = publish(storage, {"a.py": b"a", "deep/b.py": b"b", "l": Link("a.py")})
    directory = Directory(storage, "etl")
    assert inspection.inspect(directory, verify=True)["problems"] == []
    environment = {**os.environ, "PWD_NAME": name}
    subprocess.run(["sh", "-c", damage], cwd=directory.release(name), env=environment, check=True)
    found = inspection.inspect(directory, verify=True)
    assert any(re.search(problem, each) for each in found["problems"]), found["problems"]


def test_an_inspection_tells_releases_and_who_made_them_current(storage: Path) -> None:
    first, second = publish(storage, {"a.py": b"1"}), publish(storage, {"a.py": b"2"})
    found = inspection.inspect(Directory(storage, "etl"), verify=False)
    assert (found["current"], found["previous"]) == (second, first)
    assert {each["release"]: each["is_current"] for each in found["releases"]} == {first: False, second: True}
    assert [(each["release"], each["by"]) for each in found["history"]] == [(first, "me@here"), (second, "me@here")]
    assert inspection.inspect(Directory(storage, "ml"), verify=True)["releases"] == []


def test_a_rollback_does_not_take_what_never_was_current(storage: Path) -> None:
    """As what a gate refused; by its version it can be had nevertheless."""
    first = publish(storage, {"a.py": b"1"})
    refused = staging.stage(job(storage), DirectoryOrigin(make(storage.parent / "refused", {"a.py": b"bad"}))).name
    second = publish(storage, {"a.py": b"2"})
    with pytest.raises(PublishError, match=f"{refused} was never the current one.* still there: {first}\\. To have it"):
        roll_back(storage, refused)
    assert roll_back(storage, second)["changed"] is False
    assert roll_back(storage, first)["changed"] is True
    assert switching.switch(job(storage), staging.named(job(storage), refused))["changed"] is True


def test_what_never_was_current_takes_no_place_of_what_was(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    publish(storage, {"a.py": b"2"})
    for data in (b"x", b"y"):
        staging.stage(job(storage), DirectoryOrigin(make(storage.parent / data.decode(), {"a.py": data})))
    retention = pruning.Retention(keep=2, minimum_age=-1)
    publisher.publish(job(storage, retention=retention), make(storage.parent / "same", {"a.py": b"2"}))
    assert kept(storage) == {first, Directory(storage, "etl").current()}


def test_a_rollback_wants_the_storage(storage: Path) -> None:
    first = publish(storage, {"a.py": b"1"})
    publish(storage, {"a.py": b"2"})
    (storage / releases.SENTINEL).unlink()
    for name in (None, first):
        with pytest.raises(PublishError, match="is not a DAG storage"):
            roll_back(storage, name)
