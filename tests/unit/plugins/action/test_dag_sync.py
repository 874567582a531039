# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""dag_sync as Ansible runs it: the action plugin, the transfer and the module, through a local connection."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail

from ansible_collections.airstack.backbone.plugins.action import dag_sync
from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import SOURCE

COLLECTIONS = Path(dag_sync.__file__).parents[5]

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    etl: {{name: etl, path: source, subdirectory: dags, exclude: "*.md,tests/"}}
    remote: {{path: "{source}", remote_src: true}}
  module_defaults:
    airstack.backbone.dag_sync: {{storage: "{storage}", sources: ["{{{{ etl }}}}"]}}
  tasks:
    - airstack.backbone.dag_sync:
      check_mode: true
      diff: true
    - airstack.backbone.dag_sync:
    - airstack.backbone.dag_sync:
    - ansible.builtin.copy: {{dest: "{source}/dags/b.py", content: "b = 2"}}
    - airstack.backbone.dag_sync:
    - airstack.backbone.dag_sync: {{sources: ["{{{{ etl | combine({{'path': 'nowhere'}}) }}}}"]}}
      ignore_errors: true
    - ansible.builtin.file: {{path: "{source}/dags/out", src: /etc, state: link}}
    - airstack.backbone.dag_sync:
      ignore_errors: true
    - airstack.backbone.dag_sync: {{sources: ["{{{{ etl | combine(remote, {{'exclude': ['out', 'tests/']}}) }}}}"]}}
    - ansible.builtin.file: {{path: "{source}/dags/out", state: absent}}
    - airstack.backbone.dag_sync:
    - airstack.backbone.dag_sync: {{sources: ["{{{{ etl | combine(remote) }}}}"]}}
"""


def test_from_the_controller(tmp_path: Path) -> None:
    storage, source = tmp_path / "storage", tmp_path / "files/source"
    storage.mkdir()
    (storage / ".airflow-dag-storage").touch()
    (source / "dags/tests").mkdir(parents=True)
    (source / "dags/tests/test_a.py").write_text("not published either\n", encoding="utf-8")
    (source / "dags/a.py").write_text("a = 1\n", encoding="utf-8")
    (source / "dags/notes.md").write_text("not published\n", encoding="utf-8")
    (tmp_path / "ansible.cfg").touch()
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK.format(storage=storage, source=source), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook)]
    extra = ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run([*command, *extra], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = json.loads(done.stdout)["plays"][0]["tasks"]
    results: list[dict[str, Any]] = [task["hosts"]["localhost"] for task in tasks]
    said, first, again, _copied, second, nowhere, _linked, refused, remote, _removed, back, same = results

    tasks_seconds = [set(result["seconds"]) for result in (first, again)]
    assert tasks_seconds == [{"read", "ask", "pack", "send", "publish"}, {"read", "ask"}]
    said, first, again, second, remote, back, same = (
        {**result, **result["sources"]["etl"]} for result in (said, first, again, second, remote, back, same)
    )
    assert (said["changed"], said["files"]["added"]) == (True, ["a.py"])
    assert said["diff"][1]["after"] == "a = 1\n"
    assert (first["changed"], first["release"], first["bytes"]) == (True, said["release"], 6)
    assert set(first["seconds"]) == {"ask", "read", "write", "flush", "switch"}
    assert again["changed"] is False
    assert (second["changed"], second["files"]["added"], second["counts"]["unchanged"]) == (True, ["b.py"], 1)
    assert "nowhere" in nowhere["msg"]
    assert refused["msg"] == "Source 'etl' cannot be published:\n- out is a link to the absolute path /etc"
    assert remote["release"] != second["release"]
    assert remote["files"] == {"added": ["notes.md"], "changed": [], "removed": []}
    assert back["release"] == second["release"]
    assert (same["changed"], same["release"]) == (False, second["release"])
    assert sorted(each.name for each in (storage / "etl").iterdir()) == [".history", ".lock", "current", "releases"]
    assert not list((tmp_path / "remote").iterdir())
    assert not list((tmp_path / "local").iterdir())


Answer = dict[str, Any]
Act = Callable[..., tuple[Answer, Mock]]


@pytest.fixture(name="act")
def act_on_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Act:
    """The action plugin on a host whose module gives these answers."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.py").write_text("a = 1\n", encoding="utf-8")
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))

    def run(arguments: Answer, *answers: Answer) -> tuple[Answer, Mock]:
        of_source = {"name": "etl", **({} if "archive" in arguments else {"path": str(tmp_path / "source")})}
        for name in SOURCE.keys() & arguments.keys():
            of_source[name] = arguments.pop(name)
        args = {"storage": "/srv/dags", "sources": [of_source], **arguments}
        action = dag_sync.ActionModule(
            task=Mock(args=args, async_val=0, check_mode=False, diff=False),
            connection=Mock(),
            play_context=Mock(),
            loader=Mock(),
            templar=Mock(),
            shared_loader_obj=Mock(),
        )
        module = Mock(side_effect=[dict(answer) for answer in answers])
        for name in ("_transfer_file", "_fixup_perms2"):
            monkeypatch.setattr(action, name, Mock())
        monkeypatch.setattr(action, "_execute_module", module)
        monkeypatch.setattr(action, "_find_needle", Mock(side_effect=AnsibleActionFail("Could not find it")))
        return action.run(task_vars={}), module

    return run


MISSING: Answer = {"changed": True, "missing": {"etl": []}}
OUTDATED: Answer = {"failed": True, "msg": "the content of a.py was not sent", "is_outdated": True}
PUBLISHED: Answer = {"changed": True, "sources": {"etl": {"release": "1"}}}


def test_another_publish_between_asking_and_sending_is_a_reason_to_ask_again(act: Act) -> None:
    result, module = act({}, MISSING, OUTDATED, MISSING, PUBLISHED)
    assert (result["changed"], result["sources"]["etl"]["release"], module.call_count) == (True, "1", 4)
    result, module = act({}, MISSING, OUTDATED, MISSING, OUTDATED)
    assert (result["failed"], result["msg"], module.call_count) == (True, OUTDATED["msg"], 4)
    assert "is_outdated" not in result


@pytest.mark.parametrize("exclude", [5, [5], "*.md,tests/", None])
def test_what_may_be_read_as_a_list_is_read_as_the_module_does(act: Act, exclude: Any) -> None:
    if exclude is None:
        with pytest.raises(AnsibleActionFail, match="exclude"):
            act({"exclude": None})
        return
    result, module = act({"exclude": exclude}, PUBLISHED)
    assert result["changed"]
    assert module.call_args.kwargs["module_args"]["sources"][0]["exclude"] == exclude


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exclude": {"a": 1}}, "exclude"),
        ({"remote_src": "perhaps"}, "remote_src"),
        ({"surprise": 1}, "Unsupported parameters for"),
    ],
)
def test_wrong_arguments_reach_no_host(act: Act, arguments: Answer, message: str) -> None:
    with pytest.raises(AnsibleActionFail, match=message):
        act(arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"subdirectory": 5}, "has no directory 5"),
        ({"subdirectory": "a\0b"}, "cannot be read"),
        ({"path": "~nosuchuser/x"}, "path: Could not find it; if it is on the managed host, set remote_src to true"),
        (
            {"path": "/x"},
            "/x is not a directory on the controller; if it is on the managed host, set remote_src to true",
        ),
        (
            {"archive": "/x"},
            "/x does not exist on the controller; if it is on the managed host, set remote",
        ),
        ({"path": None}, "neither path, repository, archive, s3 nor release"),
        ({"path": ""}, "neither path, repository, archive, s3 nor release"),
        ({"path": "", "remote_src": True}, "neither path, repository, archive, s3 nor release"),
        ({"name": "../ml"}, "is no source's name"),
        ({"name": None}, "is no source's name"),
    ],
)
def test_what_cannot_be_read_here_reaches_no_host(act: Act, arguments: Answer, problem: str) -> None:
    result, module = act(arguments)
    assert result["failed"]
    assert problem in result["msg"]
    assert "problems" not in result
    assert not module.called


def test_a_path_with_a_tilde_is_the_managed_hosts(act: Act) -> None:
    _result, module = act({"path": "~/dags", "remote_src": True}, PUBLISHED)
    assert module.call_args.kwargs["module_args"]["sources"] == [{"name": "etl", "path": "~/dags", "remote_src": True}]


def test_a_path_of_the_managed_host_is_not_the_controllers(act: Act) -> None:
    _result, module = act({"storage": "~/dags"}, PUBLISHED)
    assert module.call_args.kwargs["module_args"]["storage"] == "~/dags"


def test_a_name_may_be_as_long_as_a_directory_takes(act: Act) -> None:
    name = "n" * 255
    result, _module = act({"name": name}, {"missing": {name: []}}, PUBLISHED)
    assert result["changed"]


def test_a_controller_without_room_is_said(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(dag_sync, "pack", full)
    with pytest.raises(AnsibleActionFail, match=r"controller could not pack .*: No space left on device\. Make room"):
        act({}, MISSING)


def test_a_file_that_is_gone_when_it_is_packed_is_named(
    act: Act, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dag_sync.pack

    def pack_late(*arguments: Any) -> None:
        (tmp_path / "source/a.py").unlink()
        real(*arguments)

    monkeypatch.setattr(dag_sync, "pack", pack_late)
    result, _module = act({}, MISSING)
    assert result["msg"] == (
        "Source 'etl' cannot be published:\n- a.py cannot be read: No such file or directory; publish again"
    )


@pytest.mark.parametrize("code", [-9, 137])
def test_a_publisher_that_was_killed_is_said_so(act: Act, code: int) -> None:
    killed = {"failed": True, "rc": code, "module_stdout": "", "msg": "No start of json char found"}
    result, _module = act({}, killed)
    assert result["failed"]
    assert "was killed" in result["msg"]
    assert "Run this again" in result["msg"]
