# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Manifests for `podman kube play`, and podman. What podman 4.3 cannot do is made of what it can, a function for each:

- `pods`: it knows no StatefulSet and no Job, and a Deployment's pods have no name that others could call them by
- `with_words`: it puts no variable in the place of `$(NAME)`
- `with_folders`: it knows no `subPath`, nor a claim whose volume is elsewhere
- `plain`: it puts a Secret's values into files as they are encoded, and plays none whose values are not (`Podman.bring_secret`)
- `with_own_scratch`: all pods whose emptyDirs have one name have one volume there
- `before`: a container that runs before others it now and then cannot remove in time, so that the others do not start
- `without_ports`: it takes the host's port of the same number, of which there is one for all pods
- `without_probes`: it looks by a program that the image has not, and by systemd's timers; `probes` says what is looked at

A Service needs nothing: on a network of podman's a pod is called by its name, as it is by its Service's. What podman passes over
without a word is not tried: network policies, disruption budgets, service accounts, how pods are spread.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.airstack.backbone.plugins.module_utils._lab.settings import containers_conf
from ansible_collections.airstack.backbone.plugins.module_utils._render.image import SHELL
from ansible_collections.airstack.backbone.plugins.modules.lab_info import may_raise_limits
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import expanded

Manifest = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "Job")
PAUSE = "localhost/pauses:1"
"""What a pod's own container runs, which keeps its network."""


def pods(workload: Mapping[str, Any]) -> list[Manifest]:
    """The pods of a workload, under the names that they are called by: a worker by its own, an API server by its Service's."""
    name, spec = workload["metadata"]["name"], workload["spec"]
    replicas = spec.get("replicas", 1)
    if workload["kind"] != "StatefulSet" and replicas != 1:
        raise ValueError(f"{name} has {replicas} pods of one name")
    names = [f"{name}-{at}" for at in range(replicas)] if workload["kind"] == "StatefulSet" else [name]
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": each, **deepcopy(spec["template"]["metadata"])},
            "spec": deepcopy(spec["template"]["spec"]),
        }
        for each in names
    ]


def with_words(pod: Manifest, config_maps: Mapping[str, Mapping[str, str]]) -> Manifest:
    """A pod whose arguments and variables have what stands for $(NAME) in them. config_maps: data by name."""
    adapted = deepcopy(pod)
    for container in adapted["spec"]["containers"]:
        variables: dict[str, str] = {}
        for each in container["env"]:
            variables[each["name"]] = _value(each, variables, pod["metadata"]["name"], config_maps)
            if "value" in each:
                each["value"] = variables[each["name"]]
        container["args"] = [expanded(word, variables) for word in container["args"]]
    for container in adapted["spec"].get("initContainers", ()):
        container["command"] = [expanded(word, {}) for word in container["command"]]
    return adapted


def _value(
    variable: Mapping[str, Any], before: Mapping[str, str], pod: str, config_maps: Mapping[str, Mapping[str, str]]
) -> str:
    source = variable.get("valueFrom", {})
    if "fieldRef" in source:
        return {"metadata.name": pod}[source["fieldRef"]["fieldPath"]]
    if "configMapKeyRef" in source:
        return config_maps[source["configMapKeyRef"]["name"]][source["configMapKeyRef"]["key"]]
    return expanded(variable["value"], before)


def with_folders(pod: Manifest, storage: Path) -> Manifest:
    """A pod that has a volume for each part of the claim that it mounts, out of a folder of this host."""
    adapted = deepcopy(pod)
    spec = adapted["spec"]
    claims = {volume["name"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume}
    made: dict[str, Manifest] = {}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for mount in container["volumeMounts"]:
            if mount["name"] in claims:
                part = mount.pop("subPath")
                mount["name"] = f"{mount['name']}-{part.strip('.')}"
                kind = "Directory" if (storage / part).is_dir() else "File"
                made[mount["name"]] = {"name": mount["name"], "hostPath": {"path": str(storage / part), "type": kind}}
    spec["volumes"] = [*(volume for volume in spec["volumes"] if volume["name"] not in claims), *made.values()]
    return adapted


def plain(secret: Mapping[str, Any]) -> Manifest:
    """A Secret whose values are not encoded."""
    return {**secret, "data": {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}}


def with_own_scratch(pod: Manifest) -> Manifest:
    """A pod whose empty volumes have names that no other pod's have."""
    adapted = deepcopy(pod)
    spec = adapted["spec"]
    own = [volume for volume in spec["volumes"] if "emptyDir" in volume]
    names = {volume["name"]: f"{pod['metadata']['name']}-{volume['name']}" for volume in own}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for mount in container["volumeMounts"]:
            mount["name"] = names.get(mount["name"], mount["name"])
    for volume in own:
        volume["name"] = names[volume["name"]]
    return adapted


def before(pod: Manifest) -> tuple[list[Manifest], Manifest]:
    """What a pod runs to its end before it starts, as pods of their own, and the pod without it."""
    adapted = deepcopy(pod)
    spec = adapted["spec"]
    first = spec.pop("initContainers", [])
    made = []
    for container in first:
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        volumes = [volume for volume in spec["volumes"] if volume["name"] in mounted]
        shared = [volume["name"] for volume in volumes if "emptyDir" in volume]
        if shared:
            raise ValueError(
                f"{container['name']} leaves {', '.join(shared)} to the pod, and has a volume of its own here"
            )
        alone = {**spec, "restartPolicy": "Never", "containers": [container], "volumes": volumes}
        name = f"{pod['metadata']['name']}-{container['name']}"
        made.append({**pod, "metadata": {**pod["metadata"], "name": name}, "spec": alone})
    return made, adapted


def without_ports(pod: Manifest) -> Manifest:
    """A pod whose ports are its own alone."""
    adapted = deepcopy(pod)
    for container in adapted["spec"]["containers"]:
        container.pop("ports", None)
    return adapted


def without_probes(pod: Manifest) -> Manifest:
    """A pod that podman does not look at."""
    adapted = deepcopy(pod)
    for container in adapted["spec"]["containers"]:
        for kind in ("startup", "liveness", "readiness"):
            container.pop(f"{kind}Probe", None)
    return adapted


def playable(pod: Manifest, config_maps: Mapping[str, Mapping[str, str]], storage: Path) -> list[Manifest]:
    """What is played of a pod, one after the other, each but the last to its end."""
    adapted = with_own_scratch(with_folders(with_words(pod, config_maps), storage))
    first, main = before(without_ports(without_probes(adapted)))
    return [*first, main]


def probes(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a cluster looks at before it calls a pod ready."""
    (container,) = pod["spec"]["containers"]
    return [container[kind] for kind in ("startupProbe", "readinessProbe") if kind in container]


class Podman:
    """podman with a storage of its own, in a folder that goes with it.

    run: a folder with a name of 50 characters at most. driver: of the storage, and what it is told.
    """

    def __init__(self, folder: Path, run: str, *driver: str) -> None:
        self.storage = ["--root", str(folder / "storage"), "--runroot", run, "--storage-driver", *driver]
        settings = containers_conf(
            unified_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
            may_raise_limits=may_raise_limits(),
            systemd=Path("/run/systemd/system").is_dir(),
        )
        (folder / "containers.conf").write_text(
            settings.replace("[engine]\n", f'[engine]\ninfra_image = "{PAUSE}"\n'), encoding="utf-8"
        )
        self.environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}

    def run(self, *words: str, told: str = "") -> subprocess.CompletedProcess[str]:
        """What came of a command, whether it failed or not. told: what it reads."""
        command = ["podman", "--log-level=error", *self.storage, *words]
        return subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True, input=told)

    def __call__(self, *words: str, told: str = "") -> str:
        done = self.run(*words, told=told)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def bring_secret(self, secret: Mapping[str, Any]) -> None:
        """A Secret, as pods find it."""
        self("secret", "create", secret["metadata"]["name"], "-", told=yaml.safe_dump(plain(secret)))

    def bring_image(self, archive: Path, name: str, *changes: str) -> None:
        """An image of an archive."""
        told = [word for change in changes for word in ("--change", change)]
        self("import", "--quiet", *told, str(archive), name)

    def bring_pause(self, archive: Path) -> None:
        """The image that every pod needs besides those of its containers."""
        self.bring_image(archive, PAUSE, 'ENTRYPOINT ["/bin/sleep", "100000"]')

    def clear(self) -> None:
        """Neither pods nor images."""
        self("pod", "rm", "--all", "--force", "--time", "0")
        self("rmi", "--all", "--force")


def root_filesystem(folder: Path, applets: Sequence[str], programs: Mapping[str, str]) -> Path:
    """An archive of a small image: a shell with these of its programs, and scripts for it."""
    root = folder / "root"
    for path in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "var/log", "usr/bin"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, root / "bin/busybox")
    for applet in applets:
        (root / "bin" / applet).symlink_to("busybox")
    for name, text in programs.items():
        (root / "bin" / name).write_text(SHELL + text, encoding="utf-8")
        (root / "bin" / name).chmod(0o755)
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.add(root, ".")
    return folder / "root.tar"
