# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The plan of a description that has one, and what is wrong with one that has none."""

from __future__ import annotations

from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory


def made(variables: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    """The plan."""
    result, wrong = plan.make(variables, inventory)
    assert wrong == []
    assert result is not None
    return result


def refused(variables: dict[str, Any], inventory: Inventory) -> dict[str, str]:
    """What would be right, by the variable that is wrong."""
    result, wrong = plan.make(variables, inventory)
    assert result is None
    return {problem.variable: problem.right for problem in wrong}
