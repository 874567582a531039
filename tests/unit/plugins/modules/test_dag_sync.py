# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""dag_sync as a module: its arguments, what it refuses, and the two steps that the action plugin takes with it."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import SOURCE
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryContent, scan
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.sent import pack
from ansible_collections.airstack.backbone.plugins.module_utils._dags.staging import wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import tree_hash
from ansible_collections.airstack.backbone.plugins.modules import dag_sync

HERE = socket.gethostname()

Run = Callable[..., "dict[str, Any]"]


@pytest.fixture(name="storage")
def empty_storage(tmp_path: Path) -> Path:
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / ".airflow-dag-storage").touch()
    return storage


@pytest.fixture(name="source")
def source_of_two_files(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "dags").mkdir(parents=True)
    (source / "README.md").write_text("read me\n", encoding="utf-8")
    (source / "dags/a.py").write_text("a = 1\n", encoding="utf-8")
    return source


@pytest.fixture(name="run")
def run_dag_sync(run_module: Any, storage: Path, source: Path) -> Run:
    """Runs the module for one source, and returns what it says of that one together with what it says of all."""

    def run(**arguments: Any) -> dict[str, Any]:
        of_source = {"name": "etl", **({} if "archive" in arguments else {"path": str(source)})}
        for name in SOURCE.keys() & arguments.keys():
            of_source[name] = arguments.pop(name)
        of_all = {"storage": str(storage), **arguments}
        result: dict[str, Any] = run_module(dag_sync.main, sources=[of_source], **of_all)
        return {**result, **result.get("sources", {}).get(of_source["name"], {})}

    return run


def test_a_directory_of_this_host(run: Run, storage: Path) -> None:
    first = run(remote_src=True, subdirectory="dags", owner=str(os.geteuid()))
    assert (first["changed"], first["previous"], first["files"]["added"]) == (True, None, ["a.py"])
    assert first["directory"] == f"{storage}/etl/releases/{first['release']}"
    again = run(remote_src=True, subdirectory="dags")
    assert (again["changed"], again["previous"], "diff" in again) == (False, first["release"], False)
    more = run(remote_src=True, exclude=["dags/"])
    assert more["files"] == {"added": ["README.md"], "changed": [], "removed": ["a.py"]}


def test_the_two_steps_of_the_action_plugin(run: Run, source: Path, tmp_path: Path) -> None:
    entries = scan(source)
    tree = tree_hash(entries)
    found = {"tree": tree, "revision": None}
    assert run(read=found)["missing"] == {"etl": []}
    packed = tmp_path / "packed"
    with packed.open("wb") as file:
        pack(DirectoryContent(source, entries), [entry.digest for entry in entries], file)
    sent = run(read=found, packed=str(packed), publisher="me@here")
    assert (sent["changed"], sent["tree"], sent["counts"]["added"]) == (True, tree, 2)
    assert '"publisher": "me@here"' in Path(sent["directory"], ".release.json").read_text(encoding="utf-8")
    assert run(read=found)["changed"] is False

    (source / "dags/b.py").write_text("b = 1\n", encoding="utf-8")
    entries = scan(source)
    newer = {"tree": tree_hash(entries), "revision": None}
    assert [entry.path for entry in wanted(entries, run(read=newer)["missing"]["etl"])] == ["dags/b.py"]
    with packed.open("wb") as file:
        pack(DirectoryContent(source, entries), [], file)
    refused = run(read=newer, packed=str(packed))
    assert refused["failed"] is True
    assert refused["is_outdated"] is True
    assert refused["msg"].splitlines()[1:] == [
        "- the content of dags/b.py was not sent, since somebody else published meanwhile; publish again"
    ]
    assert run(read=found)["changed"] is False


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no archive",
        "truncated",
        b"[1]",
        b"[[1, 2, 3, 4]]",
        b"5",
        b"{",
        b"[[]]",
        b"\xff",
    ],
)
def test_what_was_sent_may_be_broken(run: Run, source: Path, tmp_path: Path, packed: bytes | str) -> None:
    file = tmp_path / "packed"
    if packed == "truncated":
        (source / "random").write_bytes(os.urandom(100_000))
        entries = scan(source)
        with file.open("wb") as archive:
            pack(DirectoryContent(source, entries), [entry.digest for entry in entries], archive)
        os.truncate(file, file.stat().st_size // 2)
    elif packed in (b"", b"no archive"):
        file.write_bytes(bytes(packed))
    else:
        with tarfile.open(file, "w:gz") as archive:
            member = tarfile.TarInfo("manifest")
            member.size = len(packed)
            archive.addfile(member, io.BytesIO(bytes(packed)))
    result = run(read={"tree": "0" * 64, "revision": None}, packed=str(file))
    assert result["failed"] is True
    assert "is broken" in result["msg"]
    assert "publish again" in result["msg"]


def test_what_only_becomes_executable_is_sent(run: Run, source: Path, tmp_path: Path) -> None:
    run(remote_src=True)
    (source / "dags/a.py").chmod(0o755)
    entries = scan(source)
    found = {"tree": tree_hash(entries), "revision": None}
    missing = wanted(entries, run(read=found)["missing"]["etl"])
    assert [entry.path for entry in missing] == ["dags/a.py"]
    packed = tmp_path / "packed"
    with packed.open("wb") as file:
        pack(DirectoryContent(source, entries), [entry.digest for entry in missing], file)
    sent = run(read=found, packed=str(packed))
    assert sent["counts"] == {"added": 0, "changed": 1, "removed": 0, "unchanged": 1}
    assert os.access(f"{sent['directory']}/dags/a.py", os.X_OK)


def test_what_is_wrong_with_a_source_is_one_message(run: Run, source: Path, storage: Path) -> None:
    (source / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    result = run(remote_src=True)
    assert "problems" not in result  # people would read everything twice
    assert result["msg"].splitlines() == [
        "Source 'etl' cannot be published:",
        "- pipe is a pipe, neither a file nor a link",
        "- passwd is a link to the absolute path /etc/passwd",
    ]
    assert [each.name for each in storage.iterdir()] == [".airflow-dag-storage"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "../ml"}, "is no source's name"),
        ({"name": ".hidden"}, "is no source's name"),
        ({"name": ""}, "is no source's name"),
        ({"file_mode": "rw-r--r--"}, "file_mode is 'rw-r--r--'"),
        ({"directory_mode": "4755"}, "directory_mode is '4755'"),
        ({"owner": "nobody-of-that-name"}, "there is no user nobody-of-that-name on this host"),
        ({"group": "nogroup-of-that-name"}, "there is no group nogroup-of-that-name on this host"),
        ({"file_mode": 0o640}, "file_mode is 416; it must be an octal number in quotes"),
        ({"directory_mode": 0o750}, "directory_mode is 488; it must be an octal number in quotes"),
        ({"file_mode": None}, "file_mode is None"),
        ({"owner": "²"}, "there is no user ² on this host"),
        ({"owner": "99999999999"}, "99999999999 is no number of a user; the largest is 4294967294"),
        ({"group": "4294967295"}, "4294967295 is no number of a group"),
        ({"group": "9" * 5000}, "is no number of a group"),
        ({"owner": "a\0b"}, "there is no user a\0b on this host"),
        ({"subdirectory": "a\0b"}, "cannot be read: "),
        (
            {"path": "/nowhere"},
            f"- /nowhere is not a directory on {HERE}; if it is on the controller, leave remote_src out",
        ),
        ({"archive": "/a.tar"}, f"- /a.tar does not exist on {HERE}; if it is on the controller, leave"),
        ({"subdirectory": "nowhere"}, "has no directory nowhere"),
        ({"remote_src": False}, "only the action plugin can read"),
        ({"storage": "/nowhere"}, "/nowhere is not a DAG storage"),
        ({"sentinel": ".another"}, ".another is missing"),
    ],
)
def test_wrong_arguments(run: Run, storage: Path, arguments: dict[str, Any], message: str) -> None:
    result = run(**{"remote_src": True, **arguments})
    assert result["failed"] is True
    assert message in result["msg"]
    assert [each.name for each in storage.iterdir()] == [".airflow-dag-storage"]


def test_check_mode_before_anything_is_there(run: Run, tmp_path: Path) -> None:
    result = run(
        check=True, remote_src=True, storage=str(tmp_path / "none"), owner="not-yet-made", group="not-yet-made"
    )
    assert (result["changed"], result["counts"]["added"]) == (True, 2)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"keep": 0}, "keep is 0; it must be at least 1"),
        ({"minimum_age": -1}, "minimum_age is -1; it must be at least 0"),
        ({"lock_timeout": -1}, "lock_timeout is -1; it must be at least 0"),
    ],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_numbers_that_mean_nothing_are_refused(run: Run, arguments: dict[str, Any], problem: str, state: str) -> None:
    assert run(remote_src=True, state=state, **arguments)["msg"] == problem


def test_what_was_done_for_other_sources_is_told_with_a_failure(
    run: Run, run_module: Any, storage: Path, source: Path
) -> None:
    release = run(remote_src=True)["release"]
    (storage / "ml/mine").mkdir(parents=True)
    result = run_module(dag_sync.main, storage=str(storage), sources=[{"name": "etl"}, {"name": "ml"}], state="absent")
    assert result["failed"] is True
    assert result["msg"].startswith("Source 'ml' was not removed: ")
    assert (result["changed"], list(result["sources"])) == (True, ["etl"])
    assert result["sources"]["etl"]["pruned"] == [release]
