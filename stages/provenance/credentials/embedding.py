"""Signs a finished file: C2PA's library lays the credentials into it, and what is random about them is made ours.

The library salts each assertion, and would sign with random numbers. Both are put in place of what it wrote here (salts
from the film's own key, RFC 6979 for the signature), so that a film made again is the same to the byte. That needs no
secret: salts keep an assertion that was taken out from being guessed, and none is taken out.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from manifests.errors import Problem
from stages.provenance.credentials.carrying import BUILDING
from stages.provenance.credentials.claims import FORMATS, definition
from stages.provenance.credentials.reading import OFFLINE
from stages.provenance.credentials.signing import Signing
from stages.provenance.facts import FilmFacts

# A JUMBF description box begins with its size and type, then what kind of content it describes.
_DESCRIPTION = 8 + 16
_STORE = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa\x00"
_SALT = b"\x00\x00\x00\x18c2sh"  # of 16 bytes
_HOLDS = ("Valid", "Trusted")


def sign_file(
    unsigned: Path,
    signed: Path,
    facts: FilmFacts,
    key: str,
    software: str,
    signing: Signing,
    carried: bytes | None = None,
) -> None:
    """Write the film or poster `unsigned` with credentials to `signed`; those that it carries are replaced.

    `key` is the signed film's; `carried` are credentials of the reference image that they go on with.

    Raises `Problem` where what was written does not hold: a film is signed, or not there.
    """
    from c2pa import Builder, C2paError, C2paSignerInfo, Context, Reader, Settings, Signer

    claimed = json.dumps(definition(facts, key, unsigned.suffix, software, carried is not None))
    info = C2paSignerInfo(signing.algorithm.encode(), signing.chain.encode(), _throwaway(signing.chain).encode(), None)
    try:
        with (
            Context(Settings.from_dict(BUILDING)) as context,
            Builder(claimed, context) as builder,
            Signer.from_info(info) as signer,
        ):
            if carried is not None:
                builder.add_ingredient_from_archive(BytesIO(carried))
            if unsigned.suffix == ".jpg":
                with BytesIO(_bare(unsigned.read_bytes())) as source, signed.open("w+b") as target:
                    builder.sign(signer, FORMATS[".jpg"], source, target)
            else:
                builder.sign_file(str(unsigned), str(signed), signer)
        _finish(signed, key, signing)
        with Context(Settings.from_dict(OFFLINE)) as context, Reader(signed, context=context) as reader:
            state, results = reader.get_validation_state(), reader.get_validation_results()
    except C2paError as error:
        raise Problem(f"credentials: {error}"[:300], _REMEDY) from error
    if state not in _HOLDS:
        raise Problem(f"credentials: the signature does not hold ({_failures(results)})", _REMEDY)


def _bare(poster: bytes) -> bytes:
    """A JPEG without APP11, where its credentials stand: what replaces them is laid out by those that were there."""
    kept, at = [poster[:2]], 2
    while poster[at] == 0xFF and poster[at + 1] != 0xDA:  # of the pictures
        end = at + 2 + int.from_bytes(poster[at + 2 : at + 4], "big")
        kept += [poster[at:end]] if poster[at + 1] != 0xEB else []
        at = end
    return b"".join([*kept, poster[at:]])


_REMEDY = (
    "see provenance.credentials: the certificate must be issued by an authority, for signing e-mail or C2PA claims, "
    "be in force, and stand before those above it"
)


def _failures(results: Any) -> str:
    found = ((results or {}).get("activeManifest") or {}).get("failure") or []
    return ", ".join(one.get("code", "") for one in found if one.get("code") != "signingCredential.untrusted")


@cache  # making one for RSA takes a second
def _throwaway(chain: str) -> str:
    """A key of the certificate's kind and size, for a signature that is replaced."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    public: Any = x509.load_pem_x509_certificates(chain.encode())[0].public_key()
    key: Any
    if isinstance(public, ec.EllipticCurvePublicKey):
        key = ec.generate_private_key(public.curve)
    elif isinstance(public, rsa.RSAPublicKey):
        key = rsa.generate_private_key(65537, public.key_size)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*forms).decode()


class _Box(NamedTuple):
    """A superbox of JUMBF: where it begins and ends in the file, its label, and where what follows the label begins."""

    start: int
    stop: int
    label: str
    labelled: int
    content: int


def _finish(file: Path, key: str, signing: Signing) -> None:
    """Put our salts and the real signature into the credentials that `file` carries."""
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as data:
        *_, active = _inside(data, _box(data, data.find(_STORE) - 12))
        parts = {part.label: part for part in _inside(data, active)}
        known = [(one, _hash(data, one)) for one in _inside(data, parts["c2pa.assertions"])]
        for assertion, before in known:  # what refers to others stands behind them
            _salt(data, assertion, key)
            _replace(data, active, before, _hash(data, assertion))
        claim = bytes(data[parts["c2pa.claim.v2"].content + 8 : parts["c2pa.claim.v2"].stop])
        made = parts["c2pa.signature"]
        signature = signing.signature(_to_sign(bytes(data[made.content + 8 : made.stop]), claim))
        head = _bytes(signature)[: -len(signature)]
        if data[made.stop - len(signature) - len(head) : made.stop - len(signature)] != head:
            raise Problem(f"credentials: a signature of {len(signature)} bytes does not fit the certificate", _REMEDY)
        data[made.stop - len(signature) : made.stop] = signature


def _hash(data: mmap.mmap, box: _Box) -> bytes:
    """By which a manifest refers to an assertion."""
    return hashlib.sha256(data[box.start + 8 : box.stop]).digest()


def _salt(data: mmap.mmap, box: _Box, key: str) -> None:
    at = box.labelled + len(_SALT)
    if data[box.labelled : at] == _SALT:
        data[at : at + 16] = hashlib.sha256(f"{key} {box.label}".encode()).digest()[:16]


def _replace(data: mmap.mmap, box: _Box, before: bytes, after: bytes) -> None:
    place = data.find(before, box.start, box.stop)
    while place >= 0:
        data[place : place + len(before)] = after
        place = data.find(before, place + len(before), box.stop)


def _box(data: mmap.mmap, start: int) -> _Box:
    size, described = (int.from_bytes(data[at : at + 4], "big") for at in (start, start + 8))
    label = start + 8 + _DESCRIPTION + 1
    end = data.find(b"\0", label)
    return _Box(start, start + size, data[label:end].decode(), end + 1, start + 8 + described)


def _inside(data: mmap.mmap, box: _Box) -> Iterator[_Box]:
    """The superboxes in a box."""
    at = box.content
    while at < box.stop:
        yield (inner := _box(data, at))
        if inner.stop <= at:
            raise Problem("credentials: their boxes are damaged", "run again")
        at = inner.stop


def _to_sign(cose: bytes, claim: bytes) -> bytes:
    """What a COSE_Sign1 signs (RFC 9052, 4.4): its protected header, and the claim, which it does not hold itself."""
    at = cose.index(b"\x84") + 1  # behind the tag
    size = {0x58: 1, 0x59: 2, 0x5A: 4}.get(cose[at], 0)
    length = int.from_bytes(cose[at + 1 : at + 1 + size], "big") if size else cose[at] - 0x40
    protected = cose[at + 1 + size : at + 1 + size + length]
    return b"\x84\x6aSignature1" + _bytes(protected) + _bytes(b"") + _bytes(claim)


def _bytes(content: bytes) -> bytes:
    """A byte string of CBOR."""
    if len(content) < 24:
        return bytes([0x40 + len(content)]) + content
    size = next(size for size in (1, 2, 4) if len(content) < 256**size)
    return bytes([0x57 + size.bit_length()]) + len(content).to_bytes(size, "big") + content
