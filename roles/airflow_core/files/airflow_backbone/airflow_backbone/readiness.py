# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells systemd that a worker consumes, for units of ``Type=notify``. Elsewhere it does nothing."""

from __future__ import annotations

import os
import socket

from celery.signals import worker_ready


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
