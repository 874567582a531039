# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The arguments of dag_sync, which its action plugin and its module both read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ORIGINS = ("path", "repository", "archive", "s3")
"""The options that say where a source's content comes from, one of them for each source."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

SOURCE: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path"},
    "repository": {"type": "str"},
    "archive": {"type": "path"},
    "s3": {"type": "str"},
    "remote_src": {"type": "bool", "default": False},
    "release": {"type": "str"},
    "subdirectory": {"type": "str"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "tree": {"type": "str"},
    "version": {"type": "str"},
    "submodules": {"type": "bool", "default": False},
    "lfs": {"type": "bool", "default": False},
    "username": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "ssh_key": {"type": "str", "no_log": True},
    "known_hosts": {"type": "str"},
    "sha256": {"type": "str"},
    "endpoint_url": {"type": "str"},
    "region": {"type": "str"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "in_use": {"type": "list", "elements": "str", "default": []},
    "read": {"type": "dict"},
    "packed": {"type": "path"},
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "storage": {"type": "path", "required": True},
    "sources": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": SOURCE,
        "mutually_exclusive": [(*ORIGINS, "release")],
    },
    "state": {"type": "str", "default": "present", "choices": ["present", "staged", "rolled_back", "absent"]},
    "keep": {"type": "int"},
    "minimum_age": {"type": "int", "default": 600},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "file_mode": {"type": "raw", "default": "0644"},
    "directory_mode": {"type": "raw", "default": "0755"},
    "sentinel": {"type": "str", "default": ".airflow-dag-storage"},
    "lock_timeout": {"type": "int", "default": 60},
    "cache": {"type": "path", "default": "/var/cache/airflow-dags"},
    "publisher": {"type": "str"},
}


_LEAST = {"keep": 1, "minimum_age": 0, "lock_timeout": 0}
"""The current release always stays."""


def given_origin(source: Mapping[str, Any]) -> str | None:
    """Return which of ORIGINS a source names."""
    return next((kind for kind in ORIGINS if source.get(kind)), None)


def argument_problems(parameters: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options besides their types, with nothing looked at yet."""
    sources, state = parameters["sources"], parameters["state"]
    names = [source["name"] for source in sources]
    problems = [
        f"{option} is {parameters[option]}; it must be at least {least}"
        for option, least in _LEAST.items()
        if parameters[option] is not None and parameters[option] < least
    ]
    problems += [f"Source {name!r} is given twice" for name in sorted(set(names)) if names.count(name) > 1]
    for source in sources:
        name = source["name"]
        problems += name_problems(name)
        if state in ("present", "staged") and not (given_origin(source) or source["release"]):
            problems.append(
                f"Source '{name}' has neither path, repository, archive, s3 nor release: where is its content?"
            )
    return problems


def name_problems(name: object) -> list[str]:
    """What keeps a name from being a source's, and a directory of the storage."""
    if _NAME.fullmatch(str(name or "")):
        return []
    return [f"{name!r} is no source's name: letters, digits, ., _ and -, the first one being neither . nor -"]
