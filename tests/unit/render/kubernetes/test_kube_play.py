# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Pods that podman really runs from the manifests: what a component reads is there, and it writes where it may.

The image is a small one that looks around itself, and the pods have no DAGs and no network. tests/image/test_pods.py runs all
pods of a platform, with the core's image.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import Rendered, render, small
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.kube_play import (
    WORKLOADS,
    Podman,
    pods,
    root_filesystem,
    with_own_scratch,
    without_ports,
    without_probes,
)

pytestmark = [needs.root, needs.podman, needs.static_busybox]

IMAGE = "localhost/looks-around:1"
APPLETS = ("basename", "cat", "id", "sed", "sh", "sleep", "touch")

LOOKS = """
exec 2>&1
echo "runs $(basename "$0") $*"
echo "user $(id -u) group $(id -g)"
sed -n 's/^[a-z_]*_cmd = //p' "$AIRFLOW_CONFIG" | while read -r command; do
  $command >/dev/null && echo "reads ${command#cat }"
done
for folder in "$HOME" /var/log/airflow; do touch "$folder/new" && echo "writes $folder"; done
for folder in "" /bin /etc/airflow; do touch "$folder/new" 2>/dev/null && echo "writes $folder"; done
echo "that is all"
exec sleep 1000
"""
HANDS_ON = '\nshift\nexec "$@"\n'
PROGRAMS = {"airflow": LOOKS, "python": LOOKS, "dumb-init": HANDS_ON}

PLAYED = ("setup", "api-server", "scheduler")


@pytest.fixture(name="podman", scope="module")
def podman_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    # podman takes a runroot of 50 characters at most.
    with tempfile.TemporaryDirectory() as run:
        yield from _podman(folder, run)


def _podman(folder: Path, run: str) -> Iterator[Podman]:
    podman = Podman(folder, run, "vfs")
    archive = root_filesystem(folder, APPLETS, PROGRAMS)
    podman.bring_pause(archive)
    podman.bring_image(archive, IMAGE, "USER 50000:0", 'ENTRYPOINT ["dumb-init", "--"]', "ENV PATH=/bin")
    try:
        yield podman
    finally:
        podman.clear()
        shutil.rmtree(folder)


def pod_of(rendered: Rendered, component: str) -> dict[str, Any]:
    """A component's pod, with the small image."""
    (workload,) = [each for each in rendered.of_kind(*WORKLOADS) if component in each["metadata"]["name"]]
    (pod,) = pods(workload)
    pod["metadata"]["name"] = component
    pod["spec"]["containers"][0]["image"] = IMAGE
    return with_own_scratch(without_ports(without_probes(pod)))


def said(podman: Podman, component: str) -> list[str]:
    """What a component's container found, once it has found all."""
    deadline = time.monotonic() + 300
    while "that is all" not in (lines := podman("logs", f"{component}-airflow").splitlines()):
        assert time.monotonic() < deadline, lines
        time.sleep(0.2)
    return lines


@pytest.fixture(name="platform", scope="module")
def played_platform(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    described = {
        "airflow_environment": "local",
        "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
        "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
    }
    rendered = render(described, {}, small)
    for secret in rendered.of_kind("Secret"):
        podman.bring_secret(secret)
    played = [*rendered.of_kind("ConfigMap"), *(pod_of(rendered, component) for component in PLAYED)]
    file = tmp_path_factory.mktemp("played") / "pods.yaml"
    file.write_text(yaml.safe_dump_all(played, sort_keys=False), encoding="utf-8")
    podman("kube", "play", "--quiet", "--network", "none", str(file))
    return rendered


@pytest.mark.parametrize("name", PLAYED)
def test_a_pod_runs_its_command_and_reads_its_credentials(podman: Podman, platform: Rendered, name: str) -> None:
    (component,) = [each for each in platform.components if each["name"] == name]
    lines = said(podman, name)
    program, *words = lines[0].removeprefix("runs ").split(" ")
    assert program == component["program"]
    assert words[:1] == component["command"][:1]
    assert lines[1] == "user 50000 group 0", lines
    read = {line.removeprefix("reads ") for line in lines if line.startswith("reads ")}
    assert read == {f"/run/secrets/airflow/{credential}" for credential in component["secret_settings"].values()}
    for credential, value in platform.values[name].items():
        assert podman("exec", f"{name}-airflow", "cat", f"/run/secrets/airflow/{credential}") == value
    writes = {line for line in lines if line.startswith("writes ")}
    assert writes == {"writes /tmp", "writes /var/log/airflow"}, lines
