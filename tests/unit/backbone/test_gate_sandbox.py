# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the gate keeps DAG code from, in real processes, and the gate where there is no Airflow."""

from __future__ import annotations

import io
import json
import os
import pwd
import signal
import subprocess
import sys
import textwrap
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from airflow_backbone import gate, gate_sandbox
from airflow_backbone.gate_job import GateError, Job
from ansible_collections.airstack.backbone.tests.unit import needs

ME = pwd.getpwuid(os.geteuid()).pw_name
PACKAGE = Path(gate.__file__).parents[1]


def in_a_process(program: str, *arguments: str) -> Any:
    """What a program of its own prints, as JSON: limits and orphans are a process's for good."""
    code = f"import json, os, sys\nfrom airflow_backbone import gate_sandbox\n{textwrap.dedent(program)}"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_memory_files_and_dumps_are_limited(tmp_path: Path) -> None:
    assert in_a_process(
        """
        import resource
        gate_sandbox.confine(7)
        tried = {}
        try:
            bytearray(3 << 30)
        except MemoryError:
            tried["memory"] = "refused"
        try:
            with open(sys.argv[1], "wb") as file:
                file.truncate(65 << 20)
        except OSError as error:
            tried["file"] = error.strerror
        tried["core"] = resource.getrlimit(resource.RLIMIT_CORE)
        tried["cpu"] = resource.getrlimit(resource.RLIMIT_CPU)[0] // len(os.sched_getaffinity(0))
        tried["processes"] = resource.getrlimit(resource.RLIMIT_NPROC)[1] > 256
        tried["first to go"] = open("/proc/self/oom_score_adj").read().strip()
        print(json.dumps(tried))
        """,
        str(tmp_path / "large"),
    ) == {
        "memory": "refused",
        "file": "File too large",
        "core": [0, 0],
        "cpu": 12,
        "processes": True,
        "first to go": "1000",
    }


STRANGER = 54321
"""A user that nothing else runs as."""

OTHERS = f"""
import os, threading
os.setuid({STRANGER})
for _ in range(400):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("there", flush=True)
threading.Event().wait()
"""


@needs.root
def test_what_the_same_user_runs_in_other_containers_is_not_counted_against_it() -> None:
    program = f"""
        import threading
        os.setuid({STRANGER})
        gate_sandbox.confine(7)
        done = []
        threads = [threading.Thread(target=done.append, args=(at,)) for at in range(100)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        refused = 0
        try:
            [threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(2000)]
        except RuntimeError:
            refused = 1
        print(json.dumps([len(done), refused]), flush=True)
        os._exit(0)
    """
    code = f"import json, os, sys\nfrom airflow_backbone import gate_sandbox\n{textwrap.dedent(program)}"
    with subprocess.Popen([sys.executable, "-c", OTHERS], stdout=subprocess.PIPE) as others:
        try:
            assert others.stdout is not None
            assert others.stdout.readline() == b"there\n"
            done = subprocess.run(
                ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                timeout=60,
            )
        finally:
            others.kill()
    assert json.loads(done.stdout) == [100, 1]


def test_limits_are_only_ever_lowered() -> None:
    assert in_a_process(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
        gate_sandbox.confine(1)
        print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
        """
    ) == [100, 100]


def test_what_left_its_group_and_its_parent_is_ended_too() -> None:
    pids = in_a_process(
        """
        import subprocess
        gate_sandbox.adopt_orphans()
        command = "setsid sh -c 'echo $$; exec sleep 600 >/dev/null' & sleep 600 >/dev/null & echo $!; wait"
        shell = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)
        pids = [int(shell.stdout.readline()) for _number in range(2)]
        gate_sandbox.end_children()
        print(json.dumps(pids))
        """
    )
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_ends_with_its_parent() -> None:
    program = """
        import time
        read, write = os.pipe()
        if os.fork() == 0:
            gate_sandbox.end_with_parent()
            status = open("/proc/self/status").read()
            os.write(write, str(os.getpid()).encode() if "NoNewPrivs:\\t1" in status else b"0")
            time.sleep(600)
        print(os.read(read, 20).decode())
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    """
    code = f"import os, sys\nfrom airflow_backbone import gate_sandbox\n{textwrap.dedent(program)}"
    # The child holds the output, too: this ends only when both have.
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(PACKAGE)},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0


class TestUser:
    def test_who_runs_the_gate_may_run_the_code(self) -> None:
        assert gate_sandbox.user(ME) is None

    def test_a_user_that_is_not_there_is_said_so(self) -> None:
        with pytest.raises(gate_sandbox.SandboxError, match="There is no user 'no-such-user' to parse DAG files as"):
            gate_sandbox.user("no-such-user")

    def test_root_is_nobody_while_it_parses(self) -> None:
        if os.geteuid() != 0:
            assert gate_sandbox.user(None) is None
            with pytest.raises(gate_sandbox.SandboxError, match="Only root can parse DAG files as the user 'root'"):
                gate_sandbox.user("root")
            return
        unprivileged = gate_sandbox.user(None)
        assert unprivileged is not None
        assert unprivileged.pw_name in gate_sandbox.UNPRIVILEGED


ROUTING = {"mode": "enforce", "storage": "/srv", "sources": {"etl": {"queues": ["etl"], "default_queue": "etl"}}}


def job(path: Path, **changes: Any) -> Job:
    return Job.parse({"routing": ROUTING, "sources": [{"name": "etl", "path": str(path)}], "user": ME, **changes})


def test_a_source_is_found_by_its_path_wherever_it_lies(tmp_path: Path) -> None:
    place, source = tmp_path / "place", tmp_path / "checkout"
    place.mkdir()
    source.mkdir()
    settings = {
        "core": {"default_timezone": "%Z", "load_examples": "True"},
        "secrets": {"backend": "x"},
        "operators": {"default_queue": "mine"},
    }
    gate.lay_out(place, job(source, settings=settings), None)
    routing = json.loads((place / "routing.json").read_text(encoding="utf-8"))
    assert routing == {**ROUTING, "storage": str(place / "storage")}
    assert (place / "storage/etl").resolve() == source
    read = ConfigParser()
    read.read(place / "airflow.cfg")
    assert read["core"]["default_timezone"] == "%Z"
    assert read["core"]["executor"] == "CeleryExecutor"
    assert read["core"]["load_examples"] == "False"
    assert read["operators"]["default_queue"] == "mine"
    assert not read.has_section("secrets")


def line(file: str | None, **known: Any) -> str:
    return json.dumps({"source": "etl", "file": file, **known}) + "\n"


DONE = {"seconds": 1, "dags": {}, "problems": [], "warnings": []}


class TestOutcomes:
    def test_files_that_were_judged(self, tmp_path: Path) -> None:
        lines = line("a.py") + line("b.py") + line("b.py", **DONE) + line("a.py", **DONE)
        assert [outcome["file"] for outcome in gate.outcomes(lines, job(tmp_path), 0)] == ["b.py", "a.py"]

    def test_what_was_parsed_when_all_ended_is_named(self, tmp_path: Path) -> None:
        lines = line("a.py") + line("a.py", **DONE) + line("b.py") + '{"source": "etl", "fi'
        good, named, whole = gate.outcomes(lines, job(tmp_path), -9)
        assert (good["file"], good["problems"]) == ("a.py", [])
        assert named["problems"][0]["file"] == "b.py"
        assert "Not all of its files were judged: the gate's process ended with -9" in whole["problems"][0]["text"]

    def test_a_core_that_cannot_parse(self, tmp_path: Path) -> None:
        with pytest.raises(GateError, match="This core cannot parse DAG files: ImportError: no"):
            gate.outcomes('{"failed": "ImportError: no"}\n', job(tmp_path), 1)


class TestWithoutAirflow:
    """The whole of it, up to the import that fails."""

    def run(self, arguments: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow_backbone.gate", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            timeout=60,
        )

    def test_it_says_why_nothing_is_judged(self, tmp_path: Path) -> None:
        done = self.run(["--source", f"etl={tmp_path}", "--user", ME])
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "This core cannot parse DAG files: ModuleNotFoundError: No module named 'airflow'.\n"

    def test_a_broken_job_is_one_line(self) -> None:
        done = self.run([], stdin="{}")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("The job's routing cannot be used: ")
        assert done.stderr.count("\n") == 1

    def test_a_pipe_that_holds_no_job(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("no"))
        assert gate.main([]) == 2
        assert "The job on stdin is no JSON" in capsys.readouterr().err
