# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The script that runs Swift in a pod, with programs that stand in for Swift's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "roles" / "airflow_object_store" / "files" / "swift.sh"

STAYING = (
    "memcached",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
    "swift-object-updater",
    "swift-proxy-server",
)
SHELL = ("env", "kill", "mkdir", "rm", "sleep")


class Pod:
    """Its programs, each of which says that it runs, and what runs it."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder, self.programs, self.shell = folder, folder / "bin", shell
        self.programs.mkdir()
        for name in SHELL:
            (self.programs / name).symlink_to(f"/bin/{name}")
        for name in STAYING:
            self.has(name, f'echo "$0 $*" >>"{folder}/said"; exec sleep 600')
        self.has("swift-ring-builder", f'echo "$*" >>"{folder}/rings"; echo built')
        self.has("python3", "exit 0")

    def has(self, name: str, does: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)

    def said(self) -> list[str]:
        said = self.folder / "said"
        return [Path(line.split()[0]).name for line in said.read_text().splitlines()] if said.exists() else []

    @contextmanager
    def runs(self) -> Iterator[subprocess.Popen[str]]:
        environment = {
            "PATH": str(self.programs),
            "DEVICES": str(self.folder / "devices"),
            "RINGS": str(self.folder / "rings-here"),
            "PORTS": "account:6202 container:6201 object:6200",
        }
        with subprocess.Popen(
            [self.shell, str(SCRIPT)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(name="pod", params=["/bin/sh", "/bin/bash"])
def pod_of_programs(tmp_path: Path, request: pytest.FixtureRequest) -> Pod:
    """What an image calls sh differs."""
    return Pod(tmp_path, request.param)


def until(pod: Pod, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(pod.said()) < count:
        assert time.monotonic() < deadline, pod.said()
        time.sleep(0.05)


def test_all_servers_run_on_rings_of_one_device(pod: Pod) -> None:
    with pod.runs() as process:
        until(pod, len(STAYING))
        process.terminate()
        assert process.wait(timeout=120) == 0
    assert sorted(pod.said()) == sorted(STAYING)
    assert (pod.folder / "devices" / "d1").is_dir()
    rings = (pod.folder / "rings").read_text().splitlines()
    assert "container.builder add r1z1-127.0.0.1:6201/d1 1" in rings
    assert len(rings) == 9


def test_what_ends_takes_the_others_along(pod: Pod) -> None:
    pod.has("swift-object-updater", "echo no such device; exit 3")
    with pod.runs() as process:
        said, _nothing = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "no such device" in said
    assert said.splitlines()[-1] == "One of the store's programs has ended. What it said stands above."


def test_the_proxy_does_not_answer_before_the_others_do(pod: Pod) -> None:
    pod.has("python3", f'case "$2" in *socket*) [ -e "{pod.folder}/answers" ];; esac')
    with pod.runs():
        until(pod, len(STAYING) - 1)
        time.sleep(1)
        assert "swift-proxy-server" not in pod.said()
        (pod.folder / "answers").touch()
        until(pod, len(STAYING))


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        (
            "swift-proxy-server",
            "The image has no swift-proxy-server. Name one in airflow_object_store_kubernetes.image",
        ),
        ("extended attributes", "The volume has no extended attributes, which Swift needs."),
    ],
)
def test_what_cannot_work_is_told(pod: Pod, lacking: str, message: str) -> None:
    if lacking in STAYING:
        (pod.programs / lacking).unlink()
    else:
        pod.has("python3", "exit 1")
    with pod.runs() as process:
        said, _nothing = process.communicate(timeout=120)
    assert process.returncode == 1
    assert message in said
    assert pod.said() == []
