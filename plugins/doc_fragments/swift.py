# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options with which a module reaches Swift."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that use airstack.backbone's module_utils/_swift.py."""

    DOCUMENTATION = r"""
options:
  auth_url:
    description: Where Swift gives tokens (version 1 authentication), such as V(http://objects1:8080/auth/v1.0).
    type: str
    required: true
  user:
    description:
      - The user who asks, as V(account:user), in printable ASCII.
      - Only an administrator of the account may make containers.
    type: str
    required: true
  key:
    description: The user's key, in printable ASCII.
    type: str
    required: true
  validate_certs:
    description: Whether the certificate of an V(https) URL is verified.
    type: bool
    default: true
  ca_path:
    description: A file with the certificates of the authorities to trust, where the system's own do not do.
    type: path
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 10
"""
