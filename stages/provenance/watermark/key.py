"""The secret that a mark is drawn from, which a configuration names and never holds."""

from __future__ import annotations

import hashlib
import os

from manifests import storage
from manifests.errors import Problem
from stages.provenance.settings import ENVIRONMENT

# Where no key is named. Whoever has this file can find marks made with it, forge them, and remove them.
PUBLIC_KEY = b"catwalk public watermark key, known to everybody"

SHORTEST = 16  # bytes: a fingerprint is taken of it, from which a shorter one might be guessed
LONGEST = 4096


def secret(reference: str | None) -> bytes:
    """The key that a file or `env:NAME` holds, without white space around it; the public one where none is named.

    Raises `Problem` where it is missing, shorter than 16 bytes or longer than 4,096.
    """
    if reference is None:
        return PUBLIC_KEY
    remedy = "create one with `openssl rand -hex 32`, and let every worker have it"
    if reference.startswith(ENVIRONMENT):
        name = reference.removeprefix(ENVIRONMENT)
        if name not in os.environ:
            raise Problem(f"watermark key: the variable {name} is not set", f"set it ({remedy})")
        key = os.environ[name].encode()
    else:
        try:
            key = storage.read_bytes(reference)
        except FileNotFoundError:
            raise Problem("watermark key: there is no file of the configured name", remedy) from None
    key = key.strip()
    if not SHORTEST <= len(key) <= LONGEST:
        raise Problem(f"watermark key: {len(key)} bytes are not within {SHORTEST} and {LONGEST}", remedy)
    return key


def drawn_from(key: bytes, purpose: str, count: int) -> bytes:
    """So many bytes that look random and follow from the key; other purposes give others (SHAKE-256)."""
    return hashlib.shake_256(purpose.encode() + b"\0" + key).digest(count)


def fingerprint(key: bytes) -> str:
    """What tells keys apart and says nothing else of them: 16 hex digits."""
    return drawn_from(key, "catwalk watermark fingerprint", 8).hex()
