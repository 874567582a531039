# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What every playbook's first tasks give to the roles."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
PLAY = {
    "name": "Plan",
    "hosts": "localhost",
    "connection": "local",
    "gather_facts": False,
    "vars_files": [str(ROOT / "playbooks" / "vars" / "secrets.yml")],
    "tasks": [
        {"name": "Plan", "ansible.builtin.import_tasks": str(ROOT / "playbooks" / "tasks" / "plan.yml")},
        {"name": "Say", "ansible.builtin.debug": {"msg": "the image is '{{ airflow_core_image_reference }}'"}},
    ],
}
OF_IMAGE = {"image": "registry.example.com/airflow", "digest": f"sha256:{64 * '0'}", "airflow_version": "3.3.2"}
OF_VENV = {"locks": {"3.13": 64 * "0"}, "backbone": 64 * "0", "airflow_version": "3.3.2"}


@pytest.mark.parametrize(
    ("lock", "reference"),
    [({}, ""), ({"airflow_core_deployed": OF_VENV}, ""), ({"airflow_core_deployed": OF_IMAGE}, "{image}@{digest}")],
    ids=["no-core", "virtual-environment", "image"],
)
def test_the_image_is_that_of_the_core_that_is_deployed(
    lock: dict[str, Any], reference: str, tmp_path: pathlib.Path
) -> None:
    playbook = tmp_path / "plan.yml"
    playbook.write_text(yaml.safe_dump([PLAY]), encoding="utf-8")
    given = {"airflow_secrets_directory": str(tmp_path / "secrets"), "airflow_secure_logging": False, **lock}
    run = subprocess.run(
        [
            *(pathlib.Path(sys.executable).with_name("ansible-playbook"), playbook),
            *("--inventory", ROOT / "inventories" / "local", "--extra-vars", json.dumps(given)),
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"the image is '{reference.format(**OF_IMAGE)}'" in run.stdout
