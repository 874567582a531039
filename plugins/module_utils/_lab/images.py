# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The releases that a lab's hosts can be of, and the image of each."""

from __future__ import annotations

from hashlib import sha256

RELEASES = ("bookworm", "trixie")
IMAGE_REPOSITORY = "localhost/airstack-lab"


def image(release: str, *recipe: bytes) -> str:
    """The image of a release: another recipe gives another image."""
    digest = sha256(b"\0".join([release.encode(), *recipe])).hexdigest()
    return f"{IMAGE_REPOSITORY}:{release}-{digest[:12]}"
