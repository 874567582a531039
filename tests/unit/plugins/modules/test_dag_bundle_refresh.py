# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How Airflow is told of releases, with a server that answers in its words and a dag-processor that reads as it does."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags import bundles
from ansible_collections.airstack.backbone.plugins.modules import dag_bundle_refresh
from ansible_collections.airstack.backbone.tests.unit.clock import Clock
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.airflow_api import (
    Airflow,
    Files,
    Processor,
    running,
)

ERROR = 'Traceback (most recent call last):\n  File "{path}", line 1, in <module>\nModuleNotFoundError: no module'


@pytest.fixture(name="airflow")
def small_airflow() -> Iterator[Airflow]:
    with running() as airflow:
        yield airflow


@pytest.fixture(name="clock")
def clock_of_the_module(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(dag_bundle_refresh, "time", clock)
    return clock


@pytest.fixture(name="refresh")
def run_without_pauses(airflow: Airflow, run_module: Any, clock: Clock) -> Callable[..., dict[str, Any]]:
    def refresh(**arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = run_module(
            dag_bundle_refresh.main, **{**airflow.arguments, "bundles": {"etl": "r2"}, "timeout": 20, **arguments}
        )
        return result

    return refresh


def etl(airflow: Airflow, first: Files, second: Files) -> Processor:
    """A bundle of which Airflow has the release r1, while r2 is current."""
    processor = Processor(airflow, "etl", {"r1": first, "r2": second}, "r1")
    processor.current = "r2"
    return processor


def test_a_release_is_announced_until_all_of_it_is_there(airflow: Airflow, refresh: Any) -> None:
    first: Files = {"a.py": ["unpaused"], "b.py": ["b1", "b2"], "c.py": ["c"], "d.py": ["d"]}
    etl(airflow, first, {**first, "new.py": ["new"]})
    result = refresh()
    told = result["bundles"]["etl"]
    assert told.pop("seconds") >= 0
    assert told == {
        "release": "r2",
        "seen": True,
        "was_told": True,
        "dags": ["b1", "b2", "c", "d", "new", "unpaused"],
        "behind": [],
        "former_errors": [],
        "import_errors": [],
    }
    assert (result["is_answering"], result["reason"], result["message"]) == (True, "", "")
    assert not result["changed"]
    assert {dag["fileloc"].split("/")[5] for dag in airflow.dags.values()} == {"r2"}


def test_a_file_that_is_announced_first_is_announced_again(airflow: Airflow, refresh: Any) -> None:
    """The dag-processor reads it from the former release, and stores it as the new one's."""
    processor = etl(airflow, {"a.py": ["unpaused"], "b.py": ["b"]}, {"a.py": ["unpaused"], "b.py": ["b", "added"]})
    processor.tell("b.py")
    processor.step()
    assert airflow.dags["b"]["bundle_version"] == "r2"
    assert "added" not in airflow.dags
    assert refresh()["bundles"]["etl"]["dags"] == ["added", "b", "unpaused"]
    assert "b.py" in airflow.puts


def test_a_paused_dag_is_announced_before_one_that_may_begin_a_run(airflow: Airflow, refresh: Any) -> None:
    files: Files = {"a.py": ["unpaused"], "z.py": ["z"]}
    etl(airflow, files, dict(files))
    refresh(wait=False)
    assert airflow.puts == ["z.py"]


@pytest.mark.parametrize(
    ("second", "dags", "broken"),
    [
        ({"b.py": ["b"]}, ["b"], []),
        ({"a.py": ERROR, "b.py": ["b"]}, ["b"], ["a.py"]),
        ({"a.py": ERROR, "b.py": ERROR}, [], ["a.py", "b.py"]),
        ({"a.py": ["a1"], "b.py": ["b"]}, ["a1", "b"], []),
        ({"a.py": ["renamed"], "b.py": ["b"]}, ["b", "renamed"], []),
        ({"moved.py": ["a1", "a2"], "b.py": ["b"]}, ["a1", "a2", "b"], []),
        ({"readme.py": []}, [], []),
    ],
)
def test_what_a_release_takes_away_is_not_waited_for(
    airflow: Airflow, refresh: Any, second: Files, dags: list[str], broken: list[str]
) -> None:
    etl(airflow, {"a.py": ["a1", "a2"], "b.py": ["b"]}, second)
    told = refresh()["bundles"]["etl"]
    assert told["seen"]
    assert told["dags"] == dags
    assert [error["file"] for error in told["import_errors"]] == broken
    assert all("/etl/releases/r2/" in error["text"] for error in told["import_errors"])


def test_a_file_that_is_repaired_is_announced_though_its_dags_are_stale(airflow: Airflow, refresh: Any) -> None:
    processor = Processor(airflow, "etl", {"r0": {"a.py": ["a"], "b.py": ["b"]}}, "r0")
    processor.releases |= {"r1": {"a.py": ERROR, "b.py": ["b"]}, "r2": {"a.py": ["a"], "b.py": ["b"]}}
    processor.current = "r1"
    assert [error["file"] for error in refresh(bundles={"etl": "r1"})["bundles"]["etl"]["import_errors"]] == ["a.py"]
    processor.current = "r2"
    told = refresh()["bundles"]["etl"]
    assert told["seen"]
    assert (told["dags"], told["import_errors"]) == (["a", "b"], [])


def test_a_bundle_of_which_nothing_could_be_read_is_repaired(airflow: Airflow, refresh: Any) -> None:
    processor = Processor(airflow, "etl", {"r0": {"a.py": ["a"], "b.py": ["b"]}}, "r0")
    processor.releases |= {"r1": {"a.py": ERROR, "b.py": ERROR}, "r2": {"a.py": ["a"], "b.py": ["b"]}}
    processor.current = "r1"
    assert len(refresh(bundles={"etl": "r1"})["bundles"]["etl"]["import_errors"]) == 2
    processor.current = "r2"
    told = refresh()["bundles"]["etl"]
    assert told["seen"]
    assert (told["dags"], told["import_errors"]) == (["a", "b"], [])


def test_a_bundle_whose_dags_are_all_stale_is_announced_through_one_of_them(airflow: Airflow, refresh: Any) -> None:
    processor = Processor(airflow, "etl", {"r0": {"a.py": ["a"]}}, "r0")
    processor.releases |= {"r1": {}, "r2": {"b.py": ["b"]}}
    processor.current = "r1"
    processor.take_up()
    processor.current = "r2"
    told = refresh(dags={"etl": ["b"]})["bundles"]["etl"]
    assert (told["seen"], told["was_told"], told["dags"]) == (True, True, ["b"])


@pytest.mark.parametrize(("is_first", "timeout"), [(False, 20), (True, 4)])
def test_a_release_without_files_is_told_by_what_vanishes(
    airflow: Airflow, refresh: Any, is_first: bool, timeout: int
) -> None:
    """Where Airflow took it up by itself before the first look, nothing is there to vanish."""
    processor = Processor(airflow, "etl", {"r0": {"a.py": ["a"]}, "r1": {"a.py": ERROR}, "r2": {}}, "r0")
    processor.current = "r1"
    assert refresh(bundles={"etl": "r1"})["bundles"]["etl"]["import_errors"]
    processor.current = "r2"
    if is_first:
        processor.take_up()
    told = refresh(timeout=timeout)["bundles"]["etl"]
    assert (processor.taken, told["was_told"], told["seen"]) == ("r2", True, not is_first)
    assert (told["dags"], told["import_errors"]) == ([], [])


def test_a_release_that_airflow_has_already_is_not_announced(airflow: Airflow, refresh: Any) -> None:
    Processor(airflow, "etl", {"r2": {"a.py": ["a"]}}, "r2")
    told = refresh()["bundles"]["etl"]
    assert (told["seen"], told["was_told"]) == (True, False)
    assert airflow.puts == []


def test_bundles_do_not_wait_for_each_other(airflow: Airflow, refresh: Any) -> None:
    etl(airflow, {"a.py": ["a"]}, {"a.py": ["a"]})
    stopped = Processor(airflow, "ml", {"m1": {"m.py": ["m"]}}, "m1")
    stopped.works = False
    result = refresh(bundles={"etl": "r2", "ml": "m2"}, timeout=4)
    assert [(name, told["seen"]) for name, told in result["bundles"].items()] == [("etl", True), ("ml", False)]
    assert result["message"].startswith("ml: Airflow did not take up the release m2 within ")


@pytest.mark.parametrize("required", [False, True])
def test_a_dag_processor_that_does_nothing_is_told_with_where_to_look(
    airflow: Airflow, refresh: Any, required: bool
) -> None:
    etl(airflow, {"a.py": ["a"]}, {"a.py": ["a"]}).works = False
    result = refresh(timeout=0, required=required)
    message = result["msg"] if required else result["message"]
    assert result.get("failed", False) is required
    assert message.startswith(
        "etl: Airflow did not take up the release r2 within 0 s; look at the log of the DAG processor"
    )
    assert "could not be announced" not in message
    assert result["bundles"]["etl"]["behind"] == ["a"]
    assert result["bundles"]["etl"]["seconds"] is None


def test_a_bundle_without_any_dag_cannot_be_announced(airflow: Airflow, refresh: Any) -> None:
    result = refresh(timeout=0)
    assert "could not be announced, since Airflow knows no DAG of the bundle" in result["message"]
    assert (result["bundles"]["etl"]["seen"], result["bundles"]["etl"]["was_told"]) == (False, False)
    assert airflow.puts == []


def test_the_dags_of_a_new_bundle_are_waited_for(airflow: Airflow, refresh: Any, clock: Clock) -> None:
    clock.meanwhile = lambda: Processor(airflow, "etl", {"r2": {"a.py": ["a"]}}, "r2")
    assert refresh(dags={"etl": ["a"]})["bundles"]["etl"]["seen"]


def test_dags_that_are_known_to_come_are_waited_for(airflow: Airflow, refresh: Any) -> None:
    etl(airflow, {"a.py": ["a"]}, {"a.py": ["a"]})
    result = refresh(dags={"etl": ["a", "late"]}, timeout=4)
    assert result["bundles"]["etl"]["behind"] == ["late"]
    assert "Airflow did not parse late of the release r2 within" in result["message"]


def test_a_dag_whose_tasks_are_not_stored_yet_is_behind(airflow: Airflow, refresh: Any) -> None:
    processor = etl(airflow, {"a.py": ["a"]}, {"a.py": ["a"]})
    processor.writes = False
    result = refresh(timeout=4)
    assert airflow.dags["a"]["fileloc"] == "/srv/dags/etl/releases/r2/a.py"
    assert result["bundles"]["etl"]["behind"] == ["a"]
    processor.writes = True
    assert refresh()["bundles"]["etl"]["seen"]


def test_without_waiting_one_look_is_taken(airflow: Airflow, refresh: Any) -> None:
    etl(airflow, {"a.py": ["a"], "b.py": ["b"]}, {"a.py": ["a"], "b.py": ["b"]})
    result = refresh(wait=False)
    told = result["bundles"]["etl"]
    assert (told["seen"], told["was_told"], told["seconds"], result["message"]) == (False, True, None, "")
    assert airflow.puts == ["a.py"]


def test_check_mode_asks_nothing(airflow: Airflow, refresh: Any) -> None:
    result = refresh(check=True)
    assert airflow.asked == []
    assert (result["is_answering"], result["bundles"], result["changed"]) == (False, {}, False)


@pytest.mark.parametrize(("status", "is_answering"), [(409, True), (404, True), (403, False), (500, False)])
def test_a_request_that_is_not_taken(airflow: Airflow, refresh: Any, status: int, is_answering: bool) -> None:
    etl(airflow, {"a.py": ["a"]}, {"a.py": ["a"]})
    airflow.refusals = {"parseDagFile": status}
    result = refresh(wait=False)
    assert result["is_answering"] is is_answering
    assert str(status) in result["reason"] or is_answering
    if is_answering:
        assert result["bundles"]["etl"]["was_told"] is (status == 409)


def test_a_request_that_waits_already_is_as_good(airflow: Airflow, refresh: Any) -> None:
    processor = etl(airflow, {"a.py": ["a"], "b.py": ["b"]}, {"a.py": ["a"], "b.py": ["b"]})
    airflow.busy.add("a.py")
    processor.tell("a.py")
    processor.tell("a.py")
    assert refresh()["bundles"]["etl"]["seen"]


@pytest.mark.parametrize("required", [False, True])
def test_an_api_that_is_not_there_is_not_waited_for(
    airflow: Airflow, refresh: Any, clock: Clock, required: bool
) -> None:
    result = refresh(password="another", required=required)
    assert clock.now == 0
    if required:
        assert "did not answer: http://127.0.0.1" in result["msg"]
    else:
        assert not result["is_answering"]
        assert "refuses the user admin" in result["reason"]
        assert result["bundles"] == {}


def test_an_api_server_that_is_restarted_meanwhile_is_waited_for(airflow: Airflow, refresh: Any, clock: Clock) -> None:
    etl(airflow, {"a.py": ["a"], "b.py": ["b"]}, {"a.py": ["a"], "b.py": ["b"]})
    statuses: Iterator[dict[str, int]] = iter([{"dags": 503}, {"dags": 503}])
    clock.meanwhile = lambda: setattr(airflow, "refusals", next(statuses, {}))
    result = refresh()
    assert next(statuses, None) is None
    assert (result["is_answering"], result["bundles"]["etl"]["seen"]) == (True, True)


def test_an_api_server_that_does_not_come_back_is_told(airflow: Airflow, refresh: Any, clock: Clock) -> None:
    etl(airflow, {"a.py": ["a"]}, {"a.py": ["a"]})
    clock.meanwhile = lambda: setattr(airflow, "refusals", {"dags": 503})
    result = refresh()
    assert not result["is_answering"]
    assert "/api/v2/dags gave 503 Service Unavailable" in result["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bundles": {"etl": None}}, "bundles.etl: the name of a release is needed, found None"),
        ({"bundles": {"etl": 12}}, "bundles.etl: the name of a release is needed, found 12"),
        ({"dags": {"etl": "a"}}, "dags.etl: a list of dag_ids is needed, found 'a'"),
        ({"dags": {"etl": [1]}}, "dags.etl: a list of dag_ids is needed, found [1]"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_arguments_of_another_kind_are_refused(
    refresh: Any, arguments: dict[str, Any], words: str, check: bool
) -> None:
    result = refresh(**arguments, check=check)
    assert result["failed"]
    assert result["msg"] == words


def dag(dag_id: str, *, label: str = "r2", read: str = "r2", file: str = "a.py", parsed: int = 1) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "bundle_version": label,
        "fileloc": f"/srv/releases/dags/etl/releases/{read}/{file}",
        "relative_fileloc": file,
        "last_parsed_time": f"2026-11-26T10:49:{parsed:02}Z",
        "is_paused": True,
        "file_token": f"{file}.signed",
    }


def error(text: str, file: str = "broken.py") -> dict[str, Any]:
    return {"filename": file, "stack_trace": text, "timestamp": "2026-11-26T10:49:30Z"}


@pytest.mark.parametrize(
    ("dags", "errors", "is_taken_up", "behind", "former"),
    [
        ([dag("a")], [], True, (), ()),
        ([dag("a", label="r1", read="r1")], [], False, ("a",), ()),
        ([dag("a", read="r1")], [], True, ("a",), ()),
        ([dag("a", read="r22")], [], True, ("a",), ()),
        ([dag("a"), dag("b", label="r1", read="r1", parsed=0)], [], True, (), ()),
        ([dag("a"), dag("b", read="r1", parsed=0)], [], True, (), ()),
        ([dag("a"), dag("b", label="r1", read="r1", parsed=1)], [], True, ("b",), ()),
        ([dag("a"), dag("b", label="r1", read="r1", parsed=2)], [], True, ("b",), ()),
        ([dag("a"), dag("b", label="r1", read="r1", file="b.py", parsed=0)], [], True, ("b",), ()),
        ([], [error("/srv/dags/etl/releases/r2/broken.py")], True, (), ()),
        ([], [error("/srv/dags/etl/releases/r1/broken.py")], False, (), ("broken.py",)),
        ([], [error("/srv/dags/etl/releases/r1/x.py /srv/dags/etl/releases/r2/y.py")], True, (), ()),
        ([], [error("/opt/airflow/core/releases/r1/lib.py: no such queue")], False, (), ()),
        ([dag("a")], [error("queue ml is not for the source etl")], True, (), ()),
        ([], [], False, (), ()),
    ],
)
def test_how_far_airflow_is(
    dags: list[dict[str, Any]],
    errors: list[dict[str, Any]],
    is_taken_up: bool,
    behind: tuple[str, ...],
    former: tuple[str, ...],
) -> None:
    seen = bundles.standing("etl", "r2", dags, errors)
    assert (seen.is_taken_up, seen.behind, seen.former_errors) == (is_taken_up, behind, former)
    assert seen.is_seen is (is_taken_up and not behind and not former)


def test_the_microseconds_that_a_time_lacks_do_not_make_it_later() -> None:
    other = {**dag("b", read="r1"), "last_parsed_time": "2026-11-26T10:49:01.900001Z"}
    assert bundles.standing("etl", "r2", [dag("a", parsed=1), other], []).behind == ("b",)


def test_files_are_announced_again_when_they_were_parsed_or_after_a_while() -> None:
    dags = [dag("a", read="r1", parsed=7), dag("b", label="r1", read="r1", file="b.py", parsed=7)]
    seen = bundles.standing("etl", "r2", dags, [])

    def due(*told: tuple[str, float, int]) -> list[str]:
        known = {token: bundles.Told(at, f"2026-11-26T10:49:{parsed:02}Z") for token, at, parsed in told}
        return list(bundles.to_tell(seen, "r2", dags, [], known, 100.0))

    assert due() == ["b.py.signed", "a.py.signed"]
    assert due(("a.py.signed", 99.0, 7)) == ["b.py.signed"]
    assert due(("a.py.signed", 99.0, 6)) == ["b.py.signed", "a.py.signed"]
    assert due(("a.py.signed", 99.0, 7), ("b.py.signed", 94.9, 7)) == ["b.py.signed"]


def test_a_file_that_could_not_be_read_was_parsed_at_the_time_of_its_error() -> None:
    dags = [dag("a", label="r1", read="r1", file="broken.py", parsed=1)]
    errors = [error("/srv/dags/etl/releases/r1/broken.py")]
    told = {"broken.py.signed": bundles.Told(99.0, errors[0]["timestamp"])}
    seen = bundles.standing("etl", "r2", dags, errors)
    assert not bundles.to_tell(seen, "r2", dags, errors, told, 100.0)
    errors[0]["timestamp"] = "2026-11-26T10:50:00Z"
    assert list(bundles.to_tell(seen, "r2", dags, errors, told, 100.0)) == ["broken.py.signed"]


@pytest.mark.parametrize("waiting", [0, 1, bundles.WAITING - 1, bundles.WAITING, bundles.WAITING + 5])
def test_only_so_many_announced_files_wait_at_once(waiting: int) -> None:
    dags = [dag(f"d{number:03}", label="r1", read="r1", file=f"{number:03}.py") for number in range(120)]
    dags.append(dag("misread", read="r1", file="misread.py"))
    told = {each["file_token"]: bundles.Told(99.0, each["last_parsed_time"]) for each in dags[:waiting]}
    due = list(bundles.to_tell(bundles.standing("etl", "r2", dags, []), "r2", dags, [], told, 100.0))
    assert len(due) == max(0, bundles.WAITING - waiting)
    assert not due or due[-1] == "misread.py.signed"
    assert not set(due) & set(told)


def test_a_message_names_some_of_many() -> None:
    dags = [dag(f"d{number}", label="r1", read="r1", file=f"{number}.py") for number in range(7)]
    seen = bundles.standing("etl", "r2", [*dags, dag("a")], [])
    said = bundles.explain("etl", "r2", seen, was_told=True, seconds=60.0)
    assert said.startswith("etl: Airflow did not parse d0, d1, d2, d3, d4 and 2 more of the release r2 within 60 s; ")


IDS = [f"dag{number}" for number in range(6)]
FILES = ["a.py", "b.py", "c.py"]


@st.composite
def releases(draw: st.DrawFn) -> Files:
    """Each DAG in one of the files or in none, and some files broken."""
    places = {dag_id: draw(st.sampled_from([*FILES, None])) for dag_id in IDS}
    made: Files = {}
    for file in draw(st.sets(st.sampled_from(FILES))):
        broken = draw(st.integers(0, 4)) == 0
        made[file] = ERROR if broken else [dag_id for dag_id, place in places.items() if place == file]
    return made


@settings(max_examples=60, deadline=None)
@given(st.lists(releases(), min_size=2, max_size=5), st.data())
def test_what_is_seen_is_what_the_release_says(history: list[Files], data: st.DataObject) -> None:
    """Releases one after the other, and back to former ones: no DAG that was read from another one is taken for seen."""
    names = [f"r{number}" for number in range(len(history))]
    order = [*names[1:], data.draw(st.sampled_from(names))]
    context = ssl.create_default_context()
    with running() as airflow, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag_bundle_refresh, "POLL_SECONDS", 0.0)
        processor = Processor(airflow, "etl", dict(zip(names, history)), names[0])
        processor.idle = 5
        for name in order:
            processor.current = name
            files = processor.releases[name]
            defined = sorted(dag_id for dag_ids in files.values() if isinstance(dag_ids, list) for dag_id in dag_ids)
            announced = dag_bundle_refresh.Announced("etl", name, defined)
            # Nothing tells of a release in which there is nothing, where the first look finds nothing of a former one:
            # there was nothing, or Airflow took the release up by itself before that look, or between its two answers
            had = not all(dag["is_stale"] for dag in airflow.dags.values())
            dag_bundle_refresh.announce({**airflow.arguments, "wait": False}, context, [announced])
            is_shown = bool(had or announced.report()["import_errors"] or any(files.values()))
            # nor does anything of one whose files define nothing, while DAGs of a former one stand as those of these files
            tells = any(files.values()) or not files
            wanted = {**airflow.arguments, "wait": True, "timeout": 20 if is_shown and tells else 0}
            dag_bundle_refresh.announce(wanted, context, [announced])
            report = announced.report()
            assert report["seen"] is is_shown or not tells, report
            if is_shown and tells:
                assert report["dags"] == defined
                assert all(f"/etl/releases/{name}/" in airflow.dags[dag_id]["fileloc"] for dag_id in defined)


def test_an_error_after_the_announcement_is_of_the_release_where_nothing_else_tells() -> None:
    nameless = [error("KeyError: 'VARIABLE'"), error("File /srv/dags/etl/releases/r1/old.py", "old.py")]

    def seen(fresh: set[str]) -> bundles.Standing:
        return bundles.standing("etl", "r2", [], nameless[:1], fresh=fresh)

    assert (seen(set()).is_taken_up, seen({"broken.py"}).is_seen) == (False, True)
    assert not bundles.standing("etl", "r2", [], nameless[1:], fresh={"old.py"}).is_taken_up
    assert bundles.broken("etl", "r2", seen({"broken.py"})) == (
        "etl: Airflow has the release r2, and cannot import\n  broken.py: KeyError: 'VARIABLE'"
    )
    assert bundles.broken("etl", "r2", bundles.standing("etl", "r2", [dag("a")], [])) == ""
