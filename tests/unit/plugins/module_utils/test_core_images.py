# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an image of the core is built on, what it is called, and how a builder is asked for it."""

from __future__ import annotations

import json

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core import bases, images


@pytest.mark.parametrize(
    ("name", "python", "expected"),
    [
        ("docker.io/library/python:3.12-slim-bookworm", "", "3.12"),
        ("python:3.13@sha256:0a", "", "3.13"),
        ("registry.example.com:5000/mirror/python:3.11", "", "3.11"),
        ("registry.example.com/base@sha256:0a", "3.12", "3.12"),
        ("mmdebstrap:bookworm", "", "3.11"),
        ("mmdebstrap:trixie", "3.13", "3.13"),
    ],
)
def test_a_base_tells_its_python(name: str, python: str, expected: str) -> None:
    assert bases.base(name, python).python == expected
    assert bases.base_problems(name, python) == []


@pytest.mark.parametrize(
    ("name", "python", "problem"),
    [
        ("registry.example.com/base", "", "does not tell its Python"),
        ("registry.example.com/notpython:3.12", "", "does not tell its Python"),
        ("mmdebstrap:bullseye", "", "should be mmdebstrap:bookworm or mmdebstrap:trixie"),
        ("mmdebstrap:bookworm", "3.12", "mmdebstrap:bookworm brings Python 3.11"),
    ],
)
def test_a_base_that_cannot_be_is_refused(name: str, python: str, problem: str) -> None:
    (said,) = bases.base_problems(name, python)
    assert problem in said


def test_a_base_that_is_made_is_named_by_what_it_is_made_of() -> None:
    made = bases.base("mmdebstrap:bookworm")
    assert bases.reference(made, "recipe").startswith("localhost/airstack-core-base:bookworm-")
    assert len({bases.reference(made, *recipe) for recipe in (("a",), ("b",), ("a", "b"))}) == 3
    assert bases.reference(bases.base("python:3.12"), "recipe") == "python:3.12"


CONTEXT = {"Containerfile": "FROM a", "install.sh": "true"}


@pytest.mark.parametrize(
    "other",
    [
        ({**CONTEXT, "install.sh": "false"}, {"a": "b"}, "hash", "uv"),
        (CONTEXT, {"a": "c"}, "hash", "uv"),
        (CONTEXT, {"a": "b"}, "another", "uv"),
        (CONTEXT, {"a": "b"}, "hash", "another"),
    ],
)
def test_whatever_an_image_is_made_of_counts(other: tuple[dict[str, str], dict[str, str], str, str]) -> None:
    asked = images.inputs(CONTEXT, {"a": "b"}, "hash", "uv")
    assert asked == images.inputs(dict(reversed(CONTEXT.items())), {"a": "b"}, "hash", "uv")
    assert asked != images.inputs(*other)


@pytest.mark.parametrize(("network", "value"), [(False, "none"), (True, "default")])
def test_a_build_reaches_the_network_only_for_packages_of_the_system(network: bool, value: str) -> None:
    command = images.build_command("podman", "a:b", "/context", {"x": "y z"}, 5, network=network)
    assert command[command.index("--network") + 1] == value
    assert command[command.index("--timestamp") + 1] == "5"
    assert command[command.index("--label") + 1] == "x=y z"


def test_docker_is_asked_for_nothing_that_it_has_not() -> None:
    command = images.build_command("docker", "a:b", "/context", {}, 5, network=False)
    assert not {"--timestamp", "--layers=false"} & set(command)
    assert command[:3] == ["build", "--no-cache", "--force-rm"]


def test_labels_say_what_an_image_is() -> None:
    labels = images.all_labels({"a": "b"}, "hash", 1789603200, "inputs")
    assert labels == {
        "a": "b",
        "airstack.core.inputs": "inputs",
        "airstack.core.wheelhouse": "hash",
        "org.opencontainers.image.created": "2026-09-17T00:00:00Z",
    }


def test_an_image_is_read_from_what_the_builder_says() -> None:
    said = {"Id": "sha256:0a", "Digest": "sha256:0b", "Created": "2026", "Size": 1, "Labels": {"a": "b"}}
    assert images.inspected(json.dumps([said])) == images.Image("0a", "sha256:0b", "2026", 1, {"a": "b"})
    assert images.inspected(json.dumps([{**said, "Labels": None}])).labels == {}
