# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What tests of a Swarm share with those of other modules."""

from __future__ import annotations

from ansible_collections.airstack.backbone.tests.unit.plugins.modules.conftest import run_module

__all__ = ["run_module"]
