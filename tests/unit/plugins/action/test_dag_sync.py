# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""dag_sync as Ansible runs it: the action plugin, the transfer and the module, through a local connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.action import dag_sync

COLLECTIONS = Path(dag_sync.__file__).parents[5]

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    airstack.backbone.dag_sync: {{storage: "{storage}", source: etl, src: source, subdirectory: dags, exclude: "*.md"}}
  tasks:
    - airstack.backbone.dag_sync:
      check_mode: true
      diff: true
    - airstack.backbone.dag_sync:
    - airstack.backbone.dag_sync:
    - ansible.builtin.copy: {{dest: "{source}/dags/b.py", content: "b = 2"}}
    - airstack.backbone.dag_sync:
    - airstack.backbone.dag_sync: {{src: nowhere}}
      ignore_errors: true
    - ansible.builtin.file: {{path: "{source}/dags/out", src: /etc, state: link}}
    - airstack.backbone.dag_sync:
      ignore_errors: true
    - airstack.backbone.dag_sync: {{src: "{source}", remote_src: true, exclude: [out]}}
"""


def test_from_the_controller(tmp_path: Path) -> None:
    storage, source = tmp_path / "storage", tmp_path / "files/source"
    storage.mkdir()
    (storage / ".airflow-dag-storage").touch()
    (source / "dags").mkdir(parents=True)
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
    said, first, again, _copied, second, nowhere, _linked, refused, remote = results

    assert (said["changed"], said["files"]["added"]) == (True, ["a.py"])
    assert said["diff"][1]["after"] == "a = 1\n"
    assert (first["changed"], first["release"], first["bytes"]) == (True, said["release"], 6)
    assert set(first["seconds"]) == {"read", "ask", "pack", "send", "write", "flush", "switch"}
    assert again["changed"] is False
    assert set(again["seconds"]) == {"read", "ask"}
    assert (second["changed"], second["files"]["added"], second["counts"]["unchanged"]) == (True, ["b.py"], 1)
    assert "nowhere" in nowhere["msg"]
    assert refused["problems"] == ["out is a link to the absolute path /etc"]
    assert remote["release"] != second["release"]
    assert remote["files"] == {"added": ["notes.md"], "changed": [], "removed": []}
    assert sorted(each.name for each in (storage / "etl").iterdir()) == [".lock", "current", "releases"]
    assert not list((tmp_path / "remote").iterdir())
    assert not list((tmp_path / "local").iterdir())
