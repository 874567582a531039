# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a run waits for in a Swarm: a job that has to end, and work that is finished."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.swarm.stacks import STAYS, Stack

pytestmark = needs.docker_engine


def test_a_job_comes_before_what_stays_and_runs_again_when_it_failed(stack: Stack, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    bind = {"Type": "bind", "Source": str(tmp_path), "Target": "/data"}
    job = stack.job("one", "cat /data/ready && exit 0; echo the schema is old; exit 5")
    job["TaskTemplate"]["ContainerSpec"]["Mounts"].append(bind)
    services = [{"spec": job, "wave": 0}, {"spec": stack.service("one", STAYS), "wave": 1}]
    failed = stack.bring("one", services=services)
    for part in (f"{stack.name}_job does not work: it ended with a failure", "exit code 5", "the schema is old"):
        assert part in failed["msg"]
    assert stack.names("service") == [f"{stack.name}_job"]

    (tmp_path / "ready").write_text("the schema is new\n", encoding="utf-8")
    shown = stack.bring("one", services=services, check=True)
    done = stack.bring("one", services=services)
    assert done["changes"] == shown["changes"]
    assert done["changes"] == [f"service brought up: {stack.name}_web", f"job run again: {stack.name}_job"]
    stack.logs("job", until="the schema is new")
    assert stack.bring("one", services=services)["changes"] == []


def test_what_finishes_its_work_is_not_waited_for_without_end(stack: Stack) -> None:
    slow = 'trap "sleep 15; exit 0" TERM; while :; do sleep 1; done'
    stack.bring("one", stack.service("one", slow))
    done = stack.bring("two", stack.service("two", STAYS), patience=2)
    assert done["draining"] == [f"{stack.name}_web"]
    assert "was still finishing its work after 2 s" in "".join(done["warnings"])
    then = stack.bring("two", stack.service("two", STAYS), patience=120)
    assert (then["changes"], then["draining"]) == ([], [])
    stack.logs(until="page: this is two")
