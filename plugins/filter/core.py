# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an image of the core is built on and from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._core import bases, wheels
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


def core_image_context(base: str, python: str, system_packages: Sequence[str] = ()) -> dict[str, str]:
    """The files of a build context."""
    return image.context(image.Recipe(base, python, system_packages))


def core_image_trial(requirements: str, imports: Sequence[str], commands: Sequence[str]) -> str:
    """The program that tries an image of these requirements."""
    return image.trial(wheels.locked(requirements), imports, commands)


class FilterModule:
    """Filters for images of the core."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as playbooks use them."""
        return {
            "core_image_base": core_image_base,
            "core_image_context": core_image_context,
            "core_image_trial": core_image_trial,
        }
