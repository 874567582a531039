# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options with which a module reaches Airflow's REST API."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that use airstack.backbone's module_utils/_api.py."""

    DOCUMENTATION = r"""
options:
  hosts:
    description:
      - API servers, as host names or IP addresses that are reached over HTTP, or as V(http) and V(https) URLs.
      - The first that answers is used.
    type: list
    elements: str
    required: true
  port:
    description: Where those answer that are not given as a URL.
    type: int
    default: 8080
  user:
    description: A user who may see all DAGs.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  validate_certs:
    description: Whether the certificate of an V(https) URL is verified.
    type: bool
    default: true
  ca_path:
    description: A file with the certificates of the authorities to trust besides the system's own.
    type: path
"""
