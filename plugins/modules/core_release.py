#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_release
short_description: Build a release of the core and make it the current one
version_added: 0.1.0
description:
  - Builds a virtual environment out of hashed requirements with uv, at a path of its own. It becomes the current one
    only when the imports that the platform stands on succeed in it. Running components are not touched, for each of
    them names its release's path.
  - A release that is complete is not built again. One whose build was cut short is.
  - Several runs on one host, and several hosts with one cache, wait for each other. What one of them has downloaded the
    others find in the cache.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.uv
options:
  path:
    description: The directory with the releases. C(current) in it leads to the current one.
    type: path
    default: /opt/airflow/core
  release:
    description:
      - The release's name, which is also its directory's.
      - Letters, digits, C(.), C(_), C(+) and C(-), the first a letter or a digit; not V(current).
    type: str
    required: true
  sources:
    description:
      - The directory with C(requirements.txt), which has a hash for each package, and the projects in
        O(projects). Check mode does not look at it.
    type: path
    required: true
  projects:
    description: Directories in O(sources), each a Python project without dependencies that is built and installed too.
    type: list
    elements: str
    default: []
  wheels:
    description:
      - Files in O(sources), each a wheel whose dependencies are in C(requirements.txt), which is installed too.
      - With any, all packages have to fit together.
    type: list
    elements: str
    default: []
  python:
    description: The interpreter to build with.
    type: path
    default: /usr/bin/python3
  imports:
    description: Modules that must be importable before the release becomes the current one.
    type: list
    elements: str
    default: []
  keep:
    description:
      - How many releases remain after a build, this one included.
      - The current one, and those that a running process uses, remain in any case.
    type: int
    default: 2
  cache:
    description: uv's cache.
    type: path
    default: /var/cache/uv
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would change, without changing anything.
  diff_mode:
    support: full
    description: Shows the current release before and after.
notes:
  - uv trusts the system's certificates, unless E(UV_SYSTEM_CERTS) says otherwise.
  - Only wheels are installed. A host has no compiler, and a build would run code that no hash covers.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_release_info
"""

EXAMPLES = r"""
- name: Build the core
  airstack.backbone.core_release:
    release: 3.3.2-0a1b2c3d4e5f
    sources: /opt/airflow/core/.sources/3.3.2-0a1b2c3d4e5f
    projects: [airflow_backbone]
    python: /usr/bin/python3.11
    uv: /usr/local/bin/uv
    imports:
      - airflow.providers.celery.executors.celery_executor
"""

RETURN = r"""
release_path:
  description: The release's path.
  returned: success
  type: str
  sample: /opt/airflow/core/3.3.2-0a1b2c3d4e5f
built:
  description: Whether the release was built, or would be in check mode.
  returned: success
  type: bool
removed:
  description: The releases that were removed.
  returned: success
  type: list
  elements: str
  sample: [3.3.1-5e6f7a8b9c0d]
seconds:
  description: How long each step of a build took.
  returned: when a release was built
  type: dict
  sample: {uv: 2.1, packages: 11.0, imports: 8.2}
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import releases
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason
from ansible_collections.airstack.backbone.plugins.module_utils._core.lock import locked
from ansible_collections.airstack.backbone.plugins.module_utils._core.uv import ARGUMENTS, Uv


class Builder:
    """Builds one release. Public attribute `seconds`: what each step took."""

    def __init__(self, module: AnsibleModule) -> None:
        self.parameters: dict[str, Any] = module.params
        self.root = Path(self.parameters["path"])
        self.path = self.root / self.parameters["release"]
        self.sources = Path(self.parameters["sources"])
        self.cache = Path(self.parameters["cache"])
        self.uv = Uv(module)
        self.seconds: dict[str, float] = {}

    def build(self) -> None:
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CoreError(f"The cache {self.cache} cannot be made: {reason(error)}.") from error
        with tempfile.TemporaryDirectory() as scratch:
            options = self.uv.configuration(Path(scratch))
            with locked(self.cache / ".airstack.lock"):
                with self._timed("uv"):
                    program = self.uv.program(self.root, self.cache)
                with self._timed("packages"):
                    releases.start(self.root, self.path.name)
                    self._install_packages(program, options)
            self._install_projects(program, options)
            self._install_wheels(program, options)
            with self._timed("imports"):
                self._try_imports(Path(scratch))
        releases.finish(
            self.path,
            {
                "release": self.path.name,
                "python": self.parameters["python"],
                "sources": str(self.sources),
                "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - began, 1)

    def _install_packages(self, uv: Path, options: Sequence[str]) -> None:
        requirements = self.sources / "requirements.txt"
        self.uv.run(
            "make a virtual environment",
            [str(uv), "venv", *options, "--no-cache", "--no-project", "--no-python-downloads"],
            ["--python", self.parameters["python"], str(self.path)],
        )
        self.uv.run(
            "install the packages",
            [str(uv), "pip", "sync", *options, "--python", str(self.path / "bin" / "python")],
            ["--cache-dir", str(self.cache), "--require-hashes", "--no-build", str(requirements)],
        )

    def _install_projects(self, uv: Path, options: Sequence[str]) -> None:
        projects = [str(self.sources / name) for name in self.parameters["projects"]]
        if projects:
            self.uv.run(
                "install the collection's own packages",
                [str(uv), "pip", "install", *options, "--python", str(self.path / "bin" / "python"), "--no-cache"],
                ["--no-index", "--no-deps", *projects],
            )

    def _install_wheels(self, uv: Path, options: Sequence[str]) -> None:
        wheels = [str(self.sources / name) for name in self.parameters["wheels"]]
        python = ["--python", str(self.path / "bin" / "python")]
        if wheels:
            self.uv.run(
                f"install {', '.join(self.parameters['wheels'])}",
                [str(uv), "pip", "install", *options, *python, "--no-cache"],
                ["--no-index", "--no-deps", *wheels],
            )
            self.uv.run(
                "have all packages fit together, so this release does not become the current one",
                [str(uv), "pip", "check", *options],
                python,
            )

    def _try_imports(self, scratch: Path) -> None:
        """Import what the components import, which also leaves the bytecode of just that.

        The components run where they cannot write bytecode. Compiling all of the packages takes four times as long.
        """
        names = self.parameters["imports"]
        if not names:
            return
        self.uv.run(
            f"import {', '.join(names)}, so this release does not become the current one",
            [str(self.path / "bin" / "python"), "-I", "-c"],
            ["import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]", *names],
            AIRFLOW_HOME=str(scratch),
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/opt/airflow/core"},
            "release": {"type": "str", "required": True},
            "sources": {"type": "path", "required": True},
            "projects": {"type": "list", "elements": "str", "default": []},
            "wheels": {"type": "list", "elements": "str", "default": []},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "imports": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 2},
            "cache": {"type": "path", "default": "/var/cache/uv"},
            **ARGUMENTS,
        },
        required_one_of=[("uv", "uv_wheel")],
        supports_check_mode=True,
    )
    # What root builds, the components' user reads, also where root's own umask is a private one.
    os.umask(0o022)
    root, release = Path(module.params["path"]), module.params["release"]
    builder = Builder(module)
    result: dict[str, Any] = {"release_path": str(root / release), "removed": []}
    try:
        releases.check_name(release)
        if module.check_mode:
            before = releases.current(root)
            result["built"] = not (root / release / releases.RELEASE_FILE).is_file()
        else:
            root.mkdir(parents=True, exist_ok=True)
            with locked(root / ".lock"):
                before = releases.current(root)
                result["built"] = not (root / release / releases.RELEASE_FILE).is_file()
                if result["built"]:
                    builder.build()
                    result["seconds"] = builder.seconds
                if before != release:
                    releases.switch(root, release)
                if result["built"]:
                    result["removed"] = _prune(module, root, release)
    except CoreError as error:
        module.fail_json(msg=str(error), exception=None)
    except OSError as error:
        where = error.filename2 or error.filename or str(root)
        module.fail_json(msg=f"The core was not installed: {where}: {reason(error)}.", exception=None)
    if module._diff:
        header = f"{root}/{releases.CURRENT}"
        result["diff"] = {
            "before_header": header,
            "after_header": header,
            "before": f"{before}\n" if before else "",
            "after": f"{release}\n",
        }
    module.exit_json(
        changed=result["built"] or before != release,
        **result,
    )


def _prune(module: AnsibleModule, root: Path, release: str) -> list[str]:
    keep = module.params["keep"]
    found = releases.releases(root)
    candidates = releases.superfluous(found, keep=keep, current_name=release, in_use=())
    if candidates:
        candidates = releases.superfluous(
            found, keep=keep, current_name=release, in_use=releases.users_of(root, candidates)
        )
    return [name for name in candidates if _is_removed(module, root, name)]


def _is_removed(module: AnsibleModule, root: Path, name: str) -> bool:
    """Remove a release; the new one is current by now, so one that cannot be removed is only warned of."""
    try:
        releases.remove(root, name)
    except OSError as error:
        where = error.filename or root / name
        module.warn(
            f"{module.params['release']} is the current release now, and the old release {name} cannot be removed:"
            f" {where}: {reason(error)}. Remove {root / name} by hand; the next build tries again, too."
        )
        return False
    return True


if __name__ == "__main__":
    main()
