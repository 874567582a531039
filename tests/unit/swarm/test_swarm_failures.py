# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What does not come up in a Swarm is told, undone, or done again."""

from __future__ import annotations

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner
from ansible_collections.airstack.backbone.tests.unit.swarm.stacks import SECOND, STAYS, Stack

pytestmark = needs.docker_engine


def test_a_failed_update_is_rolled_back_and_says_why(stack: Stack, run_module: Runner) -> None:
    stack.bring("one", stack.service("one", STAYS))
    broken = stack.service("two", "echo the database is away; cat /run/secrets/key; exit 3")
    broken["UpdateConfig"]["Monitor"] = 15 * SECOND
    failed = stack.bring("two", broken)
    assert failed["failed"]
    for part in ("it failed, and is what it was before again", "exit code 3", "the database is away"):
        assert part in failed["msg"]
    assert "value-of" not in run_module.printed
    told = stack.look()["services"][f"{stack.name}_web"]
    assert (told["state"], told["running"], told["update"]) == ("done", 1, "rollback_completed")

    back = stack.bring("one", stack.service("one", STAYS))
    assert back["changes"] == [f"config removed: {stack.name}_page_two", f"secret removed: {stack.name}_key_two"]
    assert stack.bring("one", stack.service("one", STAYS))["changes"] == []


def test_what_never_comes_up_is_told(stack: Stack) -> None:
    never = stack.service("one", "echo no such queue; exit 4")
    # Without one it works for as long as the Engine takes to see that it has ended.
    never["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = {"Test": ["CMD", "false"], "Retries": 1000}
    failed = stack.bring("one", never, timeout=30)
    for part in ("0 of its processes work after 30 s", "exit code 4", "no such queue"):
        assert part in failed["msg"]
    sick = stack.service("one", STAYS)
    look = {"Test": ["CMD", "sh", "-c", "echo not yet; false"], "Interval": SECOND, "Timeout": 9 * SECOND, "Retries": 1}
    sick["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = look
    failed = stack.bring("one", sick, timeout=40)
    assert "or because its health check failed" in failed["msg"]
