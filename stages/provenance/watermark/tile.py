"""The keyed pattern of one tile: 32 × 32 chips, each lighter or darker, of which a quarter is the same in all films."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from stages.provenance.watermark.id_code import CODED_BITS, coded
from stages.provenance.watermark.key import drawn_from

SIDE = 32
CHIPS = SIDE * SIDE
SAMPLES = 2  # of a chip's edge, when it is looked for
_SYNC = CHIPS // 4  # chips by which the tile's place is found; the others carry the id


class Tile:
    """Which chips of the tile a key gives to what, and their signs."""

    sync: np.ndarray  # float32 (32, 32): −1, 1, and 0 for chips that carry the id

    def __init__(self, key: bytes) -> None:
        signs = np.frombuffer(drawn_from(key, "catwalk watermark signs", CHIPS), np.uint8)
        self._signs = 1.0 - 2.0 * (signs & 1)
        order = np.frombuffer(drawn_from(key, "catwalk watermark places", 8 * CHIPS), "<u8")
        places = np.argsort(order, kind="stable")
        self._data = places[_SYNC:]
        self._bit = np.arange(CHIPS - _SYNC) % CODED_BITS  # every coded bit has three chips or two
        sync = self._signs.copy()
        sync[self._data] = 0
        self.sync = sync.reshape(SIDE, SIDE).astype(np.float32)

    @cached_property
    def spectra(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the chips of all films, one sample each, and of where they are: what pictures are correlated with."""
        spread = np.zeros((SIDE * SAMPLES,) * 2, np.float32)
        spread[::SAMPLES, ::SAMPLES] = self.sync
        return cv2.dft(spread), cv2.dft(np.abs(spread))

    def chips(self, identity: int) -> np.ndarray:
        """The whole tile of a film, float32 −1 or 1 (32, 32)."""
        tile = self._signs.copy()
        tile[self._data] *= coded(identity)[self._bit]
        return tile.reshape(SIDE, SIDE).astype(np.float32)

    def soft_bits(self, chips: np.ndarray) -> np.ndarray:
        """The coded bits as chips (32, 32) tell them, (258,); those that tell one are summed."""
        told = (chips.reshape(-1) * self._signs)[self._data]
        return np.bincount(self._bit, weights=told, minlength=CODED_BITS)
