# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Ansible wants to know of a module, in the words that many of them share."""

from __future__ import annotations


class ModuleDocFragment:
    """`attributes` for all that run on a host, `attributes.info` for those that only look, `attributes.controller`."""

    DOCUMENTATION = r"""
attributes:
  platform:
    support: full
    platforms: posix
    description: Target systems on which the module runs.
"""

    INFO = r"""
attributes:
  check_mode:
    support: full
    description: Can run in check mode, where it does the same.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
"""

    CONTROLLER = r"""
attributes:
  action:
    support: full
    description: Runs on the controller, without a connection.
"""
