# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The image of the core, built by playbooks/core.yml on a base that mmdebstrap makes, run as strictly as can be, and promoted.

`make test-image`, as root: it downloads what the lock names, and takes some minutes.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ansible_collections.airstack.backbone.tests.image.core_images import CACHE, ROOT, SEALED, Controller
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.pipelines.running import committed, git

DAG = """\
import pendulum
from airflow.sdk import dag, task


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1))
def etl_orders():
    @task(queue="etl")
    def load():
        pass

    load()


etl_orders()
"""

pytestmark = [
    needs.root,
    needs.podman,
    needs.docker_registry,
    needs.mmdebstrap,
]


def test_the_same_is_not_built_again(controller: Controller) -> None:
    before = controller.image()["Id"]
    assert controller.core()[0] == 0
    assert controller.core("--check")[0] == 0
    assert controller.image()["Id"] == before


def test_check_mode_foresees_a_build_on_a_host_that_has_nothing(controller: Controller, tmp_path: Path) -> None:
    changed, said = controller.core("--check", "--diff", airflow_core_image_directory=str(tmp_path / "fresh"))
    assert changed == 3, said
    assert "the lock and the packages say now" in said
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("user", ["50000:0", "12345:0", "12345:12345"])
def test_it_runs_as_any_user_on_a_filesystem_that_is_read_only(controller: Controller, user: str) -> None:
    assert controller.run("airflow", "version", user=user) == "3.3.2"


def test_the_executor_and_a_teams_package_import(controller: Controller) -> None:
    modules = "airflow.providers.celery.executors.celery_executor, airflow_backbone.policy, team_hooks"
    controller.run("python", "-c", f"import {modules}")


def test_signals_go_to_the_main_process_alone(controller: Controller) -> None:
    assert controller.run("cat", "/proc/1/cmdline").startswith("dumb-init\0--\0cat")
    assert controller.run("printenv", "DUMB_INIT_SETSID") == "0"


def test_it_has_neither_compiler_nor_installer_nor_wheels(controller: Controller) -> None:
    found = controller.run(
        "sh",
        "-c",
        "for name in cc gcc make uv pip; do command -v $name; done; find / -xdev -name '*.whl' -not -path '/proc/*'; :",
    )
    assert found == ""


def test_bytecode_is_there_and_looks_at_no_source(controller: Controller) -> None:
    """The flags after the magic number (PEP 552): 1 is a hash that nobody checks."""
    flags = controller.run(
        "python",
        "-c",
        "import airflow, importlib.util; print(open(importlib.util.cache_from_source(airflow.__file__), 'rb').read()[4:8].hex())",
    )
    assert flags == "01000000"


def test_labels_say_what_it_is_made_of(controller: Controller) -> None:
    labels = controller.image()["Labels"]
    wheelhouse = CACHE / "wheelhouses" / labels["airstack.core.wheelhouse"]
    assert (wheelhouse / "wheelhouse.json").is_file()
    assert labels["org.opencontainers.image.version"] == labels["airstack.core.airflow"] == "3.3.2"
    assert labels["airstack.core.python"] == "3.11"


def test_the_list_of_packages_is_that_of_the_image(controller: Controller) -> None:
    listed = {each["name"]: each["version"] for each in json.loads(controller.sbom.read_text())["components"]}
    program = (
        "import json, re; from importlib.metadata import distributions;"
        "print(json.dumps({re.sub('[-_.]+', '-', each.name).lower(): each.version for each in distributions()}))"
    )
    installed = json.loads(controller.run("python", "-c", program))
    assert listed == installed
    assert {"apache-airflow", "airflow-backbone", "team-hooks"} <= set(listed)


def test_the_lock_names_what_the_registry_has(controller: Controller) -> None:
    lock = controller.lock()
    assert (lock["environment"], lock["airflow_version"]) == ("acceptance", "3.3.2")
    assert lock["wheelhouse"] == controller.image()["Labels"]["airstack.core.wheelhouse"]
    name = controller.pull()
    assert json.loads(controller.podman("image", "inspect", name))[0]["Id"] == controller.image()["Id"]


@pytest.fixture(name="dags")
def repository_of_dags(tmp_path: Path) -> Path:
    """With a DAG whose task runs where the source's tasks may, and a file that was left behind."""
    folder = tmp_path / "etl"
    (folder / "dags").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    committed(folder, dags__orders_py=DAG)
    (folder / "dags" / "left_behind.py").write_text(f"{DAG}raise RuntimeError\n", encoding="utf-8")
    return folder


def judged(controller: Controller, dags: Path, *before: str, name: str = "") -> subprocess.CompletedProcess[str]:
    """What the gate of a pipeline says, run by a command or as it is."""
    given = {"DAGS_SOURCE": "etl", "DAGS_SUBDIRECTORY": "dags", "DAGS_QUEUES": "etl", "DAGS_IMAGE": name}
    script = "/pipelines/dags/gate.sh" if before else str(ROOT / "pipelines" / "dags" / "gate.sh")
    options = [word for key, value in given.items() for word in ("--env", f"{key}={value}")] if before else []
    command = [*before, *options, name, "bash", script] if before else [script]
    environment = {**controller.environment, **given}
    return subprocess.run(command, cwd=dags, env=environment, check=False, capture_output=True, text=True)


def test_the_gate_of_a_pipeline_judges_in_the_image(controller: Controller, dags: Path) -> None:
    name = controller.pull()
    done = judged(controller, dags, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"gate: the core of {name}" in done.stdout
    assert not (dags / ".airstack" / "core").exists()
    committed(dags, dags__orders_py=DAG.replace('queue="etl"', 'queue="ml"'))
    done = judged(controller, dags, name=name)
    assert done.returncode == 1
    assert "ml" in done.stdout


def test_the_gate_of_a_job_that_runs_in_the_image_needs_no_git(controller: Controller, dags: Path) -> None:
    """As GitLab has it: any user, who may write to the checkout, which nobody else has worked in."""
    name = controller.pull()
    (dags / "dags" / "left_behind.py").unlink()
    dags.chmod(0o777)
    mounts = ("--volume", f"{dags}:/build", "--volume", f"{ROOT / 'pipelines'}:/pipelines:ro", "--workdir", "/build")
    run = ("podman", "run", "--rm", *SEALED, "--user", "12345:0", "--tmpfs", "/tmp", *mounts)
    done = judged(controller, dags, *run, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"gate: the core of {name}" in done.stdout
    (dags / "dags" / "orders.py").write_text(
        DAG.replace("import pendulum", "import nothing_of_that_name"), encoding="utf-8"
    )
    done = judged(controller, dags, *run, name=name)
    assert done.returncode == 1
    assert "nothing_of_that_name" in done.stdout


def test_production_has_acceptances_image_and_builds_none(controller: Controller) -> None:
    promotion = {"environment": "prod", "airflow_core_promote_from": str(controller.folder / "acceptance")}
    foreseen, said = controller.core("--check", "--diff", **promotion)
    assert foreseen == 1, said
    assert not (controller.folder / "prod" / "core.lock.yml").exists()
    changed, said = controller.core(**promotion)
    assert changed == 1, said
    assert controller.lock("prod") == {**controller.lock(), "environment": "prod"}
    assert "Have all wheels in one directory" not in said
    assert controller.core(**promotion)[0] == 0


def test_an_image_that_the_registry_has_not_is_not_taken_over(controller: Controller) -> None:
    other = controller.folder / "other.yml"
    text = (controller.folder / "acceptance" / "core.lock.yml").read_text(encoding="utf-8")
    other.write_text(text.replace(controller.lock()["digest"], f"sha256:{'0' * 64}"), encoding="utf-8")
    changed, said = controller.core(environment="prod", airflow_core_promote_from=str(other))
    assert changed == -1
    assert "and the registry has no such image. Nothing was changed" in " ".join(said.split())
