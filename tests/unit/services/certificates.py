# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Authorities of the tests, and the certificates that they sign for addresses."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Signs certificates for addresses; its own certificate is ca.pem."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        ca = self._certificate(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        ca = ca.add_extension(_for_signatures(), critical=True)
        self.ca = self._write("ca.pem", ca.sign(self._key, hashes.SHA256()))

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def certify(self, address: str) -> tuple[Path, str]:
        """The file of a certificate for an address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = self._certificate(x509.Name([]), key).add_extension(names, critical=True)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self._write(f"{address}.pem", made.sign(self._key, hashes.SHA256()))
        return path, key.private_bytes(*form).decode()

    def equip(self, folder: Path, address: str) -> None:
        """Put a new certificate for an address into a folder, under the names that the role airflow_broker gives."""
        folder.mkdir(exist_ok=True)
        certificate, key = self.certify(address)
        texts = {"certificate.pem": certificate.read_text(), "ca.pem": self.ca.read_text(), "key.pem": key}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def _for_signatures() -> x509.KeyUsage:
    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        **dict.fromkeys((*others, "encipher_only", "decipher_only"), False), key_cert_sign=True, crl_sign=True
    )
