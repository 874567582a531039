# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is of a lab, to be removed with it."""

from __future__ import annotations

from ansible_collections.airstack.backbone.plugins.module_utils._lab.description import Lab
from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_IMAGE
from ansible_collections.airstack.backbone.plugins.module_utils._lab.machine import Machine


def leftovers(lab: Lab, machine: Machine) -> dict[str, list[str]]:
    """All that is this lab's, to be removed; images only where no other lab uses them."""
    containers = [container.name for container in machine.containers if lab.owns(container.labels)]
    used = {container.image_identity for container in machine.containers if container.name not in containers}
    unused = [image for image in machine.images if LABEL_IMAGE in image.labels and image.identity not in used]
    return {
        "containers": containers,
        "networks": [network.name for network in machine.networks if lab.owns(network.labels)],
        "volumes": [name for name, labels in machine.volumes.items() if lab.owns(labels)],
        "images": [image.name or image.identity[:12] for image in unused],
    }
