# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options with which a module reaches a Redis, and of how it shall be set."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that use airstack.backbone's module_utils/_resp.py."""

    DOCUMENTATION = r"""
options:
  host:
    description: The server's address.
    type: str
    default: 127.0.0.1
  port:
    description: The server's port.
    type: int
    default: 6379
  tls:
    description: How to know a server with TLS. Left out where the connection is not encrypted.
    type: dict
    suboptions:
      ca_path:
        description: A file with the certificates of the authorities to trust. The system's own when left out.
        type: path
      name:
        description: Whom the server's certificate has to name. O(host) when left out.
        type: str
  user:
    description: The user who asks. Redis's C(default) when left out.
    type: str
  password:
    description: Its password.
    type: str
  settings:
    description: Settings that it shall have, by their names in C(redis.conf).
    type: dict
    default: {}
"""
