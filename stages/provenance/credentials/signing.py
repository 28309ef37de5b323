"""Who signs: a certificate, and a key that is read where it is used and travels nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.errors import Problem
from stages.provenance.credentials.development import NAME, DevelopmentCertificate, development_certificate
from stages.provenance.settings import ENVIRONMENT, Credentials

if TYPE_CHECKING:
    from cryptography import x509

DEVELOPMENT = "development"  # identity of every development certificate: another one is no reason to sign again
_CURVES = {"secp256r1": ("es256", 32), "secp384r1": ("es384", 48), "secp521r1": ("es512", 66)}
_HASHES = {"es256": "SHA256", "es384": "SHA384", "es512": "SHA512", "ps256": "SHA256"}
_CHAIN = "give PEM: the signing certificate first, then those above it, issued by an authority (not by itself)"


@dataclass(frozen=True)
class Signing:
    """A certificate and what signs with its key.

    algorithm: as C2PA names it; identity: of the certificate, hex SHA-256 or "development"; name: its common name;
    ends: when its term does, after which films that it signed are told as `expired`.
    """

    chain: str = field(repr=False)
    algorithm: str
    identity: str
    name: str
    ends: datetime
    _sign: Callable[[bytes], bytes] = field(repr=False)

    def signature(self, data: bytes) -> bytes:
        """What COSE calls the signature: for ECDSA, r and s one after the other. Raises `Problem`."""
        try:
            made = self._sign(data)
        except Exception as error:
            what = f"certificate {self.name!r}: signing failed ({type(error).__name__})"  # its text may hold a secret
            raise Problem(what, "see that the key or the signer in provenance.credentials can be used here") from None
        return self._flat(made)

    def _flat(self, made: bytes) -> bytes:
        """As r and s, where a signer answers DER, as key vaults do."""
        size = dict(_CURVES.values()).get(self.algorithm)
        if size is None or len(made) == 2 * size:
            return made
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        try:
            return b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(made))
        except (ValueError, OverflowError):
            error = f"certificate {self.name!r}: its signer answered {len(made)} bytes, no {self.algorithm} signature"
            raise Problem(error, "answer DER, or r and s one after the other") from None


def signing_of(credentials: Credentials, development: DevelopmentCertificate | None) -> Signing | None:
    """Who signs films by a configuration; None where films are not to be signed. Raises `Problem`.

    `development` is a development certificate that is there already; else it is this machine's.
    """
    if not credentials.sign:
        return None
    if credentials.certificate is None:
        development = development or development_certificate()
        return _with_key(development.certificate, development.private_key, "the development certificate")
    chain = _text_at(credentials.certificate, "certificate")
    if credentials.private_key is not None:
        return _with_key(chain, _text_at(credentials.private_key, "private_key"), credentials.private_key)
    leaf, algorithm = _leaf(chain)
    sign = _called(str(credentials.signer))
    return Signing(chain, algorithm, _identity(leaf), _name(leaf), leaf.not_valid_after_utc, sign)


def _with_key(chain: str, private_key: str, named: str) -> Signing:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    leaf, algorithm = _leaf(chain)
    try:
        key: Any = load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError) as error:
        wrong = "is encrypted" if isinstance(error, TypeError) else "holds no private key as PEM"
        raise Problem(f"provenance.credentials.private_key: {named} {wrong}", "give unencrypted PKCS #8 PEM") from None
    if key.public_key() != leaf.public_key():
        fault = f"provenance.credentials.private_key: {named} is not the key of certificate {_name(leaf)!r}"
        raise Problem(fault, "give the key that the certificate was issued for")
    return Signing(chain, algorithm, _identity(leaf), _name(leaf), leaf.not_valid_after_utc, _signer(key, algorithm))


def _signer(key: Any, algorithm: str) -> Callable[[bytes], bytes]:
    """Signs the same data the same way, where the algorithm allows it: RSA's does not."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    if algorithm == "ed25519":
        return key.sign
    digest = getattr(hashes, _HASHES[algorithm])()
    if algorithm == "ps256":
        return lambda data: key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return lambda data: key.sign(data, ec.ECDSA(digest, deterministic_signing=True))  # RFC 6979


def _leaf(chain: str) -> tuple[x509.Certificate, str]:
    """The signing certificate, and the algorithm that goes with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        key = leaf.public_key()
    except (ValueError, IndexError) as error:
        raise Problem(f"provenance.credentials.certificate: not readable ({error})", _CHAIN) from None
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return leaf, _CURVES[key.curve.name][0]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return leaf, "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return leaf, "ps256"
    fault = f"provenance.credentials.certificate: C2PA signs with no {type(key).__name__}"
    raise Problem(fault, "bring a certificate for P-256, P-384, P-521, Ed25519 or RSA")


def _identity(leaf: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import hashes

    return DEVELOPMENT if _name(leaf) == NAME else leaf.fingerprint(hashes.SHA256()).hex()


def _name(leaf: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else leaf.subject.rfc4514_string()


def _text_at(place: str, field_name: str) -> str:
    """What stands in the file or variable. Raises `Problem`, which names the place alone."""
    where = f"provenance.credentials.{field_name}"
    if place.startswith(ENVIRONMENT):
        name = place.removeprefix(ENVIRONMENT)
        if not (text := os.environ.get(name)):
            remedy = "set it where the run begins and for every worker (`catwalk submit --env`), or name a file"
            raise Problem(f"{where}: the variable {name!r} is not set", remedy)
        return text.replace("\\n", "\n")  # as it is often written into one line
    try:
        return Path(place).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise Problem(f"{where}: {place}: {reason}", "name a PEM file that is on every node under this path") from None


def _called(dotted: str) -> Callable[[bytes], bytes]:
    """The function of that name, "my_package.vault:sign". Raises `Problem`."""
    module, _, name = dotted.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        remedy = "name it as my_package.module:function, in a package that is installed on every node"
        raise Problem(f"provenance.credentials.signer: {dotted}: {error}", remedy) from None
