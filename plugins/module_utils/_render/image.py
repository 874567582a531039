# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders what an image of the core is built from, but for the wheels and for uv.

Pure: the result is the text of files of the build context, by their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CORE = "/opt/airflow"
USER = "50000:0"
"""Any other user will do, too, as long as its group is 0 or the files are readable for all, which they are."""

WHEELS = "wheels"
UV = "uv"
CONTAINERFILE = "Containerfile"
IGNORE = ".dockerignore"
INSTALL = "install.sh"

_CONTEXT = "/context"

HEADER = "# Rendered by Ansible (airstack.backbone)."
SHELL = "#!/bin/sh"

SCRATCH = "/tmp"  # noqa: S108 - of the container, which nobody shares: it is the one place that a read-only filesystem leaves

ENVIRONMENT = {
    "PATH": f"{CORE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    # A user without an entry in /etc/passwd has neither name nor home, and Airflow asks for both.
    "HOME": SCRATCH,
    "USER": "airflow",
    "LOGNAME": "airflow",
    "AIRFLOW_HOME": f"{SCRATCH}/airflow",
    # A signal is for the main process alone: a worker that is told to stop waits for its tasks.
    "DUMB_INIT_SETSID": "0",
}


@dataclass(frozen=True)
class Recipe:
    """How an image is built.

    base: an image that has the Python. system_packages: of Debian, installed unless the base has them; none: the build
    needs no network. mounts: whether a step may have the context mounted, which saves a copy; else it is copied into a
    stage that goes again.
    """

    base: str
    python: str
    system_packages: Sequence[str]
    mounts: bool = True


def context(recipe: Recipe) -> dict[str, str]:
    """The files of the build context, by name."""
    return {
        CONTAINERFILE: _containerfile(recipe),
        IGNORE: "".join(f"{line}\n" for line in ("*", *(f"!{name}" for name in (INSTALL, UV, WHEELS)))),
        INSTALL: _install(recipe.python),
    }


def _containerfile(recipe: Recipe) -> str:
    # Without a step of its own, the stage would be the base itself, which podman removes as one that nobody needs any more.
    packages = _system_packages(recipe.system_packages)
    base = "base" if packages else recipe.base
    copied = f"COPY . {_CONTEXT}\nRUN"
    mounted = f"RUN --mount=type=bind,source=.,target={_CONTEXT}"
    stages = [
        *([[f"FROM {recipe.base} AS base", *packages]] if packages else []),
        [f"FROM {base} AS build", f"{mounted if recipe.mounts else copied} sh {_CONTEXT}/{INSTALL}"],
        [
            f"FROM {base}",
            f"COPY --from=build {CORE} {CORE}",
            f"ENV {_assignments(ENVIRONMENT)}",
            f"WORKDIR {CORE}",
            f"USER {USER}",
            'ENTRYPOINT ["dumb-init", "--"]',
            'CMD ["airflow", "version"]',
        ],
    ]
    return "\n\n".join([HEADER, *("\n".join(stage) for stage in stages)]) + "\n"


def _assignments(variables: Mapping[str, str]) -> str:
    return " \\\n    ".join(f"{name}={value}" for name, value in variables.items())


def _system_packages(names: Sequence[str]) -> list[str]:
    """What has the time or the machine in it goes: package lists, logs, and the linker's cache of what it looked at."""
    if not names:
        return []
    listed = " ".join(names)
    step = (
        f"dpkg --status {listed} >/dev/null 2>&1 || {{ apt-get update --quiet",
        f"DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends {listed}",
        "rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/*; }",
    )
    return ["RUN " + " \\\n    && ".join(step)]


def _install(python: str) -> str:
    return f"""\
{SHELL}
{HEADER}
# Installs the wheelhouse and nothing else: no index is asked, and nothing is compiled but bytecode.
set -eu
umask 022
export UV_OFFLINE=1 UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
# What uv notes of an installation has the time of the wheel's file in it.
export UV_NO_INSTALLER_METADATA=1
export PYTHONDONTWRITEBYTECODE=1
python={CORE}/bin/python

{_CONTEXT}/{UV} venv --quiet --no-project --python python{python} {CORE}
{_CONTEXT}/{UV} pip install --quiet --python "$python" --no-index --find-links {_CONTEXT}/{WHEELS} --no-deps --require-hashes \\
  --requirement {_CONTEXT}/{WHEELS}/requirements.txt
{_CONTEXT}/{UV} pip check --python "$python"

# Bytecode that is the same each time: one file after the other, sets in one order, and no time of a source in it. Who uses
# it does not look at the source, which cannot change. What does not compile are templates, and files for other Pythons.
PYTHONHASHSEED=0 "$python" -m compileall -qq --invalidation-mode unchecked-hash {CORE}/lib || true

# An image's history has a hash over the times, too.
find {CORE} -exec touch --no-dereference --date=@0 {{}} +
"""


def trial(versions: Mapping[str, str], imports: Sequence[str], commands: Sequence[str]) -> str:
    """A program that Python runs in an image, which fails with everything that is wrong with it.

    :param versions: what is to be installed, by normalized name, and nothing besides
    :param commands: of Airflow, each of which has to start
    """
    asked = json.dumps({"versions": versions, "imports": imports, "commands": commands}, sort_keys=True)
    return f"ASKED = {asked!r}\n{_TRIAL}"


_TRIAL = """\
import importlib, json, re, subprocess
from importlib.metadata import distributions

asked = json.loads(ASKED)
problems = []
found = {re.sub("[-_.]+", "-", each.metadata["Name"]).lower(): each.version for each in distributions()}
for name in sorted({*found, *asked["versions"]}):
    if found.get(name) != asked["versions"].get(name):
        problems.append(f"{name} is {found.get(name)}, and should be {asked['versions'].get(name)}")
for name in asked["imports"]:
    try:
        importlib.import_module(name)
    except Exception as error:
        problems.append(f"{name} cannot be imported: {type(error).__name__}: {error}")
for command in asked["commands"]:
    said = subprocess.run(["airflow", *command.split(), "--help"], capture_output=True, text=True)
    if said.returncode != 0:
        problems.append(f"airflow {command} does not start: {(said.stderr or said.stdout).strip()[-500:]}")
raise SystemExit("\\n".join(problems) or None)
"""
