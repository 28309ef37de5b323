"""The seam for ways of marking pictures, learned ones such as VideoSeal or TrustMark too, and how one is named."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from manifests.errors import WrongUsage
from stages.provenance.settings import Watermark
from stages.provenance.watermark.finding import Finding
from stages.provenance.watermark.key import fingerprint, secret
from stages.provenance.watermark.spread_spectrum import SpreadSpectrum


@runtime_checkable
class Method(Protocol):
    """One way of marking, made of the secret key and the `strength` of the configuration, 1 being its own default.

    `algorithm` names it and its revision in credentials and in the films' keys: another one wherever pictures come out
    otherwise. `shortest_edge` is that of the smallest films, in pixels, in which the mark is found again for sure.
    """

    algorithm: str
    shortest_edge: int

    def mark(self, frames: np.ndarray, identity: int) -> np.ndarray:
        """Frames with the id, 64 bits, in them; both uint8 RGB (n, height, width, 3), and what is given stays as it is.

        A film's frames come in batches of any length, in order; the same frames and id give the same bytes.
        """

    def detect(self, frames: Iterable[np.ndarray]) -> Finding:
        """Look for the mark in pictures of one film, uint8 RGB (height, width, 3), all of one size."""


METHODS = {"spread_spectrum": SpreadSpectrum}
_PLACE = "provenance.watermark.method"
_REMEDY = f"name one of {', '.join(METHODS)}, or a class as my_package.module:Class, installed on every worker"


def method_of(settings: Watermark) -> Method | None:
    """The configured way of marking, with its key; None where films are not marked.

    Raises `WrongUsage` where it cannot be had, `Problem` where its key cannot be read.
    """
    return made(settings.method, secret(settings.key), settings.strength) if settings.mark else None


@lru_cache(8)
def made(name: str, key: bytes, strength: float = 1.0) -> Method:
    """A way of marking by its name in the configuration. Raises `WrongUsage`."""
    kind = _kind(name)
    try:
        method = kind(key, strength)
    except Exception as error:
        raise WrongUsage(f"{_PLACE} {name!r}: {type(error).__name__}: {error}", _REMEDY) from error
    if not isinstance(method, Method):
        raise WrongUsage(f"{_PLACE} {name!r} lacks algorithm, shortest_edge, mark or detect", _REMEDY)
    return method


def algorithm_of(settings: Watermark) -> str | None:
    """The name of the configured way of marking; None where films are not marked. It needs no key."""
    return str(_kind(settings.method).algorithm) if settings.mark else None


def _kind(name: str) -> type[Any]:
    if name in METHODS:
        return METHODS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise WrongUsage(f"{_PLACE} {name!r} is not known", _REMEDY)
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        raise WrongUsage(f"{_PLACE} {name!r}: {type(error).__name__}: {error}", _REMEDY) from error


def decisive(settings: Watermark) -> dict[str, str | float] | None:
    """What of the mark decides a film's pictures, for its key; None where films are not marked."""
    method = method_of(settings)
    if method is None:
        return None
    return {
        "algorithm": method.algorithm,
        "strength": settings.strength,
        "key": fingerprint(secret(settings.key)),
    }


def identity_of(film_key: str) -> int:
    """The id that a film's pictures carry: the first 64 bits of its key, so that the id leads to the film."""
    return int(film_key[:16], 16)


def written(identity: int) -> str:
    """An id as results and credentials have it: 16 hex digits."""
    return f"{identity:016x}"
