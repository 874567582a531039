# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A broker's certificate, tried before any server has it: by a handshake in memory, with the eyes of Python's own clients."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .. import _resp

BEGIN = "-----BEGIN CERTIFICATE-----"

CERTIFICATE = "airflow_broker_tls_certificate"
KEY = "airflow_secret_broker_tls_key"
AUTHORITY = "airflow_broker_tls_ca"
"""The variables from which the texts come."""

OTHERS = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
"""What OpenSSL says of a key that belongs to another certificate."""

ROUNDS = 10
"""More than any handshake takes."""


class Locked(Exception):
    """A key that wants a passphrase."""


def problems(texts: Mapping[str, str], address: str) -> list[str]:
    """What keeps servers from starting, and clients from believing them, in sentences.

    texts: certificate (with those between it and the authority), key and ca, as PEM. address: where clients connect to.
    """
    found = [
        f"{variable} holds no certificate that can be read: bring one as PEM, which begins with {BEGIN}"
        for variable, text in ((CERTIFICATE, texts["certificate"]), (AUTHORITY, texts["ca"]))
        if not _is_read(text)
    ]
    if found:
        return found
    try:
        server = _server(texts["certificate"], texts["key"])
    except Locked:
        return [f"{KEY} is locked by a passphrase, and servers start without a person: bring the key without one"]
    except ssl.SSLError as error:
        return [_unfit(error)]
    try:
        _shake_hands(server, _resp.trusting(texts["ca"]), address)
    except ssl.SSLError as error:
        reason = str(getattr(error, "verify_message", error))
        advice = f"It has to name {address} in its subjectAltName, to be signed by {AUTHORITY}, and not to be over"
        return [f"clients would refuse {CERTIFICATE} at {address}: {reason.rstrip('.')}. {advice}"]
    return []


def _is_read(text: str) -> bool:
    try:
        return BEGIN in text and bool(_resp.trusting(text))
    except ssl.SSLError:
        return False


def _unfit(error: ssl.SSLError) -> str:
    if error.reason in OTHERS:
        return f"{KEY} is the key of another certificate than {CERTIFICATE}: bring the two that belong together"
    return (
        f"no server takes {CERTIFICATE} with {KEY} ({error.reason or error}): bring the key as PEM, and the nodes' certificate"
        " as the first one in its file"
    )


def _server(certificate: str, key: str) -> ssl.SSLContext:
    """Raises Locked, and ssl.SSLError where the two do not fit."""

    def locked() -> str:
        raise Locked

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate_file, key_file = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate_file.write_text(f"{certificate}\n", encoding="utf-8")
        key_file.write_text(f"{key}\n", encoding="utf-8")
        made.load_cert_chain(certificate_file, key_file, locked)
    return made


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, address: str) -> None:
    """Raises ssl.SSLError with what the client finds."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=address)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _round in range(ROUNDS):
        for end in (asking, answering):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if end is asking:
                return
