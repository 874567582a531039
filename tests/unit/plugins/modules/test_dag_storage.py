# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils import _dag_storage
from ansible_collections.airstack.backbone.plugins.modules import dag_storage, dag_storage_info

SENTINEL = ".airflow-dag-storage"


def arguments(path: Path, **more: Any) -> dict[str, Any]:
    mine = {"owner": str(os.getuid()), "group": str(os.getgid())}
    return {"path": str(path), "environment": "local", "sources": ["etl", "ml"], **mine, **more}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_lays_out_a_storage_once(tmp_path: Path, run_module: Any) -> None:
    path = tmp_path / "srv" / "dags"
    result = run_module(dag_storage.main, **arguments(path))
    assert result["changed"]
    assert sorted(entry.name for entry in path.iterdir()) == [SENTINEL, "etl", "ml"]
    assert [mode(entry) for entry in (path, path / "etl", path / "ml", path / SENTINEL)] == [0o755] * 3 + [0o644]
    assert json.loads((path / SENTINEL).read_text()) == {"environment": "local", "id": result["id"]}
    assert set(result["diff"]["after"]) == {str(path), *(str(path / name) for name in ("etl", "ml", SENTINEL))}

    again = run_module(dag_storage.main, **arguments(path))
    assert (again["changed"], again["id"]) == (False, result["id"])
    assert again["diff"] == {"before": {}, "after": {}}


def test_check_mode_changes_nothing(tmp_path: Path, run_module: Any) -> None:
    path = tmp_path / "dags"
    result = run_module(dag_storage.main, check=True, **arguments(path, owner="nobody-here", group="nobody-here"))
    assert (result["changed"], result["id"]) == (True, None)
    assert not path.exists()


def test_corrects_a_mode_and_says_what_it_was(tmp_path: Path, run_module: Any) -> None:
    run_module(dag_storage.main, **arguments(tmp_path))
    (tmp_path / "ml").chmod(0o700)
    checked = run_module(dag_storage.main, check=True, **arguments(tmp_path))
    assert (checked["changed"], mode(tmp_path / "ml")) == (True, 0o700)
    result = run_module(dag_storage.main, **arguments(tmp_path))
    assert list(result["diff"]["before"]) == list(result["diff"]["after"]) == [str(tmp_path / "ml")]
    assert result["diff"]["before"][str(tmp_path / "ml")].endswith(" 0700")
    assert mode(tmp_path / "ml") == 0o755


def test_what_a_new_sources_directory_may_be_is_not_the_umasks(tmp_path: Path, run_module: Any) -> None:
    former = os.umask(0o077)
    try:
        run_module(dag_storage.main, **arguments(tmp_path / "srv" / "airflow" / "dags", mode="0755"))
    finally:
        os.umask(former)
    made = ["srv", "srv/airflow", "srv/airflow/dags", "srv/airflow/dags/etl"]
    assert [mode(tmp_path / path) for path in made] == [0o755] * 4
    assert mode(tmp_path / made[2] / SENTINEL) == 0o644


@pytest.mark.parametrize("has_links", [True, False])
def test_of_two_first_runs_at_once_one_names_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:

        def link(_from: Path, _to: Path) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", link)
    path = tmp_path / "dags"
    layout = _dag_storage.layout({"sentinel": SENTINEL, "mode": "0755", **arguments(path)}, is_check=False)
    first, second = _dag_storage.compare(layout), _dag_storage.compare(layout)
    _dag_storage.apply(layout, first)
    assert json.loads((path / SENTINEL).read_text())["id"] == first.id
    _dag_storage.apply(layout, second)
    assert json.loads((path / SENTINEL).read_text())["id"] == second.id
    assert (first.id == second.id) == has_links
    assert sorted(entry.name for entry in path.iterdir()) == [SENTINEL, "etl", "ml"]


@pytest.mark.parametrize(
    ("written", "message"),
    [('{"environment": "prod", "id": "x"}', "of the environment prod"), ("[]", "is not what the publisher writes")],
)
def test_what_another_run_wrote_meanwhile_is_read(tmp_path: Path, written: str, message: str) -> None:
    layout = _dag_storage.layout({"sentinel": SENTINEL, "mode": "0755", **arguments(tmp_path)}, is_check=False)
    changes = _dag_storage.compare(layout)
    (tmp_path / SENTINEL).write_text(written)
    with pytest.raises(_dag_storage.StorageError, match=message):
        _dag_storage.apply(layout, changes)
    assert (tmp_path / SENTINEL).read_text() == written


def test_an_empty_sentinel_is_replaced(tmp_path: Path, run_module: Any) -> None:
    (tmp_path / SENTINEL).touch()
    result = run_module(dag_storage.main, **arguments(tmp_path))
    assert json.loads((tmp_path / SENTINEL).read_text())["id"] == result["id"]


def test_a_root_that_cannot_be_read_is_one_message(
    tmp_path: Path, run_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    result = run_module(dag_storage.main, **arguments(tmp_path))
    assert (result["failed"], result["msg"]) == (True, f"{tmp_path} cannot be read: Permission denied")


def test_departed_sources_stay_and_are_told(tmp_path: Path, run_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    run_module(dag_storage.main, **arguments(tmp_path, sources=["etl", "finance", "ml"]))
    (tmp_path / "finance" / "releases").mkdir()
    (tmp_path / ".snapshot").mkdir()
    (tmp_path / "README").touch()
    result = run_module(dag_storage.main, **arguments(tmp_path))
    assert (result["changed"], result["departed"]) == (False, ["finance"])
    assert "no longer described: finance." in warnings[0]
    assert (tmp_path / "finance" / "releases").is_dir()


def test_a_link_to_the_storage_is_followed_and_one_in_it_refused(tmp_path: Path, run_module: Any) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "dags").symlink_to("share")
    (tmp_path / "share" / "etl").symlink_to("/etc")
    refused = run_module(dag_storage.main, **arguments(tmp_path / "dags"))
    assert refused["failed"]
    assert "etl is no directory" in refused["msg"]
    assert not (tmp_path / "share" / "ml").exists()
    (tmp_path / "share" / "etl").unlink()
    assert run_module(dag_storage.main, **arguments(tmp_path / "dags"))["changed"]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_link_that_takes_a_sources_place_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    root, elsewhere = tmp_path / "dags", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    layout = _dag_storage.layout({"sentinel": SENTINEL, "mode": "0755", **arguments(root)}, is_check=False)
    if not is_new:
        _dag_storage.apply(layout, _dag_storage.compare(layout))
        (root / "etl").chmod(0o700)
    changes = _dag_storage.compare(layout)
    mkdir = os.mkdir

    def swap() -> None:
        (root / "etl").rmdir()
        (root / "etl").symlink_to(elsewhere)

    def make_and_lose(path: str, *options: Any, **more: Any) -> None:
        mkdir(path, *options, **more)
        if path == "etl":
            swap()

    monkeypatch.setattr(os, "mkdir", make_and_lose)
    if not is_new:
        swap()
    with pytest.raises(_dag_storage.StorageError, match=f"^{root}/etl: Not a directory"):
        _dag_storage.apply(layout, changes)
    assert mode(elsewhere) == 0o700


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"environment": "prod", "id": "x"}', "is the storage of the environment prod, not of local"),
        ("DAGs, do not touch", "is not what the publisher writes there"),
        ("[]", "is not what the publisher writes there"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_foreign_storage_is_refused_and_left_alone(
    tmp_path: Path, run_module: Any, content: str | bytes, message: str
) -> None:
    before = content.encode() if isinstance(content, str) else content
    (tmp_path / SENTINEL).write_bytes(before)
    result = run_module(dag_storage.main, **arguments(tmp_path))
    assert result["failed"]
    assert message in result["msg"]
    assert (tmp_path / SENTINEL).read_bytes() == before
    assert not (tmp_path / "etl").exists()
    assert message in run_module(dag_storage_info.main, path=str(tmp_path), environment="local")["problems"][0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sources": ["etl", "../ml"]}, "no name of a file or directory in the storage: '../ml'"),
        ({"sources": [".."]}, "'..'"),
        ({"sentinel": ""}, "''"),
        ({"mode": "u=rwx"}, "mode is 'u=rwx'"),
        ({"mode": "0o755"}, "mode is '0o755'"),
        ({"mode": 0o755}, "mode is 493; it must be an octal number in quotes"),
        ({"owner": "²"}, "there is no user ² on this host"),
        ({"owner": "99999999999"}, "99999999999 is no number of a user"),
        ({"group": "99999999999"}, "99999999999 is no number of a group"),
        ({"owner": "nobody-here"}, "there is no user nobody-here on this host"),
        ({"group": "nobody-here"}, "there is no group nobody-here on this host"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, run_module: Any, more: dict[str, Any], message: str) -> None:
    result = run_module(dag_storage.main, **arguments(tmp_path / "dags", **more))
    assert result["failed"]
    assert message in result["msg"]
    assert not (tmp_path / "dags").exists()


def test_what_cannot_be_written_is_one_message(tmp_path: Path, run_module: Any) -> None:
    (tmp_path / "file").touch()
    result = run_module(dag_storage.main, **arguments(tmp_path / "file" / "dags"))
    assert result["failed"]
    assert "The publisher needs" in result["msg"]


@pytest.fixture(name="published")
def published_storage(tmp_path: Path, run_module: Any) -> str:
    result = run_module(dag_storage.main, **arguments(tmp_path))
    return str(result["id"])


@pytest.mark.parametrize(
    ("expected", "read_only_mount", "problem"),
    [
        ({}, False, None),
        ({"read_only": True}, True, None),
        ({"read_only": True}, False, "is mounted read-write: only the publisher may write"),
        ({"environment": "prod"}, True, "is the storage of the environment local, not of prod"),
        ({"id": "another"}, True, "is another storage than the publisher's"),
        ({"path": "/nonexistent/dags"}, True, "is not there: mount the storage"),
        ({"sentinel": ".another"}, True, "holds no sentinel: the storage that the publisher writes is not mounted"),
    ],
)
def test_a_readers_view(
    tmp_path: Path,
    run_module: Any,
    published: str,
    monkeypatch: pytest.MonkeyPatch,
    expected: dict[str, Any],
    read_only_mount: bool,
    problem: str | None,
) -> None:
    def statvfs(path: Path) -> SimpleNamespace:
        path.stat()
        return SimpleNamespace(f_flag=os.ST_RDONLY if read_only_mount else 0)

    monkeypatch.setattr(os, "statvfs", statvfs)
    given_arguments = {"path": str(tmp_path), "environment": "local", "id": published, **expected}
    result = run_module(dag_storage_info.main, **given_arguments)
    assert not result["changed"]
    assert len(result["problems"]) == (problem is not None)
    assert (problem or "") in "".join(result["problems"])
    if problem is None:
        assert (result["id"], result["environment"], result["exists"]) == (published, "local", True)
        assert result["is_read_only"] == read_only_mount


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_the_sentinels_place_is_a_sentinel_a_problem_or_nothing(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / SENTINEL
    file.write_bytes(content)
    sentinel, problem = _dag_storage.read_sentinel(file)
    assert not (sentinel and problem)
    assert sentinel or problem or not content.decode().strip()


def test_a_path_that_cannot_be_is_refused(tmp_path: Path, run_module: Any) -> None:
    path = f"{tmp_path}\0b"
    assert "no path of a directory" in run_module(dag_storage.main, **{**arguments(tmp_path), "path": path})["msg"]
    assert "is not there" in run_module(dag_storage_info.main, path=path, environment="local")["problems"][0]


def test_without_an_owner_what_others_own_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_module: Any
) -> None:
    tmp_path.chmod(0o2775)
    (tmp_path / "etl").mkdir(mode=0o700)
    (tmp_path / "etl").chmod(0o700)
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    result = run_module(dag_storage.main, **arguments(tmp_path, owner="", group=""))
    assert [mode(path) for path in (tmp_path, tmp_path / "etl", tmp_path / "ml")] == [0o2775, 0o700, 0o755]
    assert list(result["diff"]["before"]) == []

    monkeypatch.setattr(os, "geteuid", lambda: real)
    checked = run_module(dag_storage.main, check=True, **arguments(tmp_path, owner="", group=""))
    assert list(checked["diff"]["before"]) == [str(tmp_path), str(tmp_path / "etl")]
    corrected = run_module(dag_storage.main, **arguments(tmp_path, owner="", group=""))
    assert corrected["diff"] == checked["diff"]
    assert [mode(path) for path in (tmp_path, tmp_path / "etl")] == [0o755, 0o755]
    assert not run_module(dag_storage.main, **arguments(tmp_path, owner="", group=""))["changed"]
