# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A whole platform's stack, as it is rendered, on a real Swarm.

The image has no Airflow. In its place stands a program that tries what Airflow is told: where its files are, and the commands
that print its secrets.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._render.image import SHELL
from ansible_collections.airstack.backbone.plugins.modules import swarm_stack, swarm_stack_info
from ansible_collections.airstack.backbone.tests.docker_engine import Docker
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import Runner
from ansible_collections.airstack.backbone.tests.unit.render.swarm_stacks import made, rendered
from ansible_collections.airstack.backbone.tests.unit.swarm import docker_engine
from ansible_collections.airstack.backbone.tests.unit.swarm.stacks import logs

pytestmark = needs.docker_engine

IMAGE = "stand-in:1"
AIRFLOW = f"""\
{SHELL}
set -e
for command in $(sed -n 's/^.*_cmd = cat //p' "$AIRFLOW_CONFIG"); do test -n "$(cat "$command")"; done
for file in $AWS_CONFIG_FILE $AWS_SHARED_CREDENTIALS_FILE; do test -n "$(cat "$file")"; done
echo '{SHELL}' > /tmp/program
chmod 755 /tmp/program
if /tmp/program 2>/dev/null; then echo "runs what it writes"; else echo "runs nothing that it writes"; fi
for folder in / /etc/airflow /run/secrets; do if touch "$folder/x" 2>/dev/null; then exit 1; fi; done
echo "host $(hostname), user $(id -u):$(id -g)"
echo "says $*"
trap 'exit 0' TERM
while :; do sleep 1; done
"""
PYTHON = f"{SHELL}\nexit 0\n"


@pytest.fixture(name="storage")
def dag_storage() -> Iterator[Path]:
    # Its path stands in the description, which takes plain ones, and is another one in each container.
    folder = Path(mkdtemp(prefix="airflow-dags-"))
    folder.chmod(0o755)
    for name in ("etl", "ml"):
        (folder / name).mkdir()
    (folder / ".airflow-dag-storage").touch()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(name="planned")
def planned_on_one_node(variables: dict[str, Any], storage: Path) -> dict[str, Any]:
    etl, ml = variables["airflow_worker_pools"]
    nodes = {group: ["node1"] for group in ("airflow_control", "airflow_workers_etl")}
    pools = [{**etl, "replicas": 2}, ml]
    return made(variables, nodes, airflow_worker_pools=pools, airflow_dag_storage_path=str(storage))


def test_a_platform_comes_up_and_stays(
    docker: Docker, run_module: Runner, planned: dict[str, Any], endpoints: dict[str, Any]
) -> None:
    docker_engine.add_image(docker, IMAGE, {"airflow": AIRFLOW, "python": PYTHON})
    # This kernel may lack what a port of all nodes takes (IPVS).
    stack = rendered(planned, endpoints, image=IMAGE, publish="host")
    place = {"socket": docker.socket, "name": stack["name"]}
    try:
        done = run_module(swarm_stack.main, **{**stack, **place})
        assert len([change for change in done["changes"] if change.startswith("service brought up")]) == 7
        assert "value-of-" not in run_module.printed
        assert run_module(swarm_stack.main, check=True, **{**stack, **place})["changes"] == []

        services = run_module(swarm_stack_info.main, **place)["services"]
        assert {service["state"] for service in services.values()} == {"done"}
        assert services["airflow-local_worker-etl"]["running"] == 2

        parts = [f"host worker-etl-{slot}, user 50000:0\n" for slot in (1, 2)]
        parts += ["says celery worker --queues etl,etl_highmem", "runs what it writes\n"]
        logs(docker, "airflow-local_worker-etl", lambda said: all(part in said for part in parts))
        [container, *_others] = docker("ps", "--quiet", "--filter=name=airflow-local_worker-etl").split()
        storage = planned["dag_storage"]["path"]
        assert docker("exec", container, "ls", "-A", storage).split() == [".airflow-dag-storage", "etl"]
        with pytest.raises(AssertionError, match="Read-only file system"):
            docker("exec", "--user=0", container, "touch", f"{storage}/etl/x")
    finally:
        run_module(swarm_stack.main, **place, state="absent", patience=300)
    assert docker("service", "ls", "--quiet") == docker("secret", "ls", "--quiet") == ""
