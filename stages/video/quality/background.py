"""What changes behind the person in a film whose camera stands still."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame

_OFTEN = 0.5  # of the frames of a stretch: a place that the person leaves for so many shows the background


class Background:
    """Deviation of the background from its own mean over the film, 0…255, and the frame that is farthest from it.

    Half a second at a time: what changes faster is flicker. Places inside the outline's hull are left out, wherever it
    is. Studio films move by less than 1.5.
    """

    name = "background"

    def __init__(self, fps: Fraction) -> None:
        self._stretch = max(1, round(fps / 2))
        self._sum: np.ndarray | None = None  # of the stretch
        self._free: np.ndarray | None = None  # frames of it in which a place shows background
        self._frames = 0
        self._count: np.ndarray | None = None  # of stretches
        self._mean = self._squares = np.zeros(())
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame; one without an outline, or without a picture, says nothing."""
        if frame.outline is None or frame.black:
            return
        free = ~frame.outline.hull
        if self._sum is None or self._free is None:
            self._sum, self._free = np.zeros(frame.small.shape, np.float32), np.zeros(free.shape, np.float32)
        self._sum += frame.small * free[..., None]
        self._free += free
        self._frames += 1
        if self._frames == self._stretch:
            self._take(self._sum, self._free, frame.number)
            self._sum, self._free, self._frames = None, None, 0

    def _take(self, total: np.ndarray, free: np.ndarray, number: int) -> None:
        """One more stretch (Welford, 1962)."""
        seen = free >= _OFTEN * self._stretch
        if self._count is None:
            self._count = np.zeros(seen.shape, np.float32)
            self._mean, self._squares = np.zeros_like(total), np.zeros_like(total)
        value = total / np.maximum(free, 1)[..., None]
        self._count += seen
        off = (value - self._mean) * seen[..., None]
        known = seen & (self._count > 1)
        self._curve.put(number, float(np.abs(off[known]).mean()) if known.any() else 0.0)
        self._mean += off / np.maximum(self._count, 1)[..., None]
        self._squares += off * (value - self._mean)

    def figure(self) -> Figure | None:
        """None where less than two stretches show the same place."""
        if self._count is None or not (often := self._count > 1).any():
            return None
        variance = self._squares[often] / self._count[often][..., None]
        return Figure(float(np.sqrt(variance.mean(axis=-1)).mean()), self._curve.worst, self._curve)
