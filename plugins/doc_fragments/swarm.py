# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules share that talk to a manager of a Docker Swarm."""

from __future__ import annotations


class ModuleDocFragment:
    """The Engine's socket."""

    DOCUMENTATION = r"""
options:
  socket:
    description: The socket of the Docker Engine, which is a manager of the Swarm.
    type: path
    default: /var/run/docker.sock
notes:
  - Needs the Docker Engine 20.10 or newer, and nothing but Python on the host.
"""
