# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Pods that podman really runs from the manifests: what a component reads is there, and it writes where it may.

The image is a small one that looks around itself. What podman 4.3 has not is left out: ports without a network, pods with DAGs,
since it mounts no part of a volume (subPath) and fills in no variable in a command, and containers that run before others,
which it now and then cannot remove in time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airstack.backbone.plugins.module_utils._lab.settings import containers_conf
from ansible_collections.airstack.backbone.plugins.module_utils._render.image import SHELL
from ansible_collections.airstack.backbone.plugins.modules.lab_info import may_raise_limits
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import Rendered, render, small

pytestmark = [needs.root, needs.podman, needs.static_busybox]

IMAGE = "localhost/looks-around:1"
PAUSE = "localhost/pauses:1"
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


class Podman:
    """podman with a storage of its own, in a folder that goes with it."""

    def __init__(self, folder: Path, run: str) -> None:
        self.storage = ["--root", str(folder / "storage"), "--runroot", run, "--storage-driver", "vfs"]
        settings = containers_conf(
            unified_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
            may_raise_limits=may_raise_limits(),
            systemd=Path("/run/systemd/system").is_dir(),
        )
        (folder / "containers.conf").write_text(
            settings.replace("[engine]\n", f'[engine]\ninfra_image = "{PAUSE}"\n'), encoding="utf-8"
        )
        self.environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}

    def __call__(self, *words: str) -> str:
        command = ["podman", "--log-level=error", *self.storage, *words]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def root_filesystem(folder: Path) -> Path:
    """An archive of what the image has: a shell, and programs that stand where Airflow's are."""
    root = folder / "root"
    for path in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "var/log", "usr/bin"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for name, text in PROGRAMS.items():
        (root / "bin" / name).write_text(SHELL + text, encoding="utf-8")
        (root / "bin" / name).chmod(0o755)
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.add(root, ".")
    return folder / "root.tar"


@pytest.fixture(name="podman", scope="module")
def podman_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    # podman takes a runroot of 50 characters at most.
    with tempfile.TemporaryDirectory() as run:
        yield from _podman(folder, run)


def _podman(folder: Path, run: str) -> Iterator[Podman]:
    podman = Podman(folder, run)
    archive = str(root_filesystem(folder))
    podman("import", "--quiet", "--change", 'ENTRYPOINT ["/bin/sleep", "1000"]', archive, PAUSE)
    entry = ["--change", "USER 50000:0", "--change", 'ENTRYPOINT ["dumb-init", "--"]', "--change", "ENV PATH=/bin"]
    podman("import", "--quiet", *entry, archive, IMAGE)
    try:
        yield podman
    finally:
        podman("pod", "rm", "--all", "--force", "--time", "0")
        podman("rmi", "--all", "--force")
        shutil.rmtree(folder)


def pod_of(rendered: Rendered, component: str) -> dict[str, Any]:
    """A component's pod, with the small image and without ports."""
    template = rendered.pods()[component]
    spec = template["spec"]
    (container,) = spec["containers"]
    container["image"] = IMAGE
    container.pop("ports", None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": component, **template["metadata"]}, "spec": spec}


def said(podman: Podman, component: str) -> list[str]:
    """What a component's container found, once it has found all."""
    deadline = time.monotonic() + 60
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
    played = [*rendered.of_kind("ConfigMap", "Secret"), *(pod_of(rendered, component) for component in PLAYED)]
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
    writes = {line for line in lines if line.startswith("writes ")}
    assert writes == {"writes /tmp", "writes /var/log/airflow"}, lines
