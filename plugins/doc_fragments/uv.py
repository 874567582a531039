# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of a module that has uv work."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that use airstack.backbone's module_utils/_core/uv.py."""

    DOCUMENTATION = r"""
options:
  uv:
    description: A uv that the host has. When left out, O(uv_wheel) is taken from the package index.
    type: path
  uv_wheel:
    description: The file in the package index that uv comes from.
    type: dict
    suboptions:
      file:
        description: Its name.
        type: str
        required: true
      sha256:
        description: Its hash.
        type: str
        required: true
  index_url:
    description:
      - The package index (PEP 503), with user and password where it asks for them. It reaches uv, and pip, through files that
        only the user who runs this can read.
      - When left out, it comes from E(UV_DEFAULT_INDEX), E(PIP_INDEX_URL) or pip's configuration on the host.
    type: str
  default_index_url:
    description: The public package index, from which uv is fetched where neither O(index_url) nor the host names another.
    type: str
    default: ""
"""
