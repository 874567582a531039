# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""gate.sh and uv.sh, run for real with a core of one package."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

from ansible_collections.airstack.backbone.tests.unit.pipelines.running import PIPELINES, ROOT, committed, git, run

GATE = {
    "DAGS_SOURCE": "etl",
    "DAGS_SUBDIRECTORY": "dags",
    "DAGS_QUEUES": "etl,etl_highmem",
    "DAGS_AIRFLOW": "9.9.9",
    "DAGS_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
}

STUB_GATE = """\
import os, pathlib, sys, locked
print(sys.argv[1:], sorted(str(path) for path in pathlib.Path().rglob("*") if path.is_file()))
sys.exit(int("first = 2" in pathlib.Path("dags/orders.py").read_text()))
"""


@pytest.fixture(name="collection")
def collection_with_a_small_core(tmp_path: pathlib.Path) -> pathlib.Path:
    """The collection's scripts, and instead of Airflow a lock of one package, which lies beside it, and a gate that tells."""
    collection = tmp_path / "collection"
    shutil.copytree(PIPELINES, collection / "pipelines")
    core = collection / "roles" / "airflow_core" / "files"
    package = core / "airflow_backbone" / "airflow_backbone"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "gate.py").write_text(STUB_GATE, encoding="utf-8")
    real = ROOT / "roles" / "airflow_core" / "files" / "airflow_backbone"
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(real / name, core / "airflow_backbone" / name)
    wheel = tmp_path / "wheels" / "locked-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("locked.py", "")
        archive.writestr("locked-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: locked\nVersion: 1.0\n")
        archive.writestr("locked-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("locked-1.0.dist-info/RECORD", "locked.py,,\n")
    (core / "locks").mkdir()
    (core / "locks" / f"airflow-9.9.9-python-{GATE['DAGS_PYTHON']}.txt").write_text(
        f"locked==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n", encoding="utf-8"
    )
    return collection


def gate(
    repository: pathlib.Path, collection: pathlib.Path, *arguments: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    offline = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(collection.parent / "wheels"), "UV_PYTHON_DOWNLOADS": "never"}
    variables = {name: value for name, value in {**GATE, **offline, **changes}.items() if value}
    return run(repository, collection / "pipelines" / "dags" / "gate.sh", *arguments, **variables)


def test_the_gate_judges_what_git_has_with_the_locked_core(repository: pathlib.Path, collection: pathlib.Path) -> None:
    (repository / "dags" / "left_behind.py").touch()
    # A repository has no say in what is installed.
    committed(repository, **{"uv.toml": "no-index = nonsense", "notes": ""})
    git(repository, "rm", "--quiet", "--cached", "dags/left_behind.py")
    done = gate(repository, collection, "--jobs", "1", DAGS_POOLS="orders")
    assert done.returncode == 0, done.stderr
    called = "['--source', 'etl=dags', '--queues', 'etl=etl,etl_highmem', '--pools', 'orders', '--jobs', '1']"
    assert done.stdout.splitlines()[-1] == f"{called} ['dags/orders.py']"
    assert (
        git(repository, "status", "--short", "--ignored")
        == "D  dags/left_behind.py\n?? dags/left_behind.py\n!! .airstack/"
    )


def test_what_the_gate_says_is_what_the_step_says(repository: pathlib.Path, collection: pathlib.Path) -> None:
    committed(repository, dags__orders_py="first = 2\n")
    assert gate(repository, collection).returncode == 1


def test_a_package_of_another_hash_is_not_run(repository: pathlib.Path, collection: pathlib.Path) -> None:
    [lock] = (collection / "roles" / "airflow_core" / "files" / "locks").iterdir()
    lock.write_text(f"locked==1.0 --hash=sha256:{64 * '0'}\n", encoding="utf-8")
    done = gate(repository, collection)
    assert done.returncode == 2
    assert "Hash mismatch" in done.stderr
    assert "nothing was judged" in done.stderr
    lock.write_text("locked==1.0\n", encoding="utf-8")
    assert gate(repository, collection).returncode == 2


def test_the_gate_says_at_once_what_it_lacks(repository: pathlib.Path, collection: pathlib.Path) -> None:
    done = gate(repository, collection, DAGS_SOURCE="", DAGS_QUEUES="", DAGS_AIRFLOW="9.9.8", DAGS_SUBDIRECTORY="dgas")
    assert done.returncode == 2
    python = GATE["DAGS_PYTHON"]
    assert done.stderr.splitlines() == [
        "gate: the parameter DAGS_SOURCE is not given",
        "gate: the parameter DAGS_QUEUES is not given",
        f"gate: the collection has no airflow-9.9.8-python-{python}.txt; it has: airflow-9.9.9-python-{python}.txt",
        "gate: the repository has no file under dgas",
    ]
    assert (
        gate(repository / "dags", collection).stderr == f"gate: {repository}/dags is not the root of a git repository\n"
    )
    assert not (repository / ".airstack").exists()


IMAGE = f"registry.example.com/data/airflow@sha256:{64 * 'a'}"

STUB_ENGINE = """#!/bin/sh
echo "$@"
ls dags
exit "$CODE"
"""


def with_engine(repository: pathlib.Path, collection: pathlib.Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """The gate on a runner that has no uv, and whose podman tells how it was called; docker is not there."""
    programs = repository.parent / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("bash", "sh", "git", "tar", "dirname", "mkdir", "rm", "chmod", "head", "ls"):
        if not (programs / name).exists():
            (programs / name).symlink_to(str(shutil.which(name)))
    return gate(
        repository, collection, PATH=str(programs), DAGS_IMAGE=IMAGE, DAGS_AIRFLOW="", DAGS_PYTHON="", **changes
    )


@pytest.mark.parametrize(("code", "ends_with"), [(0, 0), (1, 1), (2, 2), (125, 2)])
def test_an_image_judges_what_git_has_and_nothing_is_installed(
    repository: pathlib.Path, collection: pathlib.Path, code: int, ends_with: int
) -> None:
    (repository / "dags" / "left_behind.py").touch()
    (repository.parent / "programs").mkdir()
    engine = repository.parent / "programs" / "podman"
    engine.write_text(STUB_ENGINE, encoding="utf-8")
    engine.chmod(0o755)
    done = with_engine(repository, collection, CODE=str(code))
    assert done.returncode == ends_with
    _title, called, *content = done.stdout.splitlines()
    assert called.endswith(
        f"/dags {IMAGE} python -P -m airflow_backbone.gate --source etl=dags --queues etl=etl,etl_highmem"
    )
    assert content == ["orders.py"]
    assert ("nothing was judged" in done.stderr) == (code == 125)
    assert {path.name for path in (repository / ".airstack").iterdir()} == {".gitignore", "content"}


def test_an_image_that_cannot_be_used_is_refused(repository: pathlib.Path, collection: pathlib.Path) -> None:
    done = with_engine(repository, collection)
    assert (done.returncode, done.stderr) == (
        2,
        f"gate: the runner has neither podman nor docker to run {IMAGE} with\n",
    )
    done = gate(repository, collection, DAGS_IMAGE="registry.example.com/data/airflow:3.3.2")
    assert done.returncode == 2
    assert "gate: DAGS_IMAGE is registry.example.com/data/airflow:3.3.2, which is no image by its digest" in done.stderr


def test_uv_is_installed_as_the_core_has_it_where_there_is_none(tmp_path: pathlib.Path) -> None:
    python = pathlib.Path(sys.executable).resolve().parent
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "sed", "head", "tr"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "bin" / "python3").symlink_to(python / "python3")
    done = run(
        tmp_path,
        PIPELINES / "shared" / "uv.sh",
        str(tmp_path / "uv"),
        PATH=str(tmp_path / "bin"),
        PIP_NO_INDEX="1",
        PIP_CONFIG_FILE=os.devnull,
    )
    wheels = yaml.safe_load((ROOT / "roles/airflow_core/vars/main.yml").read_text("utf-8"))["__airflow_core_uv_wheels"]
    version = wheels["x86_64"]["file"].split("-")[1]
    wanted = " ".join([f"uv=={version}", *(f"--hash=sha256:{wheel['sha256']}" for wheel in wheels.values())])
    assert (tmp_path / "uv" / "requirements.txt").read_text(encoding="utf-8") == wanted
    assert done.returncode != 0
    assert f"uv=={version}" in done.stderr
