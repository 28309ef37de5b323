"""Certificates as an authority would issue them, for films that tests sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


class Issued(NamedTuple):
    """PEM files of a root, of a leaf that it issued, and of the leaf's key."""

    root: Path
    certificate: Path
    private_key: Path

    def section(self) -> dict[str, Any]:
        """As a run's configuration has it."""
        return {"credentials": {"certificate": str(self.certificate), "private_key": str(self.private_key)}}


def issue(
    folder: Path, name: str = "House of Tests", kind: str = "P-256", purpose: bool = True, days: float = 3650
) -> Issued:
    """A certificate for signing, good for so many days from now; without `purpose`, C2PA does not take it."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key = KEYS["P-256"](), KEYS[kind]()
    above, subject = _name(f"{name} root"), _name(name)
    root = (
        _begun(above, above, root_key.public_key())
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(_usage(key_cert_sign=True), True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = _begun(subject, above, key.public_key(), days).add_extension(x509.BasicConstraints(False, None), True)
    leaf = leaf.add_extension(_usage(digital_signature=True), True)
    use = ExtendedKeyUsageOID.EMAIL_PROTECTION if purpose else ExtendedKeyUsageOID.SERVER_AUTH
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([use]), False)
    of_root = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    issued = leaf.add_extension(of_root, False).sign(root_key, hashes.SHA256())
    made = Issued(*(folder / f"{part}.pem" for part in ("root", "certificate", "private_key")))
    made.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    made.private_key.write_bytes(key.private_bytes(*forms))
    return made


def _name(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")]
    )


def _begun(subject: x509.Name, issuer: x509.Name, key: Any, days: float = 3650) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begin = now - timedelta(days=1 + abs(days))
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(begin)
    made = made.not_valid_after(now + timedelta(days=days))
    return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    names += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})
