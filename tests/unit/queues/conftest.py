# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules worker_queues and worker_queues_info, asked as the fixture `asked` of a file of tests says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.airstack.backbone.plugins.modules import worker_queues, worker_queues_info
from ansible_collections.airstack.backbone.tests.unit.plugins.modules import conftest
from ansible_collections.airstack.backbone.tests.unit.queues import brokers
from ansible_collections.airstack.backbone.tests.unit.services import redis_servers

run_module = conftest.run_module

PASSWORDS = [brokers.PASSWORDS["broker"], brokers.REDIS_PASSWORD, redis_servers.SECRETS["broker"]]
SECRETS = [*PASSWORDS, *(quote(password, safe="") for password in PASSWORDS)]


@pytest.fixture(name="move")
def module_that_moves(asked: dict[str, Any], run_module: Any) -> Callable[..., dict[str, Any]]:
    """Bring workers to queues; options: what is asked otherwise, or not at all where it is None."""

    def move(queues: dict[str, list[str]], check: bool = False, **options: Any) -> dict[str, Any]:
        assignments = [{"workers": name, "queues": each} for name, each in queues.items()]
        given = {name: value for name, value in {**asked, **options}.items() if value is not None}
        result: dict[str, Any] = run_module(worker_queues.main, check=check, assignments=assignments, **given)
        assert not [secret for secret in SECRETS if secret in run_module.printed]
        return result

    return move


@pytest.fixture(name="look")
def module_that_looks(asked: dict[str, Any], run_module: Any) -> Callable[..., dict[str, Any]]:
    """See what they consume; options: what is asked otherwise."""

    def look(**options: Any) -> dict[str, Any]:
        result: dict[str, Any] = run_module(worker_queues_info.main, **{**asked, **options})
        return result

    return look
