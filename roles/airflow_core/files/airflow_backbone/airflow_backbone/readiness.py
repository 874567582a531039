# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells that a worker consumes: systemd, for units of ``Type=notify``, or whoever looks for a file, in a container.

``AIRFLOW_BACKBONE_READY`` names that file. Where nobody is to be told, nothing happens.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from celery.signals import worker_init, worker_ready


@worker_ready.connect
def tell_systemd(**_arguments: object) -> None:
    """Send what sd_notify(3) sends."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notification:
        notification.connect(address)
        notification.sendall(b"READY=1")


@worker_init.connect
def remove_file(**_arguments: object) -> None:
    """Remove what a worker before this one made: where a pod's container starts anew, its files are still there."""
    path = os.environ.get("AIRFLOW_BACKBONE_READY")
    if path:
        Path(path).unlink(missing_ok=True)


@worker_ready.connect
def make_file(**_arguments: object) -> None:
    """Make the file for which a container's health check looks."""
    path = os.environ.get("AIRFLOW_BACKBONE_READY")
    if path:
        Path(path).touch()
