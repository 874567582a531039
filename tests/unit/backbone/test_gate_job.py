# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the gate is asked, and how it refuses what it cannot be asked."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_backbone import gate
from airflow_backbone.gate_job import GateError, Job, Source
from ansible_collections.airstack.backbone.plugins.module_utils._model import settings

ROUTING = {
    "mode": "enforce",
    "storage": "/srv/dags",
    "sources": {"etl": {"queues": ["etl", "big"], "default_queue": "etl"}, "..": {"queues": [], "default_queue": ""}},
}
DATA: dict[str, Any] = {"routing": ROUTING, "sources": [{"name": "etl", "path": "/"}]}


def options(*arguments: str) -> Job:
    return Job.of_options(gate.parse_arguments([*arguments]))


def test_what_is_left_out_has_a_default() -> None:
    job = Job.parse({**DATA, "pools": None, "timeout": None, "jobs": None, "user": None, "settings": None})
    assert job.sources == (Source("etl", Path("/"), 30.0),)
    assert (job.known_pools, job.timeout, job.dags_elsewhere, job.settings, job.user) == (None, 300.0, {}, {}, None)
    assert job.jobs >= 1


def test_what_is_given_is_taken() -> None:
    data = {
        **DATA,
        "sources": [{"name": "etl", "path": "/tmp", "parse_budget": 5, "foreign_pools": ["small"]}],
        "dags_elsewhere": {"d": "ml"},
        "pools": ["small"],
        "settings": {"core": {"default_timezone": "utc"}},
        "timeout": 60,
        "jobs": 3,
        "user": "nobody",
    }
    job = Job.read(io.StringIO(json.dumps(data)))
    assert job == Job(
        routing=ROUTING,
        sources=(Source("etl", Path("/tmp"), 5.0, ("small",)),),
        dags_elsewhere={"d": "ml"},
        known_pools=("default_pool", "small"),
        settings={"core": {"default_timezone": "utc"}},
        timeout=60.0,
        jobs=3,
        user="nobody",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"routing": None}, r"The job's routing cannot be used: it lacks mode"),
        ({"sources": None}, r"The job is wrong: sources is no list, or an empty one\."),
        ({"sources": []}, "sources is no list, or an empty one"),
        ({"sources": ["etl"]}, "'etl' in sources is no dictionary"),
        ({"sources": [{"name": "etl"}]}, "lacks name or path"),
        ({"sources": [{"name": "ml", "path": "/"}]}, "the routing does not know the source 'ml'"),
        ({"sources": [{"name": "..", "path": "/"}]}, "'..' cannot be a source's name"),
        ({"sources": [{"name": "etl", "path": "/"}] * 2}, "the source 'etl' is there twice"),
        ({"sources": [{"name": "etl", "path": "dags"}]}, "the path of source 'etl' is 'dags', and must be absolute"),
        (
            {"sources": [{"name": "etl", "path": "/none"}]},
            r"^Source 'etl' is to be judged in /none, which is no directory\.$",
        ),
        (
            {"sources": [{"name": "etl", "path": "/", "parse_budget": 0}]},
            "parse_budget is 0, and must be a number above 0",
        ),
        (
            {"sources": [{"name": "etl", "path": "/", "foreign_pools": "small"}]},
            "foreign_pools of source 'etl' is no list of names",
        ),
        ({"timeout": "5m"}, "timeout is '5m', and must be a number above 0"),
        ({"timeout": True}, "timeout is True"),
        ({"timeout": float("inf")}, "timeout is inf, and must be a number above 0, up to 86400"),
        ({"jobs": float("nan")}, "jobs is nan"),
        ({"pools": "small"}, "pools is no list of names"),
        ({"dags_elsewhere": {"d": None}}, "dags_elsewhere is no dictionary"),
        ({"settings": {"core": 1}}, "settings is no dictionary of sections"),
        ({"user": 0}, "user is no name"),
        ({"source": []}, "it has source, and may have routing, sources, "),
    ],
)
def test_a_wrong_job_is_refused_by_what_is_wrong(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(GateError, match=reason):
        Job.parse({**DATA, **changes})


@pytest.mark.parametrize("text", ["", "{", "\x00", "[]", "null", "1"])
def test_what_is_no_job_is_refused(text: str) -> None:
    with pytest.raises(GateError, match=r"is no JSON|it is no dictionary"):
        Job.read(io.StringIO(text))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["name", "path"]), inner),
)


@given(ANYTHING, st.sampled_from([None, *DATA, "pools", "settings", "dags_elsewhere", "timeout", "jobs", "user"]))
def test_no_job_ends_in_a_traceback(anything: Any, where: str | None) -> None:
    with contextlib.suppress(GateError):
        Job.parse(anything if where is None else {**DATA, where: anything})


class TestOptions:
    def test_queues_are_enforced_and_the_first_is_the_default(self, tmp_path: Path) -> None:
        job = options("--source", f"etl={tmp_path}", "--queues", "etl=a,b", "--pools", "x,y", "--parse-budget", "2")
        assert job.routing["mode"] == "enforce"
        assert job.routing["sources"] == {"etl": {"queues": ["a", "b"], "default_queue": "a"}}
        assert job.sources == (Source("etl", tmp_path, 2.0),)
        assert job.known_pools == ("default_pool", "x", "y")

    @pytest.mark.parametrize("given", ["x", "x,default_pool", "default_pool,x,x"])
    def test_a_pool_is_known_once(self, tmp_path: Path, given: str) -> None:
        assert options("--source", f"etl={tmp_path}", "--pools", given).known_pools == ("default_pool", "x")

    def test_without_queues_and_pools_nothing_is_judged_of_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "dags").mkdir()
        job = options("--source", "etl=dags")
        assert (job.routing["mode"], job.known_pools) == ("assign", None)
        assert job.sources[0].path == tmp_path / "dags"

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--source", "/tmp"], r"--source /tmp: it must read NAME=\.\.\., such as --source etl="),
            (["--source", "etl=/tmp", "--queues", "ml=a"], "--queues names ml, and --source does not"),
            (["--source", "etl=/", "--source", "ml=/tmp", "--queues", "ml=a"], "--queues says nothing of etl"),
            (["--source", "etl=/tmp", "--queues", "etl="], "--queues etl=: it must read"),
            (["--source", "etl=/none"], "which is no directory"),
            (["--source", "a/b=/tmp"], "'a/b' cannot be a source's name"),
        ],
    )
    def test_wrong_options_are_refused(self, arguments: list[str], reason: str) -> None:
        with pytest.raises(GateError, match=reason):
            options(*arguments)


def test_the_gate_takes_a_task_without_a_queue_for_what_the_platform_takes_it_for() -> None:
    plan = {"api": {"url": "", "port": 0, "execution_url": ""}, "settings": {}, "sources": [], "teams": []}
    endpoints = {"dag_storage": {"path": ""}, "log_store": {"url": ""}}
    platform = settings.own("dag-processor", None, plan, endpoints)
    assert {
        section: {key: platform[section][key] for key in keys} for section, keys in gate.SETTINGS.items()
    } == gate.SETTINGS
