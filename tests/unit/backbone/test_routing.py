# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which queue a task goes to, and which DAG is refused."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_backbone.routing import QueueRefused, Routing, RoutingError, RoutingFile

DATA: dict[str, Any] = {
    "mode": "enforce",
    "storage": "/srv/dags",
    "sources": {
        "etl": {"queues": ["etl", "etl_highmem"], "default_queue": "etl"},
        "ml": {"queues": ["ml", "shared"], "default_queue": "ml"},
    },
}
ETL = "/srv/dags/etl/releases/1/deep/dag.py"


def routing(**changes: Any) -> Routing:
    return Routing.parse({**DATA, **changes})


@pytest.mark.parametrize("mode", ["enforce", "assign"])
def test_a_task_that_names_no_queue_gets_its_sources_default(mode: str) -> None:
    queues = {"a": "default", "b": "etl_highmem", "c": "etl", "group.d": "default"}
    assert routing(mode=mode).assign("d", ETL, queues, "default") == {"a": "etl", "group.d": "etl"}


def test_a_queue_that_is_called_like_the_unset_one_needs_no_change() -> None:
    sources = {"etl": {"queues": ["default"], "default_queue": "default"}}
    assert routing(sources=sources).assign("d", ETL, {"a": "default"}, "default") == {}


def test_all_foreign_queues_are_refused_at_once_by_name() -> None:
    queues = {"fine": "default", "a": "ml", "g.b": "nowhere"}
    with pytest.raises(QueueRefused) as refused:
        routing().assign("d", ETL, queues, "default")
    assert str(refused.value) == (
        "DAG 'd' of source 'etl' names a queue that this source may not use: task 'a' names 'ml', task 'g.b' names"
        " 'nowhere'. Allowed: etl, etl_highmem."
    )
    assert routing(mode="assign").assign("d", ETL, queues, "default") == {"fine": "etl"}


@pytest.mark.parametrize(
    "fileloc",
    ["/srv/dags/other/releases/1/d.py", "/srv/dags", "/srv/dags2/etl/d.py", "/opt/core/example.py", "d.py", ""],
)
def test_a_dag_of_no_source_is_refused(fileloc: str) -> None:
    with pytest.raises(
        QueueRefused, match=r"belongs to no DAG source of this platform \(sources in /srv/dags: etl, ml\)"
    ):
        routing().assign("d", fileloc, {"a": "etl"}, "default")
    assert routing(mode="assign").assign("d", fileloc, {"a": "default"}, "default") == {}


def test_the_source_of_a_file_is_the_directory_that_it_lies_in() -> None:
    assert [
        source and source.name
        for source in map(routing().source_of, [ETL, "/srv/dags/ml/dag.py", "/srv/dags/other/dag.py", "/srv/dags", "x"])
    ] == ["etl", "ml", None, None, None]


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["default", "etl", "etl_highmem", "ml", "x"])))
def test_whatever_tasks_name_they_end_up_on_their_sources_queues(queues: dict[str, str]) -> None:
    try:
        changed = routing().assign("d", ETL, queues, "default")
    except QueueRefused:
        assert set(queues.values()) - {"default", "etl", "etl_highmem"}
    else:
        assert set({**queues, **changed}.values()) <= {"etl", "etl_highmem"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING, st.sampled_from(["", "mode", "storage", "sources"]))
def test_no_content_ends_in_a_traceback(anything: Any, where: str) -> None:
    with contextlib.suppress(RoutingError):
        Routing.parse({**DATA, where: anything} if where else anything)


class TestRoutingFile:
    def test_it_is_read_again_only_when_it_changed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "routing.json"
        path.write_text(json.dumps(DATA), encoding="utf-8")
        file = RoutingFile(path)
        first = file.read()
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_text", None)
            assert file.read() is first

        path.write_text(json.dumps({**DATA, "mode": "assign"}), encoding="utf-8")
        assert file.read().mode == "assign"

        # Replaced by one of the same size and time
        new = tmp_path / "new"
        new.write_text(json.dumps({**DATA, "storage": "/srv/sgad"}), encoding="utf-8")
        path.write_text(json.dumps(DATA), encoding="utf-8")
        file.read()
        status = path.stat()
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert new.stat().st_size == status.st_size
        new.replace(path)
        assert str(file.read().storage) == "/srv/sgad"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "cannot be read: No such file or directory"),
            ("", "is wrong: Expecting value"),
            ("\xff", "is wrong: "),
            ("{}", "is wrong: it lacks mode"),
            ('{"mode": "none", "storage": "/x", "sources": {}}', "is wrong: mode is 'none'"),
            ('{"mode": "assign", "storage": "x", "sources": {}}', "is wrong: storage is 'x'"),
            ('{"mode": "assign", "storage": "/x", "sources": []}', "is wrong: it lacks"),
        ],
    )
    def test_nothing_is_routed_by_guesswork(self, tmp_path: Path, content: str | None, reason: str) -> None:
        path = tmp_path / "routing.json"
        if content is not None:
            path.write_text(content, encoding="latin-1")
        file = RoutingFile(path)
        for _time in range(2):
            with pytest.raises(RoutingError, match=rf"The routing file {path} {reason}"):
                file.read()
        path.write_text(json.dumps(DATA), encoding="utf-8")
        assert file.read().mode == "enforce"
        path.unlink()
        with pytest.raises(RoutingError):
            file.read()
