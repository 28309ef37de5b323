"""The certificate that films are signed with until somebody brings a real one: nobody trusts it, and it says so.

It is made on first use, in the user's configuration folder: a root that issues one leaf and whose own key is then
thrown away, so that nothing else can ever be issued under it. A run makes or reads it where it begins, and hands leaf
and key to its workers: every film of a night has the same signer, whatever nodes it was made on.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import Problem

if TYPE_CHECKING:
    from cryptography import x509

NAME = "Catwalk development (untrusted)"
ORGANISATION = "Catwalk development, not a real organisation"
_VALID = timedelta(days=3650)
_FILES = ("root.pem", "certificate.pem", "private_key.pem")


@dataclass(frozen=True)
class DevelopmentCertificate:
    """Root, leaf and the leaf's key, as PEM."""

    root: str
    certificate: str
    private_key: str = field(repr=False)


def development_folder() -> Path:
    """Where it is kept: `$XDG_CONFIG_HOME/catwalk/development`, or below ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "catwalk" / "development"


def development_root() -> Path | None:
    """This machine's development root, if one was made."""
    with suppress(OSError, RuntimeError):  # no home
        if (root := development_folder() / _FILES[0]).is_file():
            return root
    return None


def development_certificate() -> DevelopmentCertificate:
    """The one of this machine, made on first use; where it cannot be kept, one for this run alone.

    Of several processes that make it at once, one does, and the others take its. Raises `Problem` where what is kept
    cannot be read.
    """
    try:
        folder = development_folder()
        if not folder.is_dir():
            _keep(_made(), folder)
    except (OSError, RuntimeError):
        return _made()
    try:
        return DevelopmentCertificate(*((folder / name).read_text() for name in _FILES))
    except OSError as error:
        remedy = f"delete {folder}: another one is made, and films are signed again with it"
        raise Problem(f"development certificate: {error}", remedy) from None


def _keep(made: DevelopmentCertificate, folder: Path) -> None:
    """Put it in place whole, unless another process was first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".development-", dir=folder.parent) as scratch:  # mode 0700
        part = Path(scratch) / "made"
        part.mkdir(mode=0o700)
        for name, text in zip(_FILES, (made.root, made.certificate, made.private_key), strict=True):
            with open(os.open(part / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        with suppress(FileExistsError, OSError):  # a folder that is not empty is not replaced
            part.rename(folder)
    if not folder.is_dir():
        raise OSError(f"{folder} could not be made")


def _made() -> DevelopmentCertificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _named(f"{NAME} root"), _named(NAME)
    identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        _certificate(issuer, issuer)
        .public_key(root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(subject, issuer)
        .public_key(leaf_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return DevelopmentCertificate(root.public_bytes(pem).decode(), leaf.public_bytes(pem).decode(), key.decode())


def _named(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = ((NameOID.COMMON_NAME, name), (NameOID.ORGANIZATION_NAME, ORGANISATION))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


def _certificate(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    from cryptography import x509

    begin = datetime.now(UTC) - timedelta(days=1)  # clocks of other machines may be behind
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + _VALID)
    )


def _usage(**wanted: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    names += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})
