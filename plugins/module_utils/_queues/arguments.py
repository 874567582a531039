# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The arguments that modules over Celery's workers share (doc fragment airstack.backbone.celery)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .. import _celery
from . import moving

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "broker_url": {"type": "str", "no_log": True},
    "broker_url_file": {"type": "path"},
    "control_exchange": {"type": "str", "default": "celery"},
    "transport_options": {"type": "dict", "default": {}, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "tls": {"type": "bool", "default": False},
    "expected_workers": {"type": "list", "elements": "str", "default": []},
    "answer_timeout": {"type": "float", "default": 1},
    "timeout": {"type": "float", "default": 20},
}

ONE_URL = {
    "required_one_of": [("broker_url", "broker_url_file")],
    "mutually_exclusive": [("broker_url", "broker_url_file")],
}

LEAST_SECONDS = 0.1

GRACE_SECONDS = 30
"""What answers and refusals of the broker itself may take beyond a module's timeout."""


def problems(wanted: Mapping[str, Any]) -> list[str]:
    """What is wrong with the shared arguments, in words."""
    ca = wanted["ca_path"]
    unread = [] if ca is None or os.access(ca, os.R_OK) else [f"ca_path: a file that can be read is needed, found {ca}"]
    return unread + [
        f"{name}: {LEAST_SECONDS} seconds or more are needed, found {wanted[name]:g}"
        for name in ("timeout", "answer_timeout")
        if wanted[name] < LEAST_SECONDS
    ]


def address(module: AnsibleModule) -> _celery.Address:
    """Where the broker is. Fails the module where nothing can be asked there, or with what it has."""
    wanted = module.params
    url = wanted["broker_url"] if wanted["broker_url_file"] is None else _content(module, wanted["broker_url_file"])
    made = _celery.Address(
        url,
        wanted["control_exchange"],
        wanted["transport_options"],
        wanted["validate_certs"],
        wanted["ca_path"],
        wanted["tls"],
    )
    wrong = _celery.problems(made)
    if wrong:
        module.fail_json(msg="\n".join(wrong))
    if _celery.IMPORT_ERROR:
        module.fail_json(
            msg=missing_required_lib("celery", reason="to talk to Celery's workers")
            + " On a host of this collection, let the core's Python run the module:"
            " ansible_python_interpreter: /opt/airflow/core/current/bin/python",
            exception=_celery.IMPORT_ERROR,
        )
    return made


def found(
    broker: _celery.Broker, wanted: Mapping[str, Any], deadline: float
) -> tuple[dict[str, frozenset[str]], list[str]]:
    """What each worker consumes that answers, and the expected ones that do not."""
    return moving.discover(
        broker,
        wanted["expected_workers"],
        asks_all=not broker.counts_consumers,
        seconds=wanted["answer_timeout"],
        deadline=deadline,
    )


def deadline(wanted: Mapping[str, Any]) -> float:
    """Of time.monotonic()."""
    return time.monotonic() + float(wanted["timeout"])


def _content(module: AnsibleModule, path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        module.fail_json(
            msg=f"broker_url_file: the broker's URL was to be read from {path}: {reason}."
            " Name the scheduler's file on a host that runs one, as /etc/airflow/credentials/scheduler/broker_url"
        )
    if not text:
        module.fail_json(msg=f"broker_url_file: {path} is empty; the broker's URL is needed there")
    return text
