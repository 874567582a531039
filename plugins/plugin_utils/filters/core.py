# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an image of the core is built on and from, and which one an environment has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._core import bases, deployed, parity, registry, wheels
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._render import image


def core_image_base(name: str, python: str, *recipe: str) -> dict[str, Any]:
    """The base of an image, with what is wrong with it."""
    asked = bases.base(name, python)
    return {
        "reference": bases.reference(asked, *recipe),
        "release": asked.release,
        "python": asked.python,
        "problems": bases.base_problems(name, python),
    }


def core_image_context(
    base: str, python: str, system_packages: Sequence[str] = (), builder: str = "podman"
) -> dict[str, str]:
    """The files of a build context. Docker mounts into a step with BuildKit alone, which not every Docker has."""
    return image.context(image.Recipe(base, python, system_packages, mounts=builder != "docker"))


def core_image_trial(requirements: str, imports: Sequence[str], commands: Sequence[str]) -> str:
    """The program that tries an image of these requirements."""
    return image.trial(wheels.locked(requirements), imports, commands)


def core_image_is_shared(repository: str) -> bool:
    """Whether a repository is in a registry."""
    return registry.repository(repository) is not None


def core_lock_promoted(
    content: str, origin: str, environment: str, airflow_version: str, made: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What another environment's lock becomes in this one, with what is wrong with that."""
    lock, problems = deployed.promoted(content, origin, environment, airflow_version, made)
    return {"lock": lock, "problems": problems}


def core_lock_problems(content: str, origin: str = deployed.FILE) -> list[str]:
    """Why a file is no lock of a core."""
    try:
        deployed.parse(content, origin)
    except CoreError as error:
        return [str(error)]
    return []


def core_parity(first: str, second: str, origins: Sequence[str] = (deployed.FILE,) * 2) -> str:
    """Where the cores of two environments differ, as a person reads it."""
    return parity.text(_parse(first, origins[0]), _parse(second, origins[1]))


def core_differing(first: str, second: str, origins: Sequence[str] = (deployed.FILE,) * 2) -> list[str]:
    """What makes the cores of two environments two."""
    return parity.differing(_parse(first, origins[0]), _parse(second, origins[1]))


def _parse(content: str, origin: str) -> dict[str, Any]:
    try:
        return deployed.parse(content, origin)
    except CoreError as error:
        raise AnsibleFilterError(str(error)) from error
