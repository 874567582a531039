# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Repositories, and the pipelines' scripts run in them as a runner does."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

ROOT = pathlib.Path(__file__).parents[3]
PIPELINES = ROOT / "pipelines"
TOOLS = pathlib.Path(sys.executable).parent
ENVIRONMENTS = {"acceptance": "acceptance", "prod": "production"}
"""Names of environments by those of their inventories."""


def git(folder: pathlib.Path, *arguments: str) -> str:
    identity = [word for key in ("name=test", "email=test@localhost") for word in ("-c", f"user.{key}")]
    settings = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, env=settings, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def committed(folder: pathlib.Path, **files: str) -> str:
    """Commits files, named with __ for the slash and with _py for the suffix, and returns the commit."""
    for name, content in files.items():
        place = folder / name.replace("__", "/").replace("_py", ".py")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


def served_platform(folder: pathlib.Path, hosts: str, **playbooks: str) -> pathlib.Path:
    """The server's platform repository, which is the collection too, with playbooks that deploy nothing.

    hosts: an inventory, with %s for its environment's name. playbooks: a name without an ending is a program's.
    """
    made = folder / "made"
    for part in ("pipelines", "plugins/filter", "plugins/plugin_utils", "plugins/module_utils", "playbooks/vars"):
        shutil.copytree(ROOT / part, made / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("playbooks/parity.yml", "galaxy.yml"):
        shutil.copy(ROOT / file, made / file)
    (made / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    for name, content in playbooks.items():
        place = made / "playbooks" / name.replace("_yml", ".yml")
        place.write_text(content, encoding="utf-8")
        place.chmod(0o644 if place.suffix else 0o755)
    for inventory, environment in ENVIRONMENTS.items():
        (made / "inventories" / inventory).mkdir(parents=True)
        (made / "inventories" / inventory / "hosts.yml").write_text(hosts % environment, encoding="utf-8")
    git(made, "init", "--quiet", "--initial-branch=main")
    committed(made)
    server = folder / "platform.git"
    git(made, "clone", "--quiet", "--bare", str(made), str(server))
    return server


def short_folder() -> t.ContextManager[str]:
    """Where Ansible opens a socket, whose path may have 107 bytes (unix(7)): tmp_path is longer where tests run side by side."""
    return tempfile.TemporaryDirectory()


def run(
    folder: pathlib.Path, script: pathlib.Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script as a runner does: with nothing in its environment but what it is given."""
    python = pathlib.Path(sys.executable).resolve().parent
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": f"{TOOLS}:{python}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", **variables}
    return subprocess.run(
        [script, *arguments], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
