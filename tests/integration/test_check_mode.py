# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Check mode tells the truth about a platform that is as it was described."""

from __future__ import annotations

import re

from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, ansible_playbook


def test_check_mode_foresees_no_change(platform: Platform) -> None:
    output = ansible_playbook(platform.inventory, "site.yml", {}, "--check", "--diff")
    assert set(re.findall(r"changed=(\d+)", output)) == {"0"}, output
