# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A platform on Docker Swarm: an update that fails is undone."""

from __future__ import annotations

import pytest

from ansible_collections.airstack.backbone.tests.integration.containers import BROKEN, Containers, deploy
from ansible_collections.airstack.backbone.tests.integration.deployed import VERIFY, Platform, ansible_playbook

pytestmark = [pytest.mark.disturbs, pytest.mark.swarm]


def test_an_update_that_fails_says_why_and_is_undone(platform: Platform, containers: Containers) -> None:
    before = containers.images()
    image = next(iter(before.values()))
    output = deploy(platform, image, containers.derived(image, BROKEN), succeeds=False)
    assert "this core is broken" in output
    assert containers.images() == before
    ansible_playbook(platform.inventory, VERIFY, {})
