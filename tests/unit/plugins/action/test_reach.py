# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""reach on a host whose connection is a list of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.airstack.backbone.plugins.action import reach

Answer = dict[str, Any]
Reach = Callable[..., tuple[dict[str, Any], Mock]]

WELL: Answer = {"rc": 0, "stdout": "", "stderr": ""}
REFUSED = AnsibleConnectionFailure("Connection refused")


@pytest.fixture(name="reach_host")
def reach_a_host(monkeypatch: pytest.MonkeyPatch) -> Reach:
    def run(timeout: int, *answers: Answer | Exception) -> tuple[dict[str, Any], Mock]:
        clock = iter(range(1000))
        monkeypatch.setattr(reach.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(reach.time, "monotonic", lambda: next(clock))
        connection = Mock()
        action = reach.ActionModule(
            task=Mock(args={"timeout": timeout}, async_val=0, check_mode=False),
            connection=connection,
            play_context=Mock(remote_addr="192.0.2.1", remote_user="root"),
            loader=Mock(),
            templar=Mock(),
            shared_loader_obj=Mock(),
        )
        monkeypatch.setattr(action, "_low_level_execute_command", Mock(side_effect=answers))
        return action.run(task_vars={"inventory_hostname": "control1"}), connection

    return run


def test_a_host_that_answers_is_asked_once(reach_host: Reach) -> None:
    result, connection = reach_host(60, WELL)
    assert not result["changed"]
    assert not connection.reset.called


def test_a_host_that_comes_up_is_waited_for(reach_host: Reach) -> None:
    result, connection = reach_host(60, REFUSED, REFUSED, WELL)
    assert result["elapsed"] > 1
    assert connection.reset.call_count == 2


@pytest.mark.parametrize(
    ("answer", "obstacle"),
    [
        (REFUSED, "Connection refused"),
        ({"rc": 1, "stdout": "", "stderr": "sudo: a password is required\n"}, "sudo: a password is required"),
        ({"rc": 1, "stdout": "", "stderr": ""}, "its shell fails"),
    ],
)
def test_a_host_that_does_not_answer_is_named(reach_host: Reach, answer: Any, obstacle: str) -> None:
    with pytest.raises(
        AnsibleActionFail, match=f"control1 cannot be reached at 192.0.2.1 as root.* 3 seconds: {obstacle}"
    ):
        reach_host(3, *[answer] * 10)


def test_without_patience_a_host_is_asked_once(reach_host: Reach) -> None:
    with pytest.raises(AnsibleActionFail):
        reach_host(0, REFUSED)
