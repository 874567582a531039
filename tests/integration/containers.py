# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What runs a platform's components in containers, asked what they are: a Swarm, or a cluster of Kubernetes."""

from __future__ import annotations

import abc
import dataclasses
import json
import subprocess
import tempfile
import typing as t
import uuid

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, ansible_playbook, at_once

BROKEN = 'FROM {image}\nENTRYPOINT ["dumb-init", "--", "python", "-c", "raise SystemExit(\'this core is broken\')"]\n'
"""The recipe of a core that does not start."""


@dataclasses.dataclass(frozen=True)
class Mount:
    """What a container has of the DAG storage: a path below that, and whether it may write there."""

    path: str
    is_writable: bool


class Containers(abc.ABC):
    """The components of a platform, by their names in the plan.

    update_seconds: longer than an update of all of them takes until the workers' turn.
    """

    update_seconds: t.ClassVar[int]

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @abc.abstractmethod
    def images(self) -> dict[str, str]:
        """The image of each component that stays."""

    @abc.abstractmethod
    def described(self, component: str) -> str:
        """All that may be read about the containers of a component, and what they were made from."""

    @abc.abstractmethod
    def addresses(self, component: str) -> set[str]:
        """By which its containers are reached."""

    @abc.abstractmethod
    def mounts(self, component: str) -> list[Mount]:
        """What its one container has of the DAG storage."""

    @abc.abstractmethod
    def _build(self, name: str, recipe: str) -> str:
        """The digest of an image that was built from a Dockerfile and pushed."""

    def derived(self, image: str, recipe: str) -> str:
        """The digest of an image that was built on the core's and pushed beside it."""
        return self._build(f"{image.partition('@')[0]}:{uuid.uuid4().hex}", recipe.format(image=image))

    def _below_the_storage(self, mounted: t.Iterable[tuple[str, bool]]) -> list[Mount]:
        storage = self._platform.plan["dag_storage"]["path"]
        found = [
            Mount(path.removeprefix(f"{storage}/"), writable) for path, writable in mounted if path.startswith(storage)
        ]
        return sorted(found, key=lambda mount: mount.path)


class Swarm(Containers):
    """The Swarm's manager, asked through the command of Docker on its host."""

    update_seconds = 200

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._stack = f"airflow-{platform.plan['environment']}"
        self._nodes: list[str] = platform.plan["nodes"]

    def _docker(self, command: str, node: str | None = None, stdin: str = "") -> str:
        return self._platform.run(node or self._nodes[0], f"docker {command}", stdin).stdout.strip()

    def images(self) -> dict[str, str]:
        names = self._docker(f"service ls --quiet --filter label=com.docker.stack.namespace={self._stack}").split()
        services = json.loads(self._docker(f"service inspect {' '.join(names)}"))
        return {
            service["Spec"]["Name"].removeprefix(f"{self._stack}_"): service["Spec"]["TaskTemplate"]["ContainerSpec"][
                "Image"
            ]
            for service in services
            if "Replicated" in service["Spec"]["Mode"]
        }

    def _running(self, component: str) -> list[dict[str, t.Any]]:
        """What runs of a component, on whichever node."""
        label = f"label=com.docker.swarm.service.name={self._stack}_{component}"

        def on(node: str) -> list[dict[str, t.Any]]:
            found = self._docker(f"ps --quiet --filter {label}", node).split()
            return list(json.loads(self._docker(f"inspect {' '.join(found)}", node))) if found else []

        return [
            container for found in at_once([lambda node=node: on(node) for node in self._nodes]) for container in found
        ]

    def described(self, component: str) -> str:
        return json.dumps(self._running(component))

    def addresses(self, component: str) -> set[str]:
        return {
            network["IPAddress"]
            for container in self._running(component)
            for network in container["NetworkSettings"]["Networks"].values()
        }

    def mounts(self, component: str) -> list[Mount]:
        (container,) = self._running(component)
        return self._below_the_storage((mount["Destination"], mount["RW"]) for mount in container["Mounts"])

    def _build(self, name: str, recipe: str) -> str:
        self._docker(f"build --quiet --tag {name} -", stdin=recipe)
        self._docker(f"push --quiet {name}")
        (reference,) = json.loads(self._docker(f"image inspect {name} --format '{{{{json .RepoDigests}}}}'"))
        return str(reference.partition("@")[2])


class Cluster(Containers):
    """A namespace, asked with kubectl as who deployed into it."""

    # Each question to a cluster costs its client some seconds of computing.
    update_seconds = 900

    def kubectl(self, *command: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run([*self._platform.kubectl, *command], stdin, check)

    def of(self, kind: str, **labels: str) -> list[dict[str, t.Any]]:
        """What the environment has of a kind, with these labels besides."""
        wanted = {"environment": self._platform.plan["environment"], **labels}
        selector = ",".join(f"airstack.backbone/{name}={value}" for name, value in wanted.items())
        return list(json.loads(self.kubectl("get", kind, f"--selector={selector}", "--output=json").stdout)["items"])

    def images(self) -> dict[str, str]:
        stay = [each for kind in ("deployments", "statefulsets") for each in self.of(kind)]
        known = {component["name"] for component in self._platform.plan["components"]}
        by_name = {
            each["metadata"]["labels"]["airstack.backbone/component"]: each["spec"]["template"]["spec"]["containers"][
                0
            ]["image"]
            for each in stay
            if "airstack.backbone/component" in each["metadata"]["labels"]
        }
        return {name: image for name, image in by_name.items() if name in known}

    def pods(self, component: str) -> list[dict[str, t.Any]]:
        """Those of a component that are not on their way out."""
        return [pod for pod in self.of("pods", component=component) if "deletionTimestamp" not in pod["metadata"]]

    def described(self, component: str) -> str:
        """A ConfigMap is read by whoever may read pods."""
        pods = self.pods(component)
        return (
            json.dumps([*pods, *self.of("configmaps"), *self.of("deployments"), *self.of("statefulsets")])
            if pods
            else "[]"
        )

    def addresses(self, component: str) -> set[str]:
        return {pod["status"]["podIP"] for pod in self.pods(component)}

    def mounts(self, component: str) -> list[Mount]:
        (pod,) = self.pods(component)
        claims = {volume["name"] for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume}
        return self._below_the_storage(
            (mount["mountPath"], not mount.get("readOnly", False))
            for container in pod["spec"]["containers"]
            for mount in container["volumeMounts"]
            if mount["name"] in claims
        )

    def _build(self, name: str, recipe: str) -> str:
        tls = f"--tls-verify={str(self._platform.cluster['registry_tls']).lower()}"
        self._run(["podman", "build", "--quiet", "--isolation=chroot", tls, f"--tag={name}", "-"], recipe)
        with tempfile.NamedTemporaryFile("r") as digest:
            self._run(["podman", "push", "--quiet", tls, f"--digestfile={digest.name}", name])
            self._run(["podman", "rmi", name])
            return digest.read()

    def _run(self, command: list[str], stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command} gave {done.returncode}: {done.stderr}{done.stdout}"
        return done


OF_PLATFORM: dict[str, type[Containers]] = {"swarm": Swarm, "kubernetes": Cluster}
"""By airflow_platform."""


def deploy(platform: Platform, image: str, digest: str, succeeds: bool = True, **variables: t.Any) -> str:
    """Deploy the platform with another image of the core."""
    core = {"image": image.partition("@")[0], "digest": digest}
    given = {"airflow_core_deployed": core, **variables}
    return ansible_playbook(platform.inventory, "site.yml", given, succeeds=succeeds)
