# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A stack comes to be, changes, and leaves the Swarm as it was."""

from __future__ import annotations

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine
from ansible_collections.airstack.backbone.tests.unit.swarm.stacks import STAYS, Stack, Told, after

pytestmark = needs.docker_engine

SEES = (
    'id -u; touch /x || echo "no /x"; touch /tmp/x && echo "a /tmp/x"; ls -ln /run/secrets/key; cat /proc/self/status;'
)


def test_a_stack_comes_to_be_and_stays(stack: Stack, run_module: Runner) -> None:
    wanted = stack.service("one", SEES + STAYS)
    shown = stack.bring("one", wanted, check=True)
    assert stack.names("service") == stack.names("network") == stack.names("secret") == []

    done = stack.bring("one", wanted)
    assert (done["changed"], done["changes"], done["diff"]) == (True, shown["changes"], shown["diff"])
    assert "value-of-one" not in run_module.printed
    assert after(done, f"/etc/page of {stack.name}_web") == ("", "this is one")
    assert ["too old for TaskTemplate.ContainerSpec.Privileges" in warning for warning in done.get("warnings", [])] in (
        [],
        [True],
    )

    lines = stack.logs(until="page: this is one").splitlines()
    assert lines[0] == "50000"
    assert {"no /x", "a /tmp/x", "page: this is one"} <= set(lines)
    assert any(line.startswith("-r--------") and " 50000 " in line for line in lines)
    assert any(line.split() == ["CapBnd:", "0" * 16] for line in lines)

    for check in (True, False):
        again = stack.bring("one", wanted, check=check)
        assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])
    assert stack.look()["services"] == {
        f"{stack.name}_web": {
            "image": docker_engine.IMAGE,
            "state": "done",
            "replicas": 1,
            "running": 1,
            "update": "",
            "errors": [],
        }
    }


def test_what_changes_is_replaced_and_what_is_left_is_removed(stack: Stack, run_module: Runner) -> None:
    stack.bring("one", stack.service("one", STAYS))
    done = stack.bring("two", stack.service("two", STAYS))
    assert "value-of" not in run_module.printed
    assert after(done, f"/etc/page of {stack.name}_web") == ("this is one", "this is two")
    before, now = after(done, f"service {stack.name}_web")
    assert now == before.replace("_one", "_two")
    assert "page: this is two" in stack.logs()
    kept = [[f"{stack.name}_{what}_one", f"{stack.name}_{what}_two"] for what in ("page", "key")]
    assert [stack.names("config"), stack.names("secret")] == kept, "it could not be rolled back by hand"

    stack.docker("service", "update", "--detach", "--env-add", "BY=hand", "--limit-memory", "64M", f"{stack.name}_web")
    mended = stack.bring("two", stack.service("two", STAYS))
    before, now = after(mended, f"service {stack.name}_web")
    assert "BY=hand" in before
    assert "BY=hand" not in now
    assert "MemoryBytes" in before
    assert "MemoryBytes" not in now
    assert mended["changes"] == [
        f"service brought up: {stack.name}_web",
        f"config removed: {stack.name}_page_one",
        f"secret removed: {stack.name}_key_one",
    ]
    assert stack.bring("two", stack.service("two", STAYS))["changes"] == []


def test_labels_of_nodes_are_the_stacks_alone(stack: Stack) -> None:
    def labels() -> Told:
        return dict(stack.docker.inspect("node", "inspect", "node1", "--format", "{{json .Spec.Labels}}"))

    stack.docker("node", "update", "--label-add", "rack=7", "--label-add", f"{stack.name}.old=true", "node1")
    placed = stack.service("one", STAYS)
    placed["TaskTemplate"]["Placement"] = {"Constraints": [f"node.labels.{stack.name}.web==true"]}
    nodes = [{"name": "elsewhere", "address": docker_engine.ADDRESS, "labels": {f"{stack.name}.web": "true"}}]
    done = stack.bring("one", placed, nodes=nodes)
    assert labels() == {"rack": "7", f"{stack.name}.web": "true"}
    assert "node labelled: node1" in done["changes"]
    label = f"node node1: {stack.name}."
    before, now = after(done, f"stack {stack.name}")
    assert f"{label}old=true\n" in before
    assert f"{label}web=true\n" in now
    assert stack.bring("one", placed, nodes=nodes)["changes"] == []
    stack.remove()
    assert labels() == {"rack": "7"}
    assert not stack.remove()["changed"]
