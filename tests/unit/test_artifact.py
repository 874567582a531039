# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What `ansible-galaxy collection build` packs: all that a user needs, and nothing that only tests or develops."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tarfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# What may stand at an artifact's top. A new name belongs here, or in galaxy.yml's build_ignore.
SHIPPED = {
    "CHANGELOG.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "examples",
    "inventories",
    "locks",
    "meta",
    "pipelines",
    "playbooks",
    "plugins",
    "roles",
    "site.yml",
}


@pytest.fixture(name="packed", scope="module")
def packed_files(tmp_path_factory: pytest.TempPathFactory) -> set[pathlib.PurePosixPath]:
    """The artifact's files, without its directories."""
    folder = tmp_path_factory.mktemp("artifact")
    galaxy = pathlib.Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run([galaxy, "collection", "build", "--output-path", folder], cwd=ROOT, check=True, capture_output=True)
    (artifact,) = folder.glob("airstack-backbone-*.tar.gz")
    with tarfile.open(artifact) as archive:
        return {pathlib.PurePosixPath(member.name) for member in archive if not member.isdir()}


@pytest.fixture(name="versioned", scope="module")
def versioned_files() -> set[pathlib.PurePosixPath]:
    """The repository's files that git does not ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {pathlib.PurePosixPath(name) for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_top_holds_only_what_ships(packed: set[pathlib.PurePosixPath]) -> None:
    assert {path.parts[0] for path in packed} <= SHIPPED


def test_no_test_or_hidden_file_is_packed(packed: set[pathlib.PurePosixPath]) -> None:
    wrong = [
        str(path)
        for path in packed
        if path.name.startswith("test_")
        or path.name == "conftest.py"
        or any(part.startswith(".") or part in {"tests", "molecule"} for part in path.parts)
    ]
    assert not wrong


def test_nothing_that_git_ignores_is_packed(
    packed: set[pathlib.PurePosixPath], versioned: set[pathlib.PurePosixPath]
) -> None:
    made_by_the_build = {pathlib.PurePosixPath("MANIFEST.json"), pathlib.PurePosixPath("FILES.json")}
    assert packed - made_by_the_build <= versioned


@pytest.mark.parametrize("folder", ["meta", "pipelines", "playbooks", "plugins", "roles"])
def test_the_whole_of_a_folder_is_packed(
    folder: str, packed: set[pathlib.PurePosixPath], versioned: set[pathlib.PurePosixPath]
) -> None:
    of_folder = {path for path in versioned if path.parts[0] == folder and not path.name.startswith(".")}
    assert of_folder
    assert of_folder <= packed
