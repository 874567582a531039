# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""lab_info against a podman that is a script, and against real sockets."""

from __future__ import annotations

import ctypes
import json
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_IMAGE
from ansible_collections.airstack.backbone.plugins.module_utils._lab.settings import KEYS
from ansible_collections.airstack.backbone.plugins.modules import lab_info

Run = Callable[..., dict[str, Any]]

PROGRAMS = [*lab_info.PROGRAMS, "runc"]
FAKE_PODMAN = """#!/bin/sh
grep -q "^network_config_dir = " "$CONTAINERS_CONF" || exit 9
case "$1 $2" in
  "ps "*) cat {folder}/containers;;
  "volume ls") cat {folder}/volumes;;
  "images "*) cat {folder}/images;;
  "info "*) echo {folder};;
  *) exit 8;;
esac
"""


class FakeMachine:
    """A machine whose programs and podman's answers are files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        for program in PROGRAMS:
            self.program(program, "#!/bin/sh\n")
        self.program("podman", FAKE_PODMAN.format(folder=folder))
        for answer in ("containers", "volumes", "images"):
            self.answer(answer, [])

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def have_keys(self) -> None:
        (self.folder / "lab").mkdir()
        for name in KEYS:
            (self.folder / "lab" / name).touch()

    def answer(self, name: str, value: list[dict[str, Any]]) -> None:
        (self.folder / name).write_text(json.dumps(value))


@pytest.fixture(name="machine")
def fake_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    machine = FakeMachine(tmp_path)
    monkeypatch.setenv("PATH", f"{machine.programs}:/usr/bin:/bin")
    monkeypatch.setattr(lab_info, "PROGRAM_PATHS", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lab_info, "inotify", lambda: (0, 128))
    monkeypatch.setattr(lab_info, "NETWORKS", str(tmp_path / "networks"))
    monkeypatch.setattr(lab_info._host, "read", partial(read_without_routes, lab_info._host.read))
    return machine


def read_without_routes(read: Callable[[Path], str], path: Path) -> str:
    """The machine that runs the tests may route anywhere."""
    return "" if path == Path("/proc/net/route") else read(path)


@pytest.fixture(name="run")
def run_lab_info(run_module: Any, machine: FakeMachine) -> Run:
    hosts = [{"name": "c1", "address": "203.0.113.11", "volumes": ["dags:/srv/dags"]}]
    defaults = {"name": "lab", "directory": str(machine.folder / "lab"), "subnet": "203.0.113.0/24", "hosts": hosts}

    def run(**arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = run_module(lab_info.main, **{**defaults, **arguments})
        return result

    return run


@pytest.fixture(name="taken_port")
def port_taken_by_this_process() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def made(result: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What podman says of a container that was made from the result."""
    host = result["hosts"]["c1"]
    container = {"Names": [host["container"]], "State": "running", "Image": host["image"], "Labels": host["labels"]}
    return {**container, "ImageID": "0123456789abcdef", "Ports": None, **changes}


def test_a_bare_machine(run: Run, machine: FakeMachine) -> None:
    result = run()
    assert not result["changed"]
    assert result["problems"] == []
    assert not result["complete"]
    assert result["missing"]["create"] == ["c1"]
    assert result["missing"]["volumes"] == ["lab-dags"]
    assert result["missing"]["network"]
    assert not (machine.folder / "lab").exists()


def test_a_lab_that_stands(run: Run, machine: FakeMachine) -> None:
    first = run()
    machine.answer("containers", [made(first)])
    machine.answer("volumes", [{"Name": "lab-dags", "Labels": first["labels"]}])
    network = {
        "name": "lab",
        "subnets": [{"subnet": "203.0.113.0/24"}],
        "network_interface": "podman1",
        "labels": first["labels"],
    }
    (machine.folder / "networks").mkdir()
    (machine.folder / "networks" / "lab.json").write_text(json.dumps(network))
    machine.have_keys()
    settings = machine.folder / "lab" / "containers.conf"
    settings.write_text("old")
    assert run()["steps"] == [f"write keys and settings to {machine.folder / 'lab'}"]

    settings.write_text(first["containers_conf"])
    second = run()
    assert second["complete"]
    assert second["steps"] == []
    other = {"Id": "fedcba9876543210", "Labels": {LABEL_IMAGE: "true"}}
    machine.answer("images", [{"Id": "0123456789abcdef", "Names": ["nginx"], "Labels": None}, other])
    assert run()["leftovers"] == {
        "containers": ["lab-c1"],
        "networks": ["lab"],
        "volumes": ["lab-dags"],
        "images": ["fedcba987654"],
    }


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_file_that_describes_no_network_is_skipped(run: Run, machine: FakeMachine, content: str) -> None:
    (machine.folder / "networks").mkdir()
    (machine.folder / "networks" / "x.json").write_text(content)
    taken = {"name": "y", "subnets": [{"subnet": "203.0.113.0/25"}]}
    (machine.folder / "networks" / "y.json").write_text(json.dumps(taken))
    (problem,) = run()["problems"]
    assert "meets 203.0.113.0/25 of podman's network y" in problem


def test_what_is_worth_a_look_is_a_warning_unless_something_is_wrong(run: Run, machine: FakeMachine) -> None:
    machine.have_keys()
    machine.answer("containers", [made(run(), Image="localhost/older")])
    assert "localhost/older" in str(run()["warnings"])
    assert "no longer in the inventory" not in str(run(hosts=[]).get("warnings"))


def test_programs_that_are_missing(run: Run, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine.programs))
    for program in ("podman", "mmdebstrap", "ssh-keygen"):
        (machine.programs / program).unlink()
    (problem,) = run()["problems"]
    assert "podman, mmdebstrap, openssh-client" in problem


def test_not_root(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (problem,) = run()["problems"]
    assert "not root" in problem


def test_a_port_that_a_process_has(run: Run, taken_port: int) -> None:
    host = {"name": "c1", "address": "203.0.113.11", "publish": [f"127.0.0.1:{taken_port}:80"]}
    (problem,) = run(hosts=[host])["problems"]
    assert f"port {taken_port} on 127.0.0.1 is taken by " in problem
    assert f"(process {os.getpid()})" in problem


def test_a_port_that_the_lab_itself_has(run: Run, machine: FakeMachine, taken_port: int) -> None:
    host = {"name": "c1", "address": "203.0.113.11", "publish": [f"127.0.0.1:{taken_port}:80"]}
    ports = [{"host_ip": "127.0.0.1", "host_port": taken_port, "container_port": 80, "range": 1}]
    machine.have_keys()
    machine.answer("containers", [made(run(hosts=[host]), Ports=ports)])
    assert run(hosts=[host])["problems"] == []


def test_too_little_room(run: Run) -> None:
    problems = run(memory_mb=1 << 30, disk_mb=1 << 30)["problems"]
    assert ["memory" in problem for problem in problems] == [True, False]
    assert ["disk" in problem for problem in problems] == [False, True]


def test_inotify_instances_are_counted() -> None:
    before = lab_info.inotify_instances(Path("/proc/self"))
    instance = ctypes.CDLL(None).inotify_init()
    try:
        expected = before + 1 if Path("/proc/self").stat().st_uid == 0 else 0
        assert lab_info.inotify_instances(Path("/proc/self")) == expected
    finally:
        os.close(instance)
    assert lab_info.inotify_instances(Path("/proc/0")) == 0


def test_another_recipe_or_certificate_makes_another_image(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    recipe.write_text("one")
    names = [
        run(recipe=str(recipe))["images"]["bookworm"],
        run(recipe=str(recipe), mirrors=["m"])["images"]["bookworm"],
    ]
    bundle = tmp_path / "bundle"
    bundle.write_text("certificate")
    names.append(run(recipe=str(recipe), ca_bundle=str(bundle))["images"]["bookworm"])
    recipe.write_text("two")
    names.append(run(recipe=str(recipe))["images"]["bookworm"])
    assert len(set(names)) == len(names)
    assert names[-1] == run(recipe=str(recipe))["images"]["bookworm"]


def test_a_podman_that_fails_is_told_of(run: Run, machine: FakeMachine) -> None:
    machine.program("podman", "#!/bin/sh\necho no storage >&2\nexit 125\n")
    result = run()
    assert result["failed"]
    assert "no storage" in result["msg"]
