# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""preflight_info on real sockets and this machine's own file systems."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import preflight_info

Run = Callable[..., dict[str, Any]]

MORE_THAN_ANY_DISK = 2**60


@pytest.fixture(name="run")
def run_preflight_info(run_module: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(preflight_info, "system_problems", list)
    return partial(run_module, preflight_info.main)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_taken_port_is_told_with_its_holder(run: Run, family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        (problem,) = run(ports=[{"port": port, "purpose": "the database"}])["problems"]
    assert problem.startswith(f"port {port}, for the database, is taken by ")
    assert f"(process {os.getpid()}" in problem


def test_a_free_port_is_no_problem(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert run(ports=[{"port": port, "purpose": "the database"}])["problems"] == []


def test_demands_on_one_file_system_add_up(run: Run, tmp_path: Path) -> None:
    demands = [
        {"path": str(tmp_path / name / "deep"), "bytes": MORE_THAN_ANY_DISK // 2, "purpose": f"the {name}"}
        for name in ("database", "broker")
    ]
    (problem,) = run(space=demands)["problems"]
    assert "1073741824.0 GiB are needed for the database, the broker" in problem


def test_space_that_is_spent_already_is_not_demanded(run: Run, tmp_path: Path) -> None:
    demand = {"path": str(tmp_path), "bytes": MORE_THAN_ANY_DISK, "purpose": "the database", "unless": str(tmp_path)}
    assert run(space=[demand])["problems"] == []


def test_who_cannot_install_is_told_first(run_module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    problems = run_module(preflight_info.main)["problems"]
    assert "ansible_become: true" in problems[0]
    assert "Debian 12 or 13" in problems[1]


@pytest.mark.parametrize(("wanted", "is_fine"), [("old", True), ("new,old", True), ("new", False), (None, True)])
def test_a_platform_keeps_its_fernet_key(run: Run, tmp_path: Path, wanted: str, is_fine: bool) -> None:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "fernet_key").write_text("old\n")
    problems = run(fernet_key=wanted, fernet_key_files=f"{tmp_path}/*/fernet_key")["problems"]
    assert is_fine != any("another Fernet key" in problem for problem in problems)


def test_a_key_that_the_database_refused_is_none_of_the_platform(run: Run, tmp_path: Path) -> None:
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "fernet_key").write_text("refused\n")
    problems = run(fernet_key="right", fernet_key_files=f"{tmp_path}/*/fernet_key")["problems"]
    assert not any("another Fernet key" in problem for problem in problems)


def test_all_problems_come_at_once(run: Run, tmp_path: Path) -> None:
    space = [{"path": str(tmp_path), "bytes": MORE_THAN_ANY_DISK, "purpose": "the database"}]
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = [{"port": server.getsockname()[1], "purpose": "the broker"}]
        assert len(run(ports=ports, space=space)["problems"]) == 2
