# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The core's locks are whole, hashed, of one set of wishes, and tell nobody's package index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "airflow_core"
LOCKS = sorted((ROLE / "files" / "locks").glob("*.txt"))

_NAME = re.compile(r"airflow-(?P<airflow>[\d.]+)-python-(?P<python>3\.\d+)\.txt")
_HASHED = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; \S.*)?((?: --hash=sha256:[0-9a-f]{64})+)")


def requirements(lock: Path) -> dict[str, str]:
    """Version by package, of a lock in which every line is a comment or a pin with hashes."""
    found = {}
    for line in lock.read_text(encoding="utf-8").replace(" \\\n    ", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        pin = _HASHED.fullmatch(line)
        assert pin, f"{lock.name}: {line[:100]}"
        found[pin["name"]] = pin["version"]
    return found


@pytest.fixture(name="lock", params=LOCKS, ids=lambda lock: lock.stem)
def each_lock(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_is_a_lock_for_each_python_that_airflow_runs_on() -> None:
    names = [_NAME.fullmatch(lock.name) for lock in LOCKS]
    assert [(name["airflow"], name["python"]) for name in names if name] == [
        ("3.3.2", "3.11"),
        ("3.3.2", "3.12"),
        ("3.3.2", "3.13"),
    ]


def test_every_package_is_pinned_with_hashes(lock: Path) -> None:
    found = requirements(lock)
    name = _NAME.fullmatch(lock.name)
    assert name
    assert found["apache-airflow"] == found["apache-airflow-core"] == name["airflow"]
    assert {f"apache-airflow-providers-{provider}" for provider in ("amazon", "celery", "fab", "postgres")} <= set(
        found
    )


def test_celery_is_one_that_the_provider_can_import(lock: Path) -> None:
    major, minor = requirements(lock)["celery"].split(".")[:2]
    assert (int(major), int(minor)) < (5, 7)


def test_a_worker_can_consume_from_each_kind_of_broker(lock: Path) -> None:
    """SQS: kombu asks through pycurl, signed by boto3."""
    assert {"amqp", "redis", "boto3", "pycurl"} <= set(requirements(lock))


def test_the_lock_fits_the_first_patch_release_of_its_python() -> None:
    # Debian 12 has Python 3.11.2, and from 3.11.3 on aiohttp and redis do without this package.
    assert "async-timeout" in requirements(ROLE / "files" / "locks" / "airflow-3.3.2-python-3.11.txt")


def test_the_wishes_are_those_that_were_locked() -> None:
    wishes = (ROLE / "files" / "locks" / "airflow.in").read_text(encoding="utf-8")
    [version] = re.findall(r"^apache-airflow\[\S+\]==(\S+)$", wishes, re.MULTILINE)
    assert {lock.name.split("-")[1] for lock in LOCKS} == {version}


def test_uv_is_the_one_that_the_tools_are_installed_with() -> None:
    [pin] = re.findall(r"^uv==(\S+)", (ROOT / "requirements" / "bootstrap.txt").read_text("utf-8"), re.MULTILINE)
    wheels = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))["__airflow_core_uv_wheels"]
    for machine, wheel in wheels.items():
        assert wheel["file"].startswith(f"uv-{pin}-")
        assert wheel["file"].endswith(f"_{machine}.whl")
