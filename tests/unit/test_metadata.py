# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What galaxy.yml and meta/runtime.yml declare is what the code uses."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import ansible_collections.ansible.posix as installed_beside
import yaml

ROOT = pathlib.Path(__file__).parents[2]
INSTALLED = pathlib.Path(next(iter(installed_beside.__path__))).parents[1]

# A module as a task's key, a plugin in an expression, or Python that imports from a collection
_MODULE = re.compile(r"^\s*(?:-\s+)?([a-z]\w*\.[a-z]\w*)\.[a-z]\w*:", re.MULTILINE)
_PLUGIN = re.compile(r"""(?:lookup\(\s*['"]|\|\s*|is (?:not )?)([a-z]\w*\.[a-z]\w*)\.[a-z]\w*""")
_IMPORT = re.compile(r"\bansible_collections\.([a-z]\w*\.[a-z]\w*)")


def used_collections() -> set[str]:
    files = [
        ROOT / "site.yml",
        *(file for folder in ("playbooks", "roles", "plugins") for file in ROOT.glob(f"{folder}/**/*")),
    ]
    found: set[str] = set()
    for file in files:
        if file.suffix in {".yml", ".yaml", ".j2", ".py"} and file.is_file():
            text = file.read_text(encoding="utf-8")
            patterns = [_IMPORT] if file.suffix == ".py" else [_MODULE, _PLUGIN]
            found.update(match for pattern in patterns for match in pattern.findall(text))
    return {name for name in found if (INSTALLED / name.replace(".", "/")).is_dir()}


def test_dependencies_are_the_collections_in_use() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert set(galaxy["dependencies"]) == used_collections()


def test_the_changelog_and_its_fragments_hold() -> None:
    linter = pathlib.Path(sys.executable).with_name("antsibull-changelog")
    checked = subprocess.run([linter, "lint"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_action_group_names_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
    assert runtime["action_groups"]["airflow"] == modules
