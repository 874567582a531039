# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kombu's AMQP transport for a broker of several nodes: patient while they choose a leader, and sure whom it talks to.

``install`` has kombu take it for all addresses that begin with amqp:// or amqps://.
"""

from __future__ import annotations

import ssl
import time
from typing import Any

from amqp.exceptions import MessageNacked
from kombu.transport import TRANSPORT_ALIASES, pyamqp

PATIENCE = 10.0
"""Seconds that a message is offered again. A queue takes none while it has lost its leader and not yet chosen another."""

PAUSE = 0.2

OF_THE_MACHINE = {"context": {"check_hostname": True}}
"""Of a broker whose authority the machine knows: without ca_certs py-amqp would look at no name otherwise."""


class Channel(pyamqp.Channel):
    """A channel that offers a message again where the broker refused it.

    kombu would connect anew and offer it three times, which is over before a queue has its next leader.
    """

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return super().basic_publish_confirm(*args, **kwargs)
            except MessageNacked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)


class Connection(pyamqp.Connection):
    """A connection with such channels."""

    Channel = Channel


class Transport(pyamqp.Transport):
    """A transport with such connections, which asks a certificate for the name of the node that it is connected to.

    kombu asks for none, or, told to, for that of the first node, whichever it is connected to later.
    """

    Connection = Connection

    def establish_connection(self) -> Any:
        shared = self.client.ssl
        if isinstance(shared, dict) and shared.get("cert_reqs") == ssl.CERT_REQUIRED:
            self.client.ssl = {
                "server_hostname": self.client.hostname,
                **(shared if "ca_certs" in shared else OF_THE_MACHINE),
            }
        try:
            return super().establish_connection()
        finally:
            # Connections that are made like this one may be to another node.
            self.client.ssl = shared


class SSLTransport(Transport, pyamqp.SSLTransport):
    """The same for addresses that say amqps."""


def install() -> None:
    """Have kombu take these transports."""
    for scheme, transport in {"amqp": "Transport", "pyamqp": "Transport", "amqps": "SSLTransport"}.items():
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{transport}"
