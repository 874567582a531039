# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""core_image_push with a real registry, and a small image that podman really pushes."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.modules import core_image_push, core_registry_info
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port
from ansible_collections.airstack.backbone.tests.unit.services import image_registry

pytestmark = [needs.root, needs.podman, needs.docker_registry]

Run = Callable[..., dict[str, Any]]


@pytest.fixture(name="registry", scope="module")
def registry_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with image_registry.running(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(name="image")
def image_of_one_file(registry: str, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes an image of the registry's name with a content."""
    reference = f"{registry}/data/test-{os.getpid()}-{tmp_path.name[-12:].replace('_', '-')}:1.0".lower()

    made: list[str] = []

    def make(content: str) -> str:
        with tarfile.open(tmp_path / "root.tar", "w") as archive:
            member = tarfile.TarInfo("content")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
        root = str(tmp_path / "root.tar")
        subprocess.run(["podman", "import", "--quiet", root, reference], check=True, capture_output=True)
        look = ["podman", "image", "inspect", "--format", "{{.Id}}", reference]
        made.append(subprocess.run(look, check=True, capture_output=True, text=True).stdout.strip())
        return reference

    yield make
    subprocess.run(["podman", "rmi", "--force", "--ignore", *made], check=True, capture_output=True)


@pytest.fixture(name="run")
def run_core_image_push(run_module: Any) -> Run:
    return partial(run_module, core_image_push.main, tls=False)


def test_an_image_is_pushed_once_and_named_by_its_digest(
    run: Run, image: Callable[[str], str], run_module: Any
) -> None:
    reference = image("one")
    foreseen = run(reference=reference, check=True)
    assert foreseen["changed"]
    assert "digest" not in foreseen
    pushed = run(reference=reference)
    assert pushed["changed"], pushed
    assert pushed["reference"] == f"{reference.rpartition(':')[0]}@{pushed['digest']}"
    pull = ["podman", "pull", "--quiet", "--tls-verify=false", pushed["reference"]]
    subprocess.run(pull, check=True, capture_output=True)
    look = partial(run_module, core_registry_info.main, repository=reference.rpartition(":")[0], tls=False)
    assert look(name=pushed["digest"])["digest"] == look(name="1.0")["digest"] == pushed["digest"]
    assert look(name="2.0")["digest"] is None
    again = run(reference=reference)
    assert (again["changed"], again["digest"]) == (False, pushed["digest"])
    assert not run(reference=reference, check=True)["changed"]


def test_another_image_of_the_name_is_pushed(run: Run, image: Callable[[str], str]) -> None:
    first = run(reference=image("one"))
    second = run(reference=image("two"))
    assert second["changed"]
    assert second["diff"]["before"] == f"{first['digest']}\n"
    assert second["diff"]["after"] == f"{second['digest']}\n"
    assert second["digest"] != first["digest"]


def test_an_image_that_is_not_there_is_refused(run: Run, registry: str) -> None:
    assert "is not on this host; build it first" in run(reference=f"{registry}/data/absent:1.0")["msg"]


def test_a_name_without_a_registry_is_refused(run: Run) -> None:
    assert "names no registry. Say in airflow_core_image" in run(reference="localhost/airflow:1.0")["msg"]


def test_a_registry_that_does_not_answer_is_told(run: Run, image: Callable[[str], str]) -> None:
    reference = image("one")
    other = f"127.0.0.1:{free_port()}/data/airflow:1.0"
    subprocess.run(["podman", "tag", reference, other], check=True)
    said = run(reference=other)["msg"]
    assert "cannot be asked" in said
    assert "airflow_core_registry_tls" in said
