"""Catwalk's own mark: a keyed pattern of light, without weights, that repeats across the picture and in every frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stages.provenance.watermark.detection import FALSE_ALARM, Reading, read_tile
from stages.provenance.watermark.embedding import Embedding
from stages.provenance.watermark.finding import Finding
from stages.provenance.watermark.tile import Tile


class SpreadSpectrum:
    """After Cox et al., "Secure spread spectrum watermarking for multimedia", 1997, in the picture instead of its DCT.

    A tile of 32 × 32 chips, each a few pixels wide and by a level or so lighter or darker. The eye does not see it, a
    codec keeps enough of it, and where it lies tells what was scaled, cropped or mirrored.
    """

    algorithm = "catwalk.spread_spectrum.1"
    shortest_edge = 160

    def __init__(self, key: bytes, strength: float = 1.0) -> None:
        self._tile = Tile(key)
        self._strength = strength
        self._embedding: tuple[tuple[int, int, int], Embedding] | None = None  # of the film in hand

    def mark(self, frames: np.ndarray, identity: int) -> np.ndarray:
        """Frames with the id in them: see `Method`."""
        _, height, width, _ = frames.shape
        film = (identity, width, height)
        held = self._embedding
        if held is None or held[0] != film:
            held = film, Embedding(self._tile.chips(identity), width, height, self._strength)
            self._embedding = held
        return np.stack([held[1].marked(frame) for frame in frames])

    def detect(self, frames: Iterable[np.ndarray]) -> Finding:
        """Look for the mark: found where at most one file in a million without it would be taken for marked."""
        reading = self.read(frames)
        if reading is None:
            return Finding(False, 0.0)
        found = reading.chance < FALSE_ALARM
        return Finding(found, 1 - reading.chance, reading.id if found else None, found and reading.mirrored)

    def read(self, frames: Iterable[np.ndarray]) -> Reading | None:
        """What `detect` judges by."""
        return read_tile(frames, self._tile)
