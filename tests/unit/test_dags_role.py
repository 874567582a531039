# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the role airflow_dags says before it publishes anything, run by Ansible on this machine in check mode."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
UNUSUAL = "cowsay"
"""A package that hardly any machine has."""


def role(folder: pathlib.Path, tasks: str, python: str = sys.executable, **variables: t.Any) -> tuple[int, str]:
    """Run a file of the role's tasks, and return how that ended and what was said."""
    include = {"name": "airstack.backbone.airflow_dags", "tasks_from": tasks}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": include}]}
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    plan = {"dag_storage": {"publishes_in_pod": False}}
    given = json.dumps({"ansible_python_interpreter": python, "airflow_plan": plan, **variables})
    command = [pathlib.Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", "--check"]
    environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_HOME": str(folder)}
    run = subprocess.run(
        [*command, "-e", given, playbook], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    return run.returncode, " ".join(run.stdout.split())


@pytest.mark.parametrize(
    ("tasks", "variables", "problem"),
    [
        ("main", {"airflow_dags_keep": 0}, "airflow_dags_keep is 0; it must be at least 1"),
        ("main", {"airflow_dags_keep": "-1"}, "airflow_dags_keep is -1; it must be at least 1"),
        ("main", {"airflow_dags_minimum_age": -1}, "airflow_dags_minimum_age is -1; it must be at least 0"),
        ("rollback", {"airflow_dags_lock_timeout": -1}, "airflow_dags_lock_timeout is -1; it must be at least 0"),
        ("main", {"airflow_dags_keep": "ten"}, "argument ''airflow_dags_keep'' is of type str and we were unable to"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_by_their_names_before_anything_is_looked_at(
    tmp_path: pathlib.Path, tasks: str, variables: dict[str, t.Any], problem: str
) -> None:
    code, said = role(tmp_path, tasks, **variables)
    assert code != 0
    assert problem in said
    assert "Make a release" not in said
    assert "Ask Airflow" not in said


def test_check_mode_names_the_packages_that_are_missing_and_no_others(tmp_path: pathlib.Path) -> None:
    if subprocess.run([SYSTEM_PYTHON, "-c", "import apt"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs Debian's python3-apt on this machine")
    policy = subprocess.run(["apt-cache", "policy", UNUSUAL], capture_output=True, check=False, text=True).stdout
    if "Installed: (none)" not in policy or "Candidate: (none)" in policy:
        pytest.skip(f"needs a package that this machine's lists have and that is not installed: {UNUSUAL}")
    code, said = role(
        tmp_path,
        "install",
        SYSTEM_PYTHON,
        airflow_plan={"sources": [{"name": "etl", "origin": {"repository": "x", "lfs": True}}]},
        __airflow_dags_packages={"repository": ["dpkg"], "lfs": [UNUSUAL]},
    )
    assert code == 0, said
    assert f"In check mode nothing is installed, and without {UNUSUAL} the sources cannot be looked at." in said
