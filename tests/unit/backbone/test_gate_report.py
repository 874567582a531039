# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the gate says of sources, from what came of their files."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_backbone.gate_report import (
    LONGEST_TEXT,
    MOST_LINES,
    condensed,
    innermost,
    listed,
    message,
    of_source,
    one_line,
    pool_problems,
    report,
)


def raised(root: Path, **texts: str) -> str:
    """The traceback of dag.py, which stands in the root beside the others and can import them."""
    for name, text in texts.items():
        (root / f"{name}.py").write_text(text, encoding="utf-8")
    sys.path.insert(0, str(root))
    try:
        exec(compile(texts["dag"], str(root / "dag.py"), "exec"), {})
    except BaseException:
        return traceback.format_exc()
    finally:
        sys.path.remove(str(root))
        for name in texts:
            sys.modules.pop(name, None)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"dag": "x = 1\nunknown"}, "NameError: name 'unknown' is not defined (dag.py:2)"),
        (
            {"dag": "import gate_helper", "gate_helper": "\n\n1 / 0"},
            "ZeroDivisionError: division by zero (gate_helper.py:3)",
        ),
        (
            {"dag": "import json\njson.loads('x')"},
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (dag.py:2)",
        ),
        ({"dag": "try:\n  1 / 0\nexcept Exception as e:\n  raise KeyError('x') from e"}, "KeyError: 'x' (dag.py:4)"),
        ({"dag": "raise ValueError('one\\ntwo\\n  three')"}, "ValueError: one two (dag.py:1)"),
        ({"dag": "raise SystemExit"}, "SystemExit (dag.py:1)"),
        ({"dag": "raise ValueError('\\033[31mred\\0')"}, "ValueError: [31mred (dag.py:1)"),
    ],
)
def test_an_error_is_one_line_with_its_place_in_the_source(
    tmp_path: Path, texts: dict[str, str], expected: str
) -> None:
    assert condensed(raised(tmp_path, **texts), str(tmp_path)) == expected


def test_a_syntax_error_is_shown_at_its_own_line(tmp_path: Path) -> None:
    text = raised(tmp_path, dag="import gate_wrong", gate_wrong="x = 1\nx = = 2\n")
    assert condensed(text, str(tmp_path)) == "SyntaxError: invalid syntax (gate_wrong.py:2)"


def test_what_is_no_traceback_is_kept_without_the_way_to_the_source() -> None:
    assert condensed("Cycle: a\nin /tmp/x/etl/dag.py", "/tmp/x/etl") == "Cycle: a in dag.py"


def test_the_place_that_faulthandler_wrote_down(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text("import gate_loop\ngate_loop.spin()\n", encoding="utf-8")
    sleep = "faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(600)"
    text = f"import faulthandler, time\ndef spin():\n    {sleep}\n"
    (tmp_path / "gate_loop.py").write_text(text, encoding="utf-8")
    program = "import runpy, sys\nrunpy.run_path(sys.argv[1])"
    command = [sys.executable, "-c", program, str(tmp_path / "dag.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)})
    assert innermost(done.stderr, str(tmp_path), newest_first=True) == "gate_loop.py:3"
    assert innermost(done.stderr, "/elsewhere", newest_first=True) is None


@given(st.text() | st.text(alphabet='File ", line 1\n/r.py').map(lambda text: f'  File "/r/a.py", line 1\n{text}'))
def test_no_text_ends_in_a_traceback_or_in_more_than_a_line(text: str) -> None:
    line = condensed(text, "/r")
    assert line.isprintable()
    assert len(line) < LONGEST_TEXT + 100


def test_a_long_text_is_cut() -> None:
    assert one_line("a" * 10_000) == "a" * LONGEST_TEXT + " ..."
    assert one_line(" a\n\tb ") == "a b"


def test_many_names_are_counted() -> None:
    assert listed("abc") == "'a', 'b', 'c'"
    assert listed("abcdefg") == "'a', 'b', 'c', 'd', 'e' and 2 more"


POOLS = {"one": "default_pool", "two": "big", "three": "big", "four": "small"}


class TestPools:
    def test_unknown_ones_are_named_with_their_tasks_and_the_known_ones(self) -> None:
        found = pool_problems("d", "d.py", POOLS, ["default_pool", "a"])
        known = "There are: 'a', 'default_pool'. Make the pool first, or name one of these."
        assert [problem["text"] for problem in found] == [
            f"DAG 'd' names the pool 'big', which does not exist, in tasks 'two', 'three'. {known}",
            f"DAG 'd' names the pool 'small', which does not exist, in task 'four'. {known}",
        ]
        assert {(problem["file"], problem["dag_id"], problem["kind"]) for problem in found} == {("d.py", "d", "pool")}

    def test_those_of_another_team_are_named_as_such(self) -> None:
        found = pool_problems("d", "d.py", POOLS, ["default_pool", "big"], ["big"])
        assert [problem["text"].partition(" in task")[0] for problem in found] == [
            "DAG 'd' names the pool 'big', which is another team's,",
            "DAG 'd' names the pool 'small', which does not exist,",
        ]
        assert found[0]["text"].endswith("There are: 'default_pool'. Name one of these.")

    @pytest.mark.parametrize("known", [None, ["default_pool", "big", "small"]])
    def test_nothing_is_found_where_they_are_there_or_nobody_knows(self, known: list[str] | None) -> None:
        assert pool_problems("d", "d.py", POOLS, known) == []


def outcome(source: str, file: str, *dags: str, **found: Any) -> dict[str, Any]:
    known = {dag: {"file": file, "tasks": 2, "queues": [source]} for dag in dags}
    return {"source": source, "file": file, "seconds": 0.25, "dags": known, "problems": [], "warnings": [], **found}


def texts(made: dict[str, Any], source: str) -> list[str]:
    return [problem["text"] for problem in made["sources"][source]["problems"]]


ANOTHER = " A dag_id can be used once on a platform: give this one another."


class TestReport:
    def test_files_seconds_and_dags_are_put_together(self) -> None:
        made = report(["etl", "ml"], [outcome("etl", "b.py", "b"), outcome("etl", "a.py", "a1", "a2")], {})
        assert made["ok"]
        etl = made["sources"]["etl"]
        assert (etl["files"], etl["seconds"], list(etl["dags"])) == (2, 0.5, ["a1", "a2", "b"])
        assert etl["dags"]["b"] == {"file": "b.py", "tasks": 2, "queues": ["etl"]}
        assert etl["warnings"] == []
        assert made["sources"]["ml"]["warnings"] == [{"file": None, "text": "No file of it defines a DAG."}]

    def test_what_is_about_a_source_counts_as_no_file(self) -> None:
        made = report(["etl"], [of_source("etl", [{"file": None, "kind": "crash", "text": "x"}])], {})
        assert not made["ok"]
        assert made["sources"]["etl"]["files"] == 0

    def test_in_one_source_the_later_file_is_wrong(self) -> None:
        made = report(["etl"], [outcome("etl", file, "same") for file in ("c.py", "a.py", "b.py")], {})
        assert [problem["file"] for problem in made["sources"]["etl"]["problems"]] == ["b.py", "c.py"]
        assert texts(made, "etl")[0] == "DAG 'same' is also in a.py." + ANOTHER
        assert made["sources"]["etl"]["dags"]["same"]["file"] == "a.py"

    def test_between_two_sources_both_are_told(self) -> None:
        made = report(["etl", "ml"], [outcome("etl", "a.py", "same"), outcome("ml", "b.py", "same")], {})
        assert texts(made, "etl") == ["DAG 'same' is also in b.py of source 'ml'." + ANOTHER]
        assert texts(made, "ml") == ["DAG 'same' is also in a.py of source 'etl'." + ANOTHER]

    def test_a_dag_that_was_released_before_is_told(self) -> None:
        made = report(["etl"], [outcome("etl", "a.py", "same", "own")], {"same": "bi", "own": "etl", "far": "bi"})
        assert texts(made, "etl") == ["DAG 'same' is also in source 'bi'." + ANOTHER]
        assert made["sources"]["etl"]["problems"][0]["kind"] == "duplicate_dag"

    def test_a_dag_that_moves_between_judged_sources_is_no_duplicate(self) -> None:
        made = report(
            ["etl", "ml"], [outcome("ml", "a.py", "moved"), outcome("etl", "a.py", "stays")], {"moved": "etl"}
        )
        assert made["ok"]


class TestMessage:
    def test_good_sources_are_one_line(self) -> None:
        made = report(["etl"], [outcome("etl", "a.py", "a")], {})
        assert message(made, 1.26) == "Good: no problems, 0 warnings. 1 source with 1 file, 1 DAG and 2 tasks; 1.3 s."

    def test_problems_stand_by_source_and_file(self) -> None:
        problem = {"file": "b.py", "kind": "queue", "text": "No."}
        outcomes = [
            outcome("etl", "b.py", problems=[problem, problem]),
            outcome("etl", "a.py", "a", warnings=[{"file": "a.py", "text": "Hm."}]),
            of_source("ml", [{"file": None, "kind": "timeout", "text": "Late."}]),
        ]
        assert message(report(["etl", "bi", "ml"], outcomes, {}), 61).splitlines() == [
            "Source etl",
            "  a.py",
            "    [warning] Hm.",
            "  b.py",
            "    [queue] No.",
            "    [queue] No.",
            "Source bi",
            "    [warning] No file of it defines a DAG.",
            "Source ml",
            "    [timeout] Late.",
            "Refused: 3 problems in etl, ml, 2 warnings. 3 sources with 2 files, 1 DAG and 2 tasks; 61.0 s.",
        ]

    def test_many_findings_are_counted(self) -> None:
        problems = [{"file": f"{number:03}.py", "kind": "pool", "text": "No."} for number in range(MOST_LINES + 7)]
        lines = message(report(["etl"], [outcome("etl", "x.py", problems=problems)], {}), 1).splitlines()
        assert lines[-2] == "  and 7 more"
        assert lines.count("    [pool] No.") == MOST_LINES
