# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""file_set against real files: what it writes, refuses, undoes, shows and hides."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.modules import file_set
from ansible_collections.airstack.backbone.tests.unit import needs

ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name
A_PLAIN_PATH = "a path is absolute and plain, without '.', '..', or slashes doubled or at its end"
SECRET = "line \"one\"\nline 'two' \\ of it\n"

Result = dict[str, Any]


Run = Callable[..., Result]


@pytest.fixture(name="run")
def run_file_set(run_module: Any) -> Run:
    return partial(run_module, file_set.main)


@pytest.fixture(name="umask", autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.lstat().st_mode):04o}"


def tree(root: Path) -> dict[str, tuple[str, bytes | str | None]]:
    """Everything below a directory: mode, and content or the target of a symlink."""
    found: dict[str, tuple[str, bytes | str | None]] = {}
    for path in sorted(root.rglob("*")):
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (mode_of(path), content)
    return found


def test_a_set_is_written_whole_and_a_second_time_nothing_changes(run: Run, tmp_path: Path) -> None:
    arguments = {
        "directories": [
            {"path": f"{tmp_path}/etc/credentials", "mode": "0700"},
            {"path": f"{tmp_path}/etc", "owner": ME, "group": MY_GROUP},
        ],
        "files": [
            {"path": f"{tmp_path}/etc/airflow.cfg", "content": "[core]\n", "mode": "0640", "restarts": ["b", "a"]},
            {"path": f"{tmp_path}/etc/credentials/key", "secret": "key", "restarts": ["b"]},
        ],
        "secrets": {"key": SECRET},
    }

    result = run(**arguments)

    assert result["changed"] is True
    assert result["changed_for"] == ["a", "b"]
    assert result["changed_files"] == [f"{tmp_path}/etc/airflow.cfg", f"{tmp_path}/etc/credentials/key"]
    assert result["changed_directories"] == [f"{tmp_path}/etc", f"{tmp_path}/etc/credentials"]
    assert tree(tmp_path) == {
        "etc": ("0755", None),
        "etc/airflow.cfg": ("0640", b"[core]\n"),
        "etc/credentials": ("0700", None),
        "etc/credentials/key": ("0600", SECRET.encode()),
    }
    again = run(**arguments)
    assert (again["changed"], again["changed_for"], again["diff"]) == (False, [], [])


def test_only_the_labels_of_changed_files_come_back(run: Run, tmp_path: Path) -> None:
    files = [
        {"path": f"{tmp_path}/{name}", "content": name, "restarts": [f"{name}.service", "all"]} for name in ("a", "b")
    ]
    run(files=files)
    files[1]["content"] = "other"

    result = run(files=files)

    assert result["changed_for"] == ["all", "b.service"]
    assert result["changed_files"] == [f"{tmp_path}/b"]


def test_a_wrong_mode_alone_is_corrected(run: Run, tmp_path: Path) -> None:
    (tmp_path / "unit").write_text("same")
    (tmp_path / "unit").chmod(0o666)
    directory = tmp_path / "private"
    directory.mkdir(0o755)

    result = run(
        directories=[{"path": str(directory), "mode": "0700"}],
        files=[{"path": f"{tmp_path}/unit", "content": "same", "restarts": ["unit"]}],
    )

    assert mode_of(tmp_path / "unit") == "0644"
    assert mode_of(directory) == "0700"
    assert result["changed_for"] == ["unit"]
    assert result["diff"] == [
        {
            "before_header": str(directory),
            "after_header": str(directory),
            "before": f"directory {ME}:{MY_GROUP} 0755\n",
            "after": f"directory {ME}:{MY_GROUP} 0700\n",
        },
        {
            "before_header": f"{tmp_path}/unit",
            "after_header": f"{tmp_path}/unit",
            "before": f"file {ME}:{MY_GROUP} 0666\n",
            "after": f"file {ME}:{MY_GROUP} 0644\n",
        },
    ]


@needs.root
def test_owner_and_group_are_set_by_name_and_by_number_and_left_alone_otherwise(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before")
    os.chown(tmp_path / "kept", 12345, 54321)

    arguments = {
        "files": [
            {"path": f"{tmp_path}/named", "content": "", "owner": "daemon", "group": "daemon"},
            {"path": f"{tmp_path}/numbered", "content": "", "owner": "12345", "group": "54321"},
            {"path": f"{tmp_path}/kept", "content": "after"},
        ]
    }
    run(**arguments)

    daemon = pwd.getpwnam("daemon")
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    assert owners == {
        "named": (daemon.pw_uid, grp.getgrnam("daemon").gr_gid),
        "numbered": (12345, 54321),
        "kept": (12345, 54321),
    }
    assert run(**arguments)["changed"] is False


def test_check_mode_works_where_nothing_is_there_yet_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    result = run(
        check=True,
        directories=[{"path": f"{tmp_path}/a/b", "owner": "nobody-yet", "group": "nobody-yet", "mode": "0750"}],
        files=[
            {"path": f"{tmp_path}/x/y/z", "content": "text\n", "owner": "nobody-yet", "restarts": ["z"]},
            {"path": f"{tmp_path}/x/y/cfg", "content": "text\n", "validate": "/does/not/exist %s"},
        ],
        prune=[{"path": f"{tmp_path}/x"}],
    )

    assert result["changed"] is True
    assert result["changed_for"] == ["z"]
    assert result["changed_directories"] == [f"{tmp_path}/a/b"]
    assert {entry["after"] for entry in result["diff"]} >= {
        "directory nobody-yet:nobody-yet 0750\n",
        f"file nobody-yet:{MY_GROUP} 0644\ntext\n",
    }
    assert tree(tmp_path) == {}


def test_all_problems_come_at_once_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "other").write_text("kept")
    before = tree(tmp_path)

    result = run(
        directories=[{"path": f"{tmp_path}/file"}, {"path": f"{tmp_path}/link"}],
        files=[
            {"path": f"{tmp_path}/good", "content": "x"},
            {"path": f"{tmp_path}/owned", "content": "x", "owner": "no-such-user", "group": "no-such-group"},
            {"path": f"{tmp_path}/missing/file", "content": "x"},
            {"path": f"{tmp_path}/other/file", "content": "x"},
            {"path": f"{tmp_path}/directory", "content": "x"},
        ],
        prune=[{"path": f"{tmp_path}/file"}],
    )

    assert result["failed"] is True
    assert result["problems"] == [
        f"{tmp_path}/file: a regular file, where a directory shall be",
        f"{tmp_path}/link: a symlink, where a directory shall be",
        f"{tmp_path}/owned: there is no user 'no-such-user' on this host",
        f"{tmp_path}/owned: there is no group 'no-such-group' on this host",
        f"{tmp_path}/missing: not there, and not in directories; {tmp_path}/missing/file needs it",
        f"{tmp_path}/other: not a directory, so {tmp_path}/other/file cannot stand in it",
        f"{tmp_path}/directory: a directory, where a regular file shall be",
        f"{tmp_path}/file: a regular file; only a directory is pruned",
    ]
    for problem in result["problems"]:
        assert problem in result["msg"]
    assert tree(tmp_path) == before


def test_a_symlink_is_neither_followed_nor_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to("target")

    result = run(files=[{"path": f"{tmp_path}/link", "content": "x"}])

    assert result["problems"] == [f"{tmp_path}/link: a symlink, where a regular file shall be"]
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"files": [{"path": "/x/f"}]}, "/x/f: give either content or secret"),
        (
            {"files": [{"path": "/x/f", "content": "a", "secret": "k"}], "secrets": {"k": "some text"}},
            "/x/f: give either content or secret",
        ),
        ({"files": [{"path": "/x/f", "secret": "k"}]}, "/x/f: its secret 'k' is no key of secrets"),
        (
            {"files": [{"path": "/x/f", "content": {"a": 1}}]},
            "/x/f: content is a dict; it is a string (to_json makes one)",
        ),
        (
            {"files": [{"path": "/x/f", "content": "", "mode": 420}]},
            '/x/f: mode is 420; it is a quoted string of four octal digits, such as "0644"',
        ),
        (
            {"directories": [{"path": "/x/d", "mode": "u=rwx"}]},
            "/x/d: mode is 'u=rwx'; it is a quoted string of four octal digits, such as \"0755\"",
        ),
        (
            {"files": [{"path": "/x/f", "content": "", "validate": "true"}]},
            "/x/f: validate is 'true'; %s in it has to stand for the file",
        ),
        (
            {"files": [{"path": "/x/f", "content": "", "validate": "true '%s"}]},
            '/x/f: validate is "true \'%s", which is no command: No closing quotation',
        ),
        *(
            (
                {"directories": [{"path": "/x/d", option: number}]},
                f"/x/d: {option} is {number!r}; as a number it is one from 0 to 4294967294",
            )
            for option in ("owner", "group")
            for number in ("²", "٣", "4294967295", "99999999999")
        ),
        ({"files": [{"path": "/x/f", "content": ""}, {"path": "/x/f", "content": ""}]}, "/x/f: listed more than once"),
        (
            {"files": [{"path": "/x/f", "content": ""}], "directories": [{"path": "/x/f"}]},
            "/x/f: listed more than once",
        ),
        ({"prune": [{"path": "/etc"}]}, "'/etc' in prune: a directory at the top of the system is never pruned"),
        ({"secrets": {"k": "some text"}}, "secret 'k': no file uses it; a host is sent what it needs alone"),
        (
            {"files": [{"path": "/x/f", "secret": "k"}], "secrets": {"k": 7}},
            "secret 'k': a int; it is a string (quote numbers)",
        ),
        *(
            (
                {"directories": [{"path": path}]},
                f"{path!r} in directories: {A_PLAIN_PATH}",
            )
            for path in ("relative", "/", "/a/../b", "/a/./b", "/a//b", "/a/", "//a")
        ),
        (
            {"files": [{"path": "/x/.file_set-1/f", "content": ""}]},
            "'/x/.file_set-1/f' in files: names that begin with .file_set- are for staging alone",
        ),
    ],
)
def test_what_is_wrong_without_looking_is_refused(run: Run, arguments: Result, problem: str) -> None:
    assert run(check=True, **arguments)["problems"] == [problem]


@pytest.mark.parametrize("place", ["path", "label", "pruned"])
def test_a_secret_that_would_be_starred_out_of_the_result_is_refused(run: Run, tmp_path: Path, place: str) -> None:
    file = {"path": f"{tmp_path}/{'hunter2' if place == 'path' else 'f'}", "secret": "k"}
    file["restarts"] = ["hunter2.service"] if place == "label" else []
    prune = [{"path": str(tmp_path), "restarts": ["hunter2"]}] if place == "pruned" else []

    result = run(files=[file], secrets={"k": "hunter2"}, prune=prune)

    assert result["problems"] == ["secret 'k': its value is part of a path or a label of this set; take a longer one"]
    assert tree(tmp_path) == {}


@pytest.fixture(name="logs", params=["our way", "Ansible's way"])
def way_of_logging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Ansible's way":
        monkeypatch.delattr(file_set.Module, "_log_invocation")
    return request.param


@pytest.mark.parametrize("secret", [SECRET, "one line", "pass'word", 'pass"word', "back\\slash", "tab\there", "ünï"])
@pytest.mark.parametrize("fails", [False, True])
def test_no_secret_in_result_diff_invocation_or_system_log(
    run_module: Any, tmp_path: Path, logs: str, secret: str, fails: bool
) -> None:
    (tmp_path / "key").write_text("the former secret")
    validate = "/bin/sh -c 'cat \"$1\" >&2; exit 3' - %s" if fails else "test -f %s"

    result = run_module(
        file_set.main,
        verbose=True,
        files=[
            {"path": f"{tmp_path}/key", "secret": "key", "validate": validate},
            {"path": f"{tmp_path}/open", "content": "nothing to hide\n"},
        ],
        secrets={"key": secret},
    )

    assert f"{tmp_path}/key" in run_module.logged[0]
    assert ("nothing to hide" in run_module.logged[0]) == (logs == "Ansible's way")
    shown = [run_module.printed, *run_module.logged]
    for line in [*secret.splitlines(), "the former secret"]:
        for form in (line, json.dumps(line)[1:-1], repr(line)[1:-1]):
            assert not any(form in text for text in shown)
    if fails:
        assert result["msg"].endswith("its words are withheld, since they may quote the secret")
    else:
        assert result["diff"] == [
            {
                "before_header": f"{tmp_path}/key",
                "after_header": f"{tmp_path}/key",
                "before": f"file {ME}:{MY_GROUP} 0644\nsecret: the former one\n",
                "after": f"file {ME}:{MY_GROUP} 0600\nsecret: another one\n",
            },
            {
                "before_header": f"{tmp_path}/open",
                "after_header": f"{tmp_path}/open",
                "before": "",
                "after": f"file {ME}:{MY_GROUP} 0644\nnothing to hide\n",
            },
        ]


def test_a_secret_is_never_readable_by_others_while_it_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    rename = Path.rename

    def spy(self: Path, target: Path) -> Path:
        seen.append((mode_of(self.parent), mode_of(self)))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", spy)

    run(files=[{"path": f"{tmp_path}/key", "secret": "key"}], secrets={"key": SECRET})

    assert seen == [("0700", "0600")]


def test_a_file_is_validated_aside_under_its_own_name(run: Run, tmp_path: Path) -> None:
    arguments = {
        "files": [
            {"path": f"{tmp_path}/a b.service", "content": "good", "validate": "grep -q good %s"},
            {"path": f"{tmp_path}/c.service", "content": "bad", "validate": "/bin/sh -c 'echo no; exit 3' - %s"},
            {"path": f"{tmp_path}/d.service", "content": "bad", "validate": "/does/not/exist %s"},
            {"path": f"{tmp_path}/e.service", "content": "bad", "validate": "ls %s/"},
        ]
    }

    result = run(**arguments)

    assert (
        result["problems"][0]
        == f"{tmp_path}/c.service: refused by \"/bin/sh -c 'echo no; exit 3' - %s\" with exit status 3: no"
    )
    assert result["problems"][1].startswith(
        f"{tmp_path}/d.service: '/does/not/exist', which validates it, cannot be run"
    )
    assert f"'{tmp_path}/e.service/'" in result["problems"][2]
    assert len(result["problems"]) == 3
    assert tree(tmp_path) == {}


def test_prune_removes_only_what_it_is_told_to(run: Run, tmp_path: Path) -> None:
    units = tmp_path / "units"
    credentials = tmp_path / "credentials"
    for path in (
        units / "airflow-worker-old.service",
        units / "airflow-worker-new.service",
        units / "sshd.service",
        units / "airflow-worker-old.service.d" / "override.conf",
        credentials / "worker-old" / "key",
        credentials / "worker-new" / "key",
        credentials / "worker-new" / "stray",
        tmp_path / "outside",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
        path.chmod(0o644)
    (credentials / "empty").mkdir()
    (credentials / "wanted").mkdir()
    (credentials / "link").symlink_to(tmp_path / "outside")
    (credentials / "linked").symlink_to(units)
    arguments = {
        "directories": [{"path": str(credentials / "wanted")}],
        "files": [
            {"path": str(units / "airflow-worker-new.service"), "content": "text"},
            {"path": str(credentials / "worker-new" / "key"), "content": "text"},
        ],
        "prune": [
            {"path": str(units), "patterns": ["airflow-worker-*.service"], "restarts": ["daemon-reload"]},
            {"path": str(credentials), "recurse": True, "restarts": ["gone"]},
            {"path": str(credentials / "worker-old"), "restarts": ["gone twice"]},
            {"path": str(tmp_path / "not-there"), "restarts": ["never"]},
        ],
    }
    before = tree(tmp_path)

    predicted = run(check=True, **arguments)
    assert tree(tmp_path) == before
    result = run(**arguments)

    assert {key: predicted[key] for key in predicted} == {key: result[key] for key in result}
    assert result["removed_files"] == [
        str(credentials / "worker-new" / "stray"),
        str(credentials / "worker-old" / "key"),
        str(units / "airflow-worker-old.service"),
    ]
    assert result["removed_directories"] == [str(credentials / "empty"), str(credentials / "worker-old")]
    assert result["changed_for"] == ["daemon-reload", "gone", "gone twice"]
    assert set(before) - set(tree(tmp_path)) == {
        "credentials/empty",
        "credentials/worker-new/stray",
        "credentials/worker-old",
        "credentials/worker-old/key",
        "units/airflow-worker-old.service",
    }
    assert run(**arguments)["changed"] is False


@pytest.mark.parametrize("failing", range(4))
def test_a_rename_that_fails_undoes_the_earlier_ones(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    (tmp_path / "old").write_text("old content")
    (tmp_path / "old").chmod(0o640)
    (tmp_path / "same").mkdir(0o755)
    (tmp_path / "pruned").mkdir()
    (tmp_path / "pruned" / "stray").write_text("stray")
    before = tree(tmp_path)
    rename, count = Path.rename, 0

    def failing_rename(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == failing + 1:
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing_rename)

    result = run(
        directories=[{"path": f"{tmp_path}/new"}, {"path": f"{tmp_path}/same", "mode": "0700"}],
        files=[
            {"path": f"{tmp_path}/old", "content": "new content"},
            {"path": f"{tmp_path}/fresh", "content": "new content"},
            {"path": f"{tmp_path}/new/fresh", "content": "new content"},
        ],
        prune=[{"path": f"{tmp_path}/pruned"}],
    )

    assert result["problems"][0].endswith("No space left on device; nothing was changed")
    assert tree(tmp_path) == before


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in {".", ".."} and not name.startswith((".file_set-", "~")) and "$" not in name
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    existing=st.dictionaries(names, st.text(max_size=50), max_size=5),
    wanted=st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=50), max_size=5),
)
def test_afterwards_the_directory_holds_what_was_wanted_and_no_more(
    run: Run, tmp_path_factory: pytest.TempPathFactory, existing: dict[str, str], wanted: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("set")
    for name, text in existing.items():
        (root / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    arguments = {
        "files": [{"path": str(root / name), "content": text} for name, text in wanted.items()],
        "prune": [{"path": str(root)}],
    }

    result = run(**arguments)

    assert tree(root) == {name: ("0644", text.encode()) for name, text in wanted.items()}
    assert result["removed_files"] == sorted(str(root / name) for name in existing.keys() - wanted.keys())
    assert run(**arguments)["changed"] is False


def owed(tmp_path: Path, **more: Any) -> Result:
    """A set that notes what is to be restarted."""
    file = {"path": f"{tmp_path}/cfg", "content": "new", "restarts": ["worker", "api"]}
    return {"files": [file], "pending": f"{tmp_path}/var/pending/set", **more}


def test_labels_are_owed_until_the_file_of_pending_ones_is_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "stray").write_text("")
    pending = tmp_path / "var" / "pending" / "set"
    arguments = owed(tmp_path, prune=[{"path": str(tmp_path), "recurse": True, "restarts": ["pruned"]}])

    first = run(**arguments)

    assert (first["changed_for"], first["pending"]) == (["api", "pruned", "worker"], [])
    assert first["changed_directories"] == [f"{tmp_path}/var", f"{tmp_path}/var/pending"]
    assert tree(tmp_path) == {
        "cfg": ("0644", b"new"),
        "var": ("0755", None),
        "var/pending": ("0755", None),
        "var/pending/set": ("0600", b"api\npruned\nworker\n"),
    }
    for check in (True, False):
        again = run(check=check, **arguments)
        assert (again["changed"], again["changed_files"], again["diff"]) == (True, [], [])
        assert again["changed_for"] == again["pending"] == ["api", "pruned", "worker"]
    pending.unlink()
    after = run(**arguments)
    assert (after["changed"], after["changed_for"], after["pending"]) == (False, [], [])


def test_pending_labels_are_added_to_and_check_mode_only_tells_them(run: Run, tmp_path: Path) -> None:
    pending = tmp_path / "pending"
    pending.write_text("by hand")
    arguments = owed(tmp_path, pending=str(pending))
    before = tree(tmp_path)

    predicted = run(check=True, **arguments)

    assert tree(tmp_path) == before
    assert predicted == run(**arguments)
    assert predicted["changed_for"] == ["api", "by hand", "worker"]
    assert predicted["pending"] == ["by hand"]
    assert (mode_of(pending), pending.read_text()) == ("0600", "api\nby hand\nworker\n")


def test_check_mode_makes_no_directory_for_pending_labels(run: Run, tmp_path: Path) -> None:
    result = run(check=True, **owed(tmp_path))

    assert result["changed_for"] == ["api", "worker"]
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("directories", [[], ["var"], ["var", "var/pending"]])
def test_what_is_owed_for_a_run_that_was_killed_is_on_disk_before_anything_changes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directories: list[str]
) -> None:
    arguments = owed(tmp_path, directories=[{"path": f"{tmp_path}/{name}"} for name in directories])
    child = os.fork()
    if child == 0:
        rename, fsync, flushed = Path.rename, os.fsync, []

        def dying_rename(self: Path, target: Path) -> Path:
            if target.name == "cfg":
                os._exit(9 if {"set", "pending", "var", tmp_path.name} <= set(flushed) else 1)
            return rename(self, target)

        def spy(descriptor: int) -> None:
            flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            fsync(descriptor)

        monkeypatch.setattr(Path, "rename", dying_rename)
        monkeypatch.setattr(os, "fsync", spy)
        try:
            run(**arguments)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "cfg").exists()

    (tmp_path / "cfg").write_text("new")
    result = run(**arguments)

    assert (result["changed"], result["changed_for"]) == (True, ["api", "worker"])


@pytest.mark.parametrize("noted", [None, "before\n"])
def test_a_run_that_fails_owes_no_more_than_before(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: str | None
) -> None:
    if noted:
        (tmp_path / "var" / "pending").mkdir(parents=True)
        (tmp_path / "var" / "pending" / "set").write_text(noted)
    before = tree(tmp_path)
    rename = Path.rename

    def failing_rename(self: Path, target: Path) -> Path:
        if target.name == "cfg":
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing_rename)

    assert run(**owed(tmp_path))["problems"] == [f"{tmp_path}/cfg: No space left on device; nothing was changed"]
    assert tree(tmp_path) == before


def test_what_cannot_hold_pending_labels_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").write_text("")
    before = tree(tmp_path)

    def problem(pending: str) -> str:
        (only,) = run(**owed(tmp_path, pending=pending))["problems"]
        return str(only)

    assert problem(f"{tmp_path}/link") == f"{tmp_path}/link: a symlink, where the file of pending labels shall be"
    below = f"{tmp_path}/file/a/b"
    assert problem(below) == f"{tmp_path}/file: not a directory, so {below} cannot stand below it"
    assert problem(f"{tmp_path}/cfg") == f"{tmp_path}/cfg: listed more than once"
    assert problem("/a/../b") == f"'/a/../b' in pending: {A_PLAIN_PATH}"
    arguments = owed(tmp_path)
    arguments["files"][0]["restarts"] = ["two\nlines"]
    assert run(**arguments)["problems"] == [
        f"{tmp_path}/cfg: 'two\\nlines' in restarts; with pending, a label is one line that is not empty"
    ]
    assert tree(tmp_path) == before


def test_a_number_is_compared_as_one_and_shown_as_a_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    uid, gid = os.geteuid(), os.getegid()
    arguments = {
        "directories": [{"path": f"{tmp_path}/directory", "owner": str(uid), "group": f"{gid:010}"}],
        "files": [{"path": f"{tmp_path}/file", "content": "", "owner": str(uid), "group": str(gid), "mode": "0600"}],
    }

    assert [entry["after"] for entry in run(**arguments)["diff"]] == [
        f"directory {ME}:{MY_GROUP} 0755\n",
        f"file {ME}:{MY_GROUP} 0600\n",
    ]
    assert run(**arguments)["changed"] is False
    assert run(check=True, **arguments)["changed"] is False


@pytest.mark.parametrize("name", ["", "no\0body"])
def test_what_nobody_can_be_named_is_told(run: Run, tmp_path: Path, name: str) -> None:
    assert run(directories=[{"path": f"{tmp_path}/d", "owner": name, "group": name}])["problems"] == [
        f"{tmp_path}/d: there is no user {name!r} on this host",
        f"{tmp_path}/d: there is no group {name!r} on this host",
    ]


@pytest.mark.parametrize("check", [False, True])
def test_a_name_that_is_too_long_is_told(run: Run, tmp_path: Path, check: bool) -> None:
    parent = f"{tmp_path}/{'x' * 256}"

    result = run(check=check, files=[{"path": f"{parent}/f", "content": ""}], pending=f"{parent}/p/q")

    assert f"{parent}: File name too long" in result["problems"]
    assert tree(tmp_path) == {}


def stage(place: Path, name: str, age: float) -> Path:
    """A staging directory as a run leaves it that is killed, or still at work."""
    path = place / f".file_set-{name}"
    path.mkdir(0o700, parents=True)
    (path / "key").write_text("secret")
    os.utime(path, times=(time.time() - age,) * 2)
    return path


def test_stages_of_killed_runs_go_and_those_of_runs_at_work_stay(run: Run, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned"
    left = [stage(place, "left", 3700) for place in (tmp_path, tmp_path / "var", pruned, pruned / "below")]
    young = [stage(place, "young", 3500) for place in (tmp_path, pruned, pruned / "other")]
    file = pruned / ".file_set-file"
    file.write_text("")
    (tmp_path / ".file_set-link").symlink_to(tmp_path)
    os.utime(tmp_path / ".file_set-link", times=(0, 0), follow_symlinks=False)
    arguments = {
        "files": [{"path": f"{tmp_path}/f", "content": ""}],
        "prune": [{"path": str(pruned), "recurse": True, "restarts": ["never"]}],
        "pending": f"{tmp_path}/var/pending",
    }

    predicted = run(check=True, **arguments)
    assert all(path.exists() for path in left)
    result = run(**arguments)

    assert predicted == result
    assert result["removed_directories"] == sorted(map(str, [*left, pruned / "below"]))
    assert (result["removed_files"], result["changed_for"]) == ([], [])
    assert not any(path.exists() for path in left)
    assert all((path / "key").exists() for path in young)
    assert file.exists()
    assert run(**arguments)["changed"] is False


@needs.root
def test_a_stage_that_another_user_named_so_is_left_alone(run: Run, tmp_path: Path) -> None:
    other = stage(tmp_path, "other", 3700)
    os.chown(other, 12345, 12345)

    result = run(files=[{"path": f"{tmp_path}/f", "content": ""}], prune=[{"path": str(tmp_path), "recurse": True}])

    assert result["removed_directories"] == []
    assert (other / "key").exists()


def test_a_stage_that_goes_away_during_the_look_is_no_problem(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([*iterdir(self), self / ".file_set-gone"]))

    assert run(prune=[{"path": str(tmp_path)}])["changed"] is False


@pytest.mark.parametrize(
    ("mode", "wanted", "is_shown"),
    [(0o600, "0644", False), (0o400, "0640", False), (0o600, "0600", True), (0o640, "0644", True)],
)
def test_a_former_secret_is_not_shown_when_its_file_is_opened(
    run_module: Any, tmp_path: Path, mode: int, wanted: str, is_shown: bool
) -> None:
    (tmp_path / "key").write_text("the former text\n")
    (tmp_path / "key").chmod(mode)

    result = run_module(
        file_set.main, check=True, files=[{"path": f"{tmp_path}/key", "content": "open\n", "mode": wanted}]
    )

    assert ("the former text" in run_module.printed) == is_shown
    assert ("text that its owner alone could read\n" in result["diff"][0]["before"]) != is_shown
    assert result["diff"][0]["after"].endswith("open\n")


@pytest.mark.parametrize("failing", ["chown", "chmod"])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_directory_that_cannot_be_settled_is_as_before(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, is_there: bool
) -> None:
    path = tmp_path / "directory"
    if is_there:
        path.mkdir(0o755)
    before = tree(tmp_path)
    call, count = getattr(os, failing), 0

    def fail_once(*arguments: Any, **options: Any) -> None:
        nonlocal count
        count += 1
        if count == 1:
            raise PermissionError(1, "Operation not permitted", str(path))
        call(*arguments, **options)

    monkeypatch.setattr(os, failing, fail_once)

    result = run(directories=[{"path": str(path), "mode": "0750"}])

    assert result["problems"] == [f"{path}: Operation not permitted; nothing was changed"]
    assert tree(tmp_path) == before
