# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The same wheels, built in two places at two times, are one image."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.airstack.backbone.tests.image import containers
from ansible_collections.airstack.backbone.tests.image.small_images import Images
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.services import image_registry

pytestmark = [needs.root, needs.podman, needs.docker_registry, needs.mmdebstrap]


def test_the_same_wheels_are_the_same_image_wherever_and_whenever_they_are_built(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    environment = containers.settings(tmp_path)
    with image_registry.running(tmp_path / "registry") as host:
        images = Images(tmp_path, host, environment)
        built = [images.build(tmp_path / name, name.lower())["image"] for name in ("one", "Elsewhere")]
        try:
            pushed = [images.push(each["reference"], tls=False)["digest"] for each in built]
        finally:
            for each in built:
                containers.podman(environment, "rmi", each["reference"])
    assert built[0]["reference"] != built[1]["reference"]
    assert built[0]["id"] == built[1]["id"]
    assert pushed[0] == pushed[1]
