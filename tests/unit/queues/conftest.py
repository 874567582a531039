# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.airstack.backbone.tests.unit.plugins.modules import conftest

run_module = conftest.run_module
