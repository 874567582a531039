# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The gate of the DAG sources together with Airflow itself, against files that do their worst: run by the core's own Python,
with nothing but its standard library.

    <core>/bin/python gate_probe.py

needs no platform and no database. Run by root, the gate parses as another user. On a platform, test_gate.py runs it.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import typing as t
import unittest

PLACE = pathlib.Path(tempfile.mkdtemp(prefix="gate-probe-"))
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)
# For the user that root's gate parses as
PLACE.chmod(0o755)
TEMPORARY = PLACE / "tmp"
TEMPORARY.mkdir()
GATE = [sys.executable, "-m", "airflow_backbone.gate"]
ENVIRONMENT = {**os.environ, "TMPDIR": str(TEMPORARY), "AIRFLOW__CORE__FERNET_KEY": "secret-of-the-probe"}
BUDGET = 6
LINGERING = f"{os.getpid()}.4711"
"""Seconds that a process sleeps which has no business after the gate: nothing else on the host sleeps as long."""

HEADER = """
import ctypes, os, signal, subprocess, sys, time
from airflow.sdk import DAG, Connection, Variable
from airflow.providers.standard.operators.bash import BashOperator

def dag(dag_id, **arguments):
    with DAG(dag_id, schedule=None) as made:
        BashOperator(task_id="task", bash_command="true", **arguments)
    return made
"""

GOOD = {
    "good": "a, b = dag('good'), dag('good_highmem', queue='etl_highmem', pool='small')",
    "mapped": """
        with DAG("mapped", schedule=None):
            BashOperator.partial(task_id="task").expand(bash_command=["true", "false"])
        """,
    "default": "d = dag('default' if Variable.get('wanted', default='x') == 'x' else 'no')",
    "garbage": """
        print('{"ok": true}')
        for number in range(64):
            try:
                os.write(number, b'{"failed": "forged"}\\n')
            except OSError:
                pass
        d = dag("garbage")
        """,
    "forks": "os.fork()\nd = dag('forks')",
    "lingers": f"""
        subprocess.Popen(["sleep", "{LINGERING}"], start_new_session=True)
        subprocess.Popen(["sleep", "{LINGERING}"])
        d = dag("lingers")
        """,
    "sub/deep": "from helper import name\nd = dag(name)",
}
"""Files that pass, and the DAGs that they define"""

DAGS = {
    "good": ["good", "good_highmem"],
    "mapped": ["mapped"],
    "default": ["default"],
    "garbage": ["garbage"],
    "forks": ["forks"],
    "lingers": ["lingers"],
    "sub/deep": ["deep"],
}

LINE = HEADER.count("\n") + 1
"""The first line of a file's own text"""

EVIL: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "no_module": (
        "import no_such_module",
        [("import_error", f"No module named 'no_such_module' (no_module.py:{LINE})")],
    ),
    "syntax": ("def f(:", [("import_error", f"SyntaxError: invalid syntax (syntax.py:{LINE})")]),
    "in_helper": ("import broken", [("import_error", "NameError: name 'oops' is not defined (broken.py:1)")]),
    "cycle": (
        """
        with DAG("cycle", schedule=None):
            a = BashOperator(task_id="a", bash_command="true")
            a >> BashOperator(task_id="b", bash_command="true") >> a
        """,
        [("import_error", "Cycle detected")],
    ),
    "serial": (
        """
        from airflow.timetables.base import Timetable
        class Mine(Timetable): ...
        with DAG("serial", schedule=Mine()): ...
        """,
        [("serialization", "is not registered")],
    ),
    "loop": (
        "while True:\n    try: pass\n    except BaseException: pass",
        [("timeout", "It was still being parsed after ")],
    ),
    "sleep": ("def wait():\n    time.sleep(600)\nwait()", [("timeout", f"at sleep.py:{LINE + 1}, and was stopped")]),
    "slow": (f"time.sleep({BUDGET + 0.5})\nd = dag('slow')", [("slow", f"and {BUDGET} s are allowed")]),
    "exit": ("os._exit(0)", [("crash", "with exit code 0 as os._exit() does")]),
    "exit_3": ("os._exit(3)", [("crash", "with exit code 3 as os._exit() does")]),
    "leave": ("sys.exit('bye')", [("import_error", f"SystemExit: bye (leave.py:{LINE})")]),
    "interrupt": ("raise KeyboardInterrupt", [("crash", f"KeyboardInterrupt (interrupt.py:{LINE})")]),
    "abort": ("def f():\n    os.abort()\nf()", [("crash", f"by SIGABRT at abort.py:{LINE + 1}")]),
    "kill": (
        "os.kill(os.getpid(), signal.SIGKILL)",
        [("crash", "by SIGKILL as the kernel does where memory is short")],
    ),
    "memory": ("x = bytearray(3 << 30)", [("import_error", f"MemoryError (memory.py:{LINE})")]),
    "large": ("open('large', 'wb').truncate(65 << 20)", [("import_error", "File too large")]),
    "database": (
        "from airflow.settings import Session\nSession()",
        [("import_error", "Direct database access via the ORM is not allowed")],
    ),
    "after_default": (
        "Variable.get('wanted', default='x')\noops",
        [("import_error", "it asked for the variable 'wanted', which the gate cannot answer")],
    ),
    "secrets": (
        "names = [name for name in os.environ if 'FERNET' in name]\nraise RuntimeError(names, os.getuid() == 0)",
        [("import_error", "RuntimeError: ([], False)")],
    ),
    "queue": (
        "a, b = dag('queue_ml', queue='ml'), dag('queue_default', queue='default')",
        [
            (
                "queue",
                "DAG 'queue_default' of source 'etl' names a queue that this source may not use: task 'task' names",
            ),
            ("queue", "task 'task' names 'ml'. Allowed: etl, etl_highmem."),
        ],
    ),
    "queue_and_pool": (
        "d = dag('queue_and_pool', queue='ml', pool='big')",
        [
            ("queue", "task 'task' names 'ml'. Allowed: etl, etl_highmem."),
            ("pool", "DAG 'queue_and_pool' names the pool 'big', which does not exist, in task 'task'"),
        ],
    ),
    "pool": ("d = dag('pool', pool='big')", [("pool", "names the pool 'big', which does not exist, in task 'task'")]),
    "team": (
        "d = dag('team', pool='lent')",
        [("pool", "names the pool 'lent', which is another team's, in task 'task'")],
    ),
    "twin": (
        """
        for name in ("a", "b"):
            with DAG("twin", schedule=None):
                BashOperator(task_id=name, bash_command="true")
        """,
        [("duplicate_dag", "is defined more than once in this file")],
    ),
    "same_b": ("d = dag('same')", [("duplicate_dag", "DAG 'same' is also in same_a.py, in same.py of source 'ml'.")]),
    "elsewhere": ("d = dag('taken')", [("duplicate_dag", "DAG 'taken' is also in source 'bi'.")]),
}
"""Files that are refused, with the kind and some words of each problem"""

UNANSWERED = {
    "variable": ("Variable.get('wanted')", "Asks for the variable 'wanted' while it is parsed"),
    "connection": ("Connection.get('db')", "Asks for the connection 'db' while it is parsed"),
    "old_variable": (
        "from airflow.models import Variable as Old\nOld.get('wanted')",
        "Asks for the variable 'wanted' while it is parsed",
    ),
}
"""Files that nobody can judge without the platform's values, with the words of the warning"""

OTHERS = {
    "helper.py": "name = 'deep'",
    "broken.py": "oops",
    "ignored.py": "import airflow, dag, no_such_module",
    ".airflowignore": "ignored.py",
    "same_a.py": HEADER + "d = dag('same')",
}


def write(source: str, files: t.Mapping[str, str]) -> pathlib.Path:
    directory = PLACE / source
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def with_header(files: t.Mapping[str, str]) -> dict[str, str]:
    return {f"{name}.py": HEADER + textwrap.dedent(text).lstrip("\n") for name, text in files.items()}


@functools.cache
def report() -> dict[str, t.Any]:
    """What the gate says of all files at once."""
    evil = with_header({name: text for name, (text, _problems) in EVIL.items()})
    unanswered = with_header({name: text for name, (text, _words) in UNANSWERED.items()})
    etl = write("etl", {**with_header(GOOD), **evil, **unanswered, **OTHERS})
    ml = write("ml", with_header({"same": "d = dag('same', queue='ml')"}))
    job = {
        "routing": {
            "mode": "enforce",
            "storage": "/srv/airflow/dags",
            "sources": {
                "etl": {"queues": ["etl", "etl_highmem"], "default_queue": "etl"},
                "ml": {"queues": ["ml"], "default_queue": "ml"},
            },
        },
        "sources": [
            {"name": "etl", "path": str(etl), "parse_budget": BUDGET, "foreign_pools": ["lent"]},
            {"name": "ml", "path": str(ml), "parse_budget": BUDGET},
        ],
        "dags_elsewhere": {"taken": "bi", "good": "etl"},
        "pools": ["small", "lent"],
        "timeout": 240,
    }
    done = subprocess.run(GATE, input=json.dumps(job), capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def found(key: str, source: str = "etl") -> dict[str, list[tuple[str, str]]]:
    """Problems or warnings by file, each as kind and text."""
    by_file: dict[str, list[tuple[str, str]]] = {}
    for each in report()["sources"][source][key]:
        by_file.setdefault(each["file"].removesuffix(".py"), []).append((each.get("kind", ""), each["text"]))
    return by_file


class TestFiles(unittest.TestCase):
    maxDiff = None

    def test_what_is_wrong_is_found_in_every_file_that_is(self) -> None:
        problems = found("problems")
        assert sorted(problems) == sorted([*EVIL, "same_a"]), report()["message"]
        for name, (_text, expected) in EVIL.items():
            with self.subTest(name):
                assert [kind for kind, _text in problems[name]] == [kind for kind, _words in expected], problems[name]
                for (_kind, text), (_same, words) in zip(problems[name], expected, strict=True):
                    assert words in text, text

    def test_what_is_right_passes_whatever_else_it_does(self) -> None:
        dags = report()["sources"]["etl"]["dags"]
        for name, dag_ids in DAGS.items():
            for dag_id in dag_ids:
                with self.subTest(dag_id):
                    assert dags[dag_id]["file"] == f"{name}.py"
                    assert dags[dag_id]["tasks"] == 1
        assert dags["good"]["queues"] == dags["mapped"]["queues"] == ["etl"]
        assert dags["good_highmem"]["queues"] == ["etl_highmem"]

    def test_what_nobody_can_judge_is_a_warning(self) -> None:
        warnings = found("warnings")
        assert sorted(warnings) == sorted(UNANSWERED)
        for name, (_text, words) in UNANSWERED.items():
            with self.subTest(name):
                assert words in warnings[name][0][1]

    def test_two_sources_may_not_have_the_same_dag(self) -> None:
        for source, name, other in (
            ("etl", "same_a", "same.py of source 'ml'"),
            ("ml", "same", "same_a.py of source 'etl'"),
        ):
            ((kind, text),) = found("problems", source)[name]
            assert kind == "duplicate_dag"
            assert other in text

    def test_every_file_is_counted_and_ignored_ones_are_not(self) -> None:
        sources = report()["sources"]
        assert sources["etl"]["files"] == len(GOOD) + len(EVIL) + len(UNANSWERED) + 1
        assert sources["ml"]["files"] == 1
        assert not report()["ok"]
        assert report()["message"].splitlines()[-1].startswith("Refused: ")


class TestTraces(unittest.TestCase):
    def test_no_process_is_left(self) -> None:
        report()
        lines = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")]
        assert lines
        assert not [line for line in lines if LINGERING.encode() in line or b"airflow_backbone.gate_fork" in line]

    def test_no_file_is_left(self) -> None:
        report()
        assert list(TEMPORARY.iterdir()) == []
        assert list(PLACE.rglob("__pycache__")) == []


class TestCommand(unittest.TestCase):
    def run_it(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*GATE, *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT)

    def test_a_team_sees_what_is_wrong(self) -> None:
        directory = write("team", with_header({"wrong": "d = dag('wrong', queue='ml')", "fine": "d = dag('fine')"}))
        done = self.run_it("--source", f"team={directory}", "--queues", "team=team,etl")
        assert (done.returncode, done.stderr) == (1, "")
        refused = "DAG 'wrong' of source 'team' names a queue that this source may not use: task 'task' names 'ml'."
        expected = ["Source team", "  wrong.py", f"    [queue] {refused} Allowed: team, etl."]
        assert done.stdout.splitlines()[:3] == expected
        assert done.stdout.splitlines()[-1].startswith(
            "Refused: 1 problem in team, 0 warnings. 1 source with 2 files, 1 DAG"
        )

    def test_what_is_not_said_is_not_judged(self) -> None:
        directory = write("free", with_header({"free": "d = dag('free', queue='any', pool='any')"}))
        done = self.run_it("--source", f"free={directory}", "--format", "json")
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        assert made["ok"]
        assert made["sources"]["free"]["dags"] == {"free": {"file": "free.py", "tasks": 1, "queues": ["any"]}}

    def test_what_cannot_be_read_is_not_passed_over(self) -> None:
        directory = write("closed", with_header({"open": "d = dag('open')", "shut": "d = dag('shut')"}))
        (directory / "shut.py").chmod(0)
        done = self.run_it("--source", f"closed={directory}")
        assert done.returncode == 1, done.stderr
        assert "It cannot be read by the user with the id " in done.stdout

    def test_time_for_all_files_is_limited(self) -> None:
        files = {f"sleep_{number}": "time.sleep(600)" for number in range(3)}
        directory = write("late", with_header(files))
        done = self.run_it("--source", f"late={directory}", "--timeout", "5", "--jobs", "1")
        assert done.returncode == 1, done.stderr
        assert "The time for all files was over." in done.stdout
        assert "2 of its files were not judged: the time for all files was over before." in done.stdout


if __name__ == "__main__":
    unittest.main()
