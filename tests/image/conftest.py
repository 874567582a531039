# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The core's image, which is built once for all tests: it takes minutes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.airstack.backbone.tests.image.core_images import Controller
from ansible_collections.airstack.backbone.tests.unit.services import image_registry
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority


@pytest.fixture(name="controller", scope="session")
def controller_with_an_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    authority = Authority(tmp_path_factory.mktemp("authority"), "authority")
    with image_registry.running(tmp_path_factory.mktemp("registry"), authority) as host:
        controller = Controller(tmp_path_factory.mktemp("controller"), host, authority.ca)
        changed, said = controller.core()
        assert changed > 0, said
        yield controller
        controller.remove()
