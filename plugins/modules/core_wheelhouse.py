#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_wheelhouse
short_description: Have all wheels of a core in a directory that bears their hash
version_added: 0.1.0
description:
  - Downloads the wheels of a lock with hashes, adds packages of one's own, built to wheels where they are none, and keeps
    them in a directory whose name is a hash over all of them. What is promoted from one environment to the next is that
    hash, and an image is built from that directory alone.
  - A wheelhouse of the same lock, packages and Python is not made again. The version of a repository is asked for each time.
  - Several runs on one host wait for each other.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.uv
options:
  path:
    description: The directory with the wheelhouses, of the user who runs this.
    type: path
    required: true
  sources:
    description:
      - The directory with C(requirements.txt), which has a hash for each package, and the projects in O(projects). Check mode
        does without it.
    type: path
    required: true
  projects:
    description: Directories in O(sources), each a Python project without dependencies that uv builds without an index.
    type: list
    elements: str
    default: []
  packages:
    description:
      - More packages, none of which the lock may have. What they depend on has to be in the lock.
      - A build cannot see a repository's history, so a version that is made of it has to be written down instead.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A wheel, or a directory with a Python project.
        type: path
      repository:
        description: A git repository with a Python project, as a URL, C(user@host:path), or an absolute path.
        type: str
      version:
        description: Its branch, tag or commit. When left out, the default branch.
        type: str
      subdirectory:
        description: Where the project is in the repository or directory.
        type: str
      username:
        description: Who fetches from the repository with O(packages[].token).
        type: str
      token:
        description: A password or token for the repository, over HTTPS.
        type: str
      ssh_key:
        description: A private key for the repository, over SSH.
        type: str
      known_hosts:
        description: The lines of a known_hosts file, for SSH.
        type: str
  python:
    description: The version of Python that the wheels are for, such as V(3.12).
    type: str
    required: true
  pip:
    description: An interpreter of this host that has pip, of any version of Python.
    type: path
    required: true
  keep:
    description: How many wheelhouses remain, this one included.
    type: int
    default: 3
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say whether a wheelhouse would be made, without changing anything of it.
  diff_mode:
    support: full
    description: Shows the packages of the newest wheelhouse before and of this one, with their versions.
notes:
  - Where O(index_url) is left out, pip reads its own settings alone, E(PIP_INDEX_URL) and its configuration.
  - Wheels are for glibc 2.28 or newer on the processor of this host.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_wheelhouse_info
  - module: airstack.backbone.core_image
"""

EXAMPLES = r"""
- name: Have the wheels of the core
  airstack.backbone.core_wheelhouse:
    path: /var/cache/airflow-core
    sources: /var/cache/airflow-core/sources/0a1b2c3d4e5f
    projects: [airflow_backbone]
    packages:
      - path: /srv/checkouts/hooks
      - repository: https://git.example.com/data/operators.git
        version: v1.4.0
    python: "3.12"
    pip: /usr/bin/python3
    uv: /usr/local/bin/uv
  register: wheelhouse
"""

RETURN = r"""
wheelhouse:
  description: The wheelhouse.
  returned: unless check mode would make it
  type: dict
  contains:
    path:
      description: Its directory.
      type: str
      sample: /var/cache/airflow-core/wheelhouses/6b1b36cbb04b41490bfc0ab2bfa26f86a1fd5ce1ff9c65e4fa5b9e0ae4d5b1c2
    hash:
      description: SHA-256 over the names and hashes of its wheels.
      type: str
      sample: 6b1b36cbb04b41490bfc0ab2bfa26f86a1fd5ce1ff9c65e4fa5b9e0ae4d5b1c2
    python:
      description: The version of Python that it is for.
      type: str
      sample: "3.12"
    timestamp:
      description: When the newest file in its wheels was made, in seconds since the epoch.
      type: int
      sample: 1789603200
    requirements:
      description: Its wheels as requirements with hashes.
      type: str
      sample: "apache-airflow==3.3.2 --hash=sha256:0a1b..."
removed:
  description: The hashes of wheelhouses that were removed.
  returned: success
  type: list
  elements: str
uv:
  description: The path of uv.
  returned: unless check mode would make the wheelhouse
  type: str
  sample: /var/cache/airflow-core/.uv/uv-0.13.9
"""

import hashlib
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import packages, wheelhouses, wheels
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason
from ansible_collections.airstack.backbone.plugins.module_utils._core.lock import locked
from ansible_collections.airstack.backbone.plugins.module_utils._core.uv import ARGUMENTS, Uv
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import scan
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import tree_hash


class Maker:
    """Makes one wheelhouse."""

    def __init__(self, module: AnsibleModule) -> None:
        self.parameters: dict[str, Any] = module.params
        self.root = Path(self.parameters["path"])
        # Without links: a file that is opened has to be where it was looked for.
        self.sources = Path(self.parameters["sources"]).resolve()
        self.uv = Uv(module)

    def inputs(self) -> str:
        """What names all that the wheelhouse is made of."""
        given = [
            self._lock(),
            [tree_hash(scan(self.sources / name)) for name in self.parameters["projects"]],
            self._identities(),
            self.parameters["python"],
            platform.machine(),
        ]
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()

    def check(self) -> None:
        """Look at what may be wrong with the packages, where there are no sources yet."""
        self._identities()

    def program(self) -> Path:
        """uv, which an image is built with, too."""
        return self.uv.program(self.root, None)

    def make(self, inputs: str) -> wheelhouses.Wheelhouse:
        """Download, build, and compare with what the lock says."""
        problems = wheels.lock_problems(self._lock())
        if problems:
            raise CoreError(
                f"The wheels of {self.sources / 'requirements.txt'} cannot be downloaded: {'; '.join(problems)}."
                " Write it with `uv pip compile --generate-hashes --python-version`, for the one Python."
            )
        folder = self.root / wheelhouses.FOLDER
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            downloaded, own, private = (Path(scratch) / name for name in ("wheels", "own", "private"))
            for each in (downloaded, own, private):
                each.mkdir()
            self._download(downloaded, private)
            self._build(own, private)
            problems = wheels.wheelhouse_problems(self._lock(), wheels.read(downloaded), wheels.read(own))
            problems += [
                f"{path.name} was built for one kind of machine; build such a package elsewhere, and give its wheel as path"
                for path in own.glob("*.whl")
                if not path.name.endswith("-any.whl") and path.name not in self._given_wheels()
            ]
            if problems:
                raise CoreError(
                    "The wheelhouse is not what the lock says:\n" + "\n".join(f"- {each}" for each in problems)
                )
            for path in own.glob("*.whl"):
                path.rename(downloaded / path.name)
            return wheelhouses.keep(self.root, downloaded, wheels.read(downloaded), inputs, self.parameters["python"])

    def _lock(self) -> str:
        return (self.sources / "requirements.txt").read_text(encoding="utf-8")

    def _identities(self) -> list[Any]:
        return packages.identities(self.parameters["packages"], self.root)

    def _given_wheels(self) -> set[str]:
        return {Path(each["path"]).name for each in self.parameters["packages"] if packages.is_wheel(each)}

    def _download(self, target: Path, private: Path) -> None:
        python = self.parameters["python"]
        abis = (f"cp{python.replace('.', '')}", "abi3", "none")
        self.uv.run(
            f"download the wheels of {self.sources / 'requirements.txt'} for Python {python}",
            [self.parameters["pip"], "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"],
            [
                *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", str(target)),
                *("--python-version", python, "--implementation", "cp"),
                *(option for abi in abis for option in ("--abi", abi)),
                *(option for tag in wheels.platforms(platform.machine()) for option in ("--platform", tag)),
                *("--requirement", str(self.sources / "requirements.txt")),
            ],
            **self._pip_configuration(private),
        )

    def _pip_configuration(self, private: Path) -> dict[str, str]:
        """An index that may hold a password goes through a file, neither command line nor environment."""
        url = self.parameters["index_url"]
        if not url:
            return {}
        os.environ.pop("PIP_INDEX_URL", None)
        file = private / "pip.conf"
        file.touch(0o600)
        file.write_text(f"[global]\nindex-url = {url}\n", encoding="utf-8")
        return {"PIP_CONFIG_FILE": str(file)}

    def _build(self, target: Path, private: Path) -> None:
        program = self.program()
        options = self.uv.configuration(private)
        for name in self.parameters["projects"]:
            source = private / name
            packages.fetch({**_NO_PACKAGE, "path": self.sources / name}, self.root, source)
            self._build_one(program, source, target, ["--no-index"])
        for number, package in enumerate(self.parameters["packages"]):
            if packages.is_wheel(package):
                packages.copy_wheel(package, target)
                continue
            source = private / f"package{number}"
            packages.fetch(package, self.root, source)
            self._build_one(program, source, target, options)

    def _build_one(self, program: Path, source: Path, target: Path, options: list[str]) -> None:
        """Build a wheel whose bytes depend on its source alone, as far as the project's backend can."""
        self.uv.run(
            f"build {source}",
            [str(program), "build", "--quiet", "--wheel", "--no-python-downloads", *options],
            ["--python", self.parameters["pip"], "--out-dir", str(target), str(source)],
            SOURCE_DATE_EPOCH=str(wheels.FIRST_ZIP_TIME),
        )


_NO_PACKAGE: dict[str, Any] = dict.fromkeys(packages.PACKAGE)


def _versions(wheelhouse: wheelhouses.Wheelhouse | None) -> str:
    return "".join(f"{each.name}=={each.version}\n" for each in wheelhouse.wheels) if wheelhouse else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "sources": {"type": "path", "required": True},
            "projects": {"type": "list", "elements": "str", "default": []},
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": packages.PACKAGE,
                "required_one_of": [("path", "repository")],
                "mutually_exclusive": [("path", "repository")],
            },
            "python": {"type": "str", "required": True},
            "pip": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 3},
            **ARGUMENTS,
        },
        required_one_of=[("uv", "uv_wheel")],
        supports_check_mode=True,
    )
    os.umask(0o022)
    root = Path(module.params["path"])
    maker = Maker(module)
    result: dict[str, Any] = {"changed": False, "removed": []}
    before = next(iter(wheelhouses.there(root)), None)
    try:
        if not module.check_mode:
            root.mkdir(parents=True, exist_ok=True)
        if module.check_mode and not maker.sources.is_dir():
            maker.check()
            wheelhouse = None
        else:
            inputs = maker.inputs()
            wheelhouse = _of(root, inputs)
        result["changed"] = wheelhouse is None
        if wheelhouse is None and not module.check_mode:
            with locked(root / ".lock"):
                wheelhouse = _of(root, inputs) or maker.make(inputs)
                result["removed"] = wheelhouses.prune(root, module.params["keep"], wheelhouse.hash)
        if wheelhouse is not None:
            result["wheelhouse"] = {
                "path": str(wheelhouse.path),
                "hash": wheelhouse.hash,
                "python": wheelhouse.python,
                "timestamp": wheelhouse.timestamp,
                "requirements": (wheelhouse.path / wheelhouses.REQUIREMENTS).read_text(encoding="utf-8"),
            }
            result["uv"] = str(maker.program())
    except CoreError as error:
        module.fail_json(msg=str(error), exception=None)
    except OSError as error:
        where = error.filename2 or error.filename or str(root)
        module.fail_json(msg=f"The wheelhouse was not made: {where}: {reason(error)}.", exception=None)
    if module._diff and result["changed"]:
        after = _versions(wheelhouse) if wheelhouse else "what the lock and the packages say now\n"
        result["diff"] = {"before": _versions(before), "after": after}
    module.exit_json(**result)


def _of(root: Path, inputs: str) -> wheelhouses.Wheelhouse | None:
    return next((each for each in wheelhouses.there(root) if each.inputs == inputs), None)


if __name__ == "__main__":
    main()
