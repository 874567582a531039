# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What PostgreSQL needs to know, out of the plan."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._services import postgresql


def scram_sha_256(password: str, user: str) -> str:
    """The verifier of a password; see module_utils."""
    try:
        return postgresql.scram_sha_256(password, user)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
