# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The labels by which what a lab made is known again."""

from __future__ import annotations

LABEL_NAME = "airstack.lab"
LABEL_DIRECTORY = "airstack.lab.directory"
LABEL_DESCRIPTION = "airstack.lab.description"
LABEL_IMAGE = "airstack.lab.image"
