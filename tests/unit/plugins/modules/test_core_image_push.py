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
from typing import Any, NamedTuple

import pytest

from ansible_collections.airstack.backbone.plugins.modules import core_image_push, core_registry_info
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.queues.brokers import free_port
from ansible_collections.airstack.backbone.tests.unit.services import image_registry
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority

pytestmark = [needs.root, needs.podman, needs.docker_registry]

Run = Callable[..., dict[str, Any]]


@pytest.fixture(name="registry", scope="module")
def registry_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with image_registry.running(tmp_path_factory.mktemp("registry")) as host:
        yield host


Make = Callable[..., str]


@pytest.fixture(name="image")
def image_of_one_file(registry: str, tmp_path: Path) -> Iterator[Make]:
    """Makes an image of the registry's name with a content."""
    name = f"test-{os.getpid()}-{tmp_path.name[-12:].replace('_', '-')}:1.0".lower()

    made: list[str] = []

    def make(content: str, host: str = registry) -> str:
        with tarfile.open(tmp_path / "root.tar", "w") as archive:
            member = tarfile.TarInfo("content")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
        root = str(tmp_path / "root.tar")
        reference = f"{host}/data/{name}"
        subprocess.run(["podman", "import", "--quiet", root, reference], check=True, capture_output=True)
        look = ["podman", "image", "inspect", "--format", "{{.Id}}", reference]
        made.append(subprocess.run(look, check=True, capture_output=True, text=True).stdout.strip())
        return reference

    yield make
    subprocess.run(["podman", "rmi", "--force", "--ignore", *made], check=True, capture_output=True)


@pytest.fixture(name="run")
def run_core_image_push(run_module: Any) -> Run:
    return partial(run_module, core_image_push.main, tls=False)


def test_an_image_is_pushed_once_and_named_by_its_digest(run: Run, image: Make, run_module: Any) -> None:
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


def test_another_image_of_the_name_is_pushed(run: Run, image: Make) -> None:
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


def test_a_registry_that_does_not_answer_is_told(run: Run, image: Make) -> None:
    reference = image("one")
    other = f"127.0.0.1:{free_port()}/data/airflow:1.0"
    subprocess.run(["podman", "tag", reference, other], check=True)
    said = run(reference=other)["msg"]
    assert "cannot be asked" in said
    assert "airflow_core_registry_tls" in said


class Guarded(NamedTuple):
    """A registry with TLS and a user: its host, and the certificate of its authority."""

    host: str
    ca: Path


@pytest.fixture(name="guarded", scope="module")
def registry_with_tls_and_a_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder, "authority")
    with image_registry.running(folder, authority) as host:
        yield Guarded(host, authority.ca)


def test_a_registry_with_tls_and_a_user_has_the_image_too(guarded: Guarded, image: Make, run_module: Any) -> None:
    reference = image("one", guarded.host)
    known = {"ca_path": str(guarded.ca), "username": image_registry.USER, "password": image_registry.PASSWORD}
    pushed = run_module(core_image_push.main, reference=reference, **known)
    assert pushed["changed"], pushed
    look = partial(run_module, core_registry_info.main, repository=reference.rpartition(":")[0])
    assert look(name="1.0", **known)["digest"] == pushed["digest"]
    assert not run_module(core_image_push.main, reference=reference, **known)["changed"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ca_path": None}, "name the certificate of its authority in airflow_core_registry_ca"),
        ({"ca_path": "/nowhere/ca.pem"}, "is to be in /nowhere/ca.pem, which cannot be read: No such file"),
        ({"password": "another"}, "answered 401: authentication required"),
        ({"username": None, "password": None}, "answered 401: authentication required"),
        ({"tls": False}, "answered 400"),
    ],
)
def test_a_registry_that_is_not_to_be_had_so_is_told(
    guarded: Guarded, image: Make, run_module: Any, changes: dict[str, Any], said: str
) -> None:
    known = {"ca_path": str(guarded.ca), "username": image_registry.USER, "password": image_registry.PASSWORD}
    given = {key: value for key, value in {**known, **changes}.items() if value is not None}
    refused = run_module(core_image_push.main, reference=image("one", guarded.host), **given)
    assert said in refused["msg"]
    assert image_registry.PASSWORD not in refused["msg"]
