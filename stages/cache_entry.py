"""Entries of the cache as a stage finds them: one that is damaged or gone is made anew, and is nobody's failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from manifests import storage
from manifests.errors import Again, Damaged


@contextmanager
def made_anew(uri: str, what: str) -> Iterator[None]:
    """Remove the entry and raise `Again` where the block finds it `Damaged`: another stage makes it in the next round.

    A row asks for that a few times at most, and then fails with this reason.
    """
    try:
        yield
    except Damaged as found:
        storage.delete(uri)
        error = f"{what} in the cache could not be used and were removed ({found.error})"
        raise Again(
            error, "run again: they are made anew; if it happens every time, the cache's disk is at fault"
        ) from found


def fetch_entry(uri: str, scratch: Path) -> Path:
    """A local file of the entry's bytes. Raises `Damaged` if it is gone."""
    try:
        return storage.fetch(uri, scratch, None)
    except FileNotFoundError:
        raise Damaged(f"{storage.name(uri)} is gone", "run again: it is made anew") from None


def read_picture(path: Path) -> np.ndarray:
    """A stored reference: uint8 (height, width, 3). Raises `Damaged`."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            pixels = np.array(picture)
    except Exception as broken:  # by format: cut short, of other bytes, a checksum that is wrong
        raise Damaged(f"picture {path.name} cannot be read: {broken}", "delete it and run again") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise Damaged(f"picture {path.name} is no RGB picture", "delete it and run again")
    return pixels
