#!/usr/bin/env python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""scripts/sanity.py [ARGUMENT...]: ansible-test sanity without containers, on each Python here that it supports.

Run with .venv's Python. ARGUMENTs, such as --test pylint, are handed on to ansible-test.
"""

from __future__ import annotations

import ast
import configparser
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv" / "bin"
CACHE = ROOT / ".cache" / "sanity"

# ansible-test takes only a real folder of this name.
COPY = CACHE / "ansible_collections" / "airstack" / "backbone"

# ansible-test keeps its virtual environments, and looks for settings, in a home of its own here: what it needs in a
# home (see below) must not change other projects' runs.
HOME = CACHE / "home"

# Of ansible-core 2.21: CONTROLLER and REMOTE_ONLY_PYTHON_VERSIONS of ansible-test
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

PIP_BOOTSTRAP = """\
import subprocess
import sys

subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
"""


def copy_tree() -> None:
    """Makes COPY what git has here and does not ignore, as a git repository, because ansible-test asks git for files."""
    if COPY.exists():
        shutil.rmtree(COPY)
    COPY.mkdir(parents=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listing.stdout.split("\0"):
        source = ROOT / name
        if name and (source.is_file() or source.is_symlink()):
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, COPY / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", COPY], check=True)


def interpreter_folders() -> list[str]:
    """Where the real interpreters lie; the shim that pyenv puts on PATH fails for a version that is not selected."""
    pyenv = sorted((pathlib.Path.home() / ".pyenv" / "versions").glob("3.*/bin"))
    on_path = [pathlib.Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    candidates = [folder for folder in (*pyenv, *on_path) if folder.name != "shims" and ROOT not in folder.parents]
    folders: list[str] = []
    for version in VERSIONS:
        for folder in candidates:
            python = folder / f"python{version}"
            if python.exists() and not subprocess.run([python, "-c", "import venv, ensurepip"], check=False).returncode:
                folders.append(str(folder))
                break
        else:
            print(f"sanity: no Python {version} with venv on this machine, not tried with it", flush=True)
    return folders


def seed_pip() -> None:
    """Lets ansible-test's virtual environments get pip from their own Python instead of a host of ansible-test's."""
    bootstrap = HOME / ".ansible" / "test" / "cache" / "get_pip_25_2.py"
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    bootstrap.write_text(PIP_BOOTSTRAP, encoding="utf-8")


def hand_on_pip_settings() -> None:
    """Writes this machine's settings of pip into HOME, because ansible-test runs pip without the environment's."""
    listing = subprocess.run([TOOLS / "pip", "config", "list"], check=True, capture_output=True, text=True)
    from_file: dict[tuple[str, str], str] = {}
    from_environment: dict[tuple[str, str], str] = {}
    for line in listing.stdout.splitlines():
        key, value = line.split("=", 1)
        section, option = key.rsplit(".", 1)
        if section == ":env:":
            from_environment["global", option] = ast.literal_eval(value)
        else:
            from_file[section, option] = ast.literal_eval(value)
    settings = {
        ("global", "cache-dir"): os.environ.get("XDG_CACHE_HOME", str(pathlib.Path.home() / ".cache")) + "/pip",
        **{
            ("global", option): os.environ[variable]
            for option, variable in (("cert", "SSL_CERT_FILE"), ("proxy", "http_proxy"), ("proxy", "https_proxy"))
            if os.environ.get(variable)
        },
        **from_file,
        **from_environment,
        ("global", "quiet"): "1",
    }
    parser = configparser.RawConfigParser()
    for (section, option), value in settings.items():
        if not parser.has_section(section):
            parser.add_section(section)
        parser.set(section, option, value)
    target = HOME / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    with target.open("w", encoding="utf-8") as file:
        parser.write(file)


def main() -> int:
    copy_tree()
    seed_pip()
    hand_on_pip_settings()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["HOME"] = str(HOME)
    environment["PATH"] = os.pathsep.join([str(TOOLS), *interpreter_folders(), environment["PATH"]])
    command = [str(TOOLS / "ansible-test"), "sanity", "--color", "no", *sys.argv[1:]]
    return subprocess.run(command, cwd=COPY, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
