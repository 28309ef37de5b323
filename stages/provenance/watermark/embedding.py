"""Laying the pattern over frames, in whole numbers, so that every machine makes the same bytes."""

from __future__ import annotations

import cv2
import numpy as np

from stages.provenance.watermark.tile import SIDE

# In eighths of a grey level of 255.
_QUIET = 6  # on a flat backdrop
_QUIET_SMALL = 11  # in small films, of which codecs keep least
_LIVELY = 32  # at most, however much goes on around
_PER_LEVEL = 4  # and so much more for each level by which pixels differ from those around, from this many on:
_HARDLY = 2
_SMALL = 320  # pixels of the shorter edge

_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
_THRESHOLDS = np.array([[0, 4], [6, 2]]) + 1  # eighths, by which pixels of a chip are rounded up or down (Bayer, 1973)


def chip_size(width: int, height: int) -> int:
    """Pixels of a chip's edge in a film of that size: what codecs keep, as fine as they allow."""
    short = min(width, height)
    if short < 4 * SIDE:
        return max(2, short // SIDE)
    return 4 if short < 720 else 6 if short < 1440 else 8


class Embedding:
    """Marks frames of one size with one tile of chips: one pattern in all frames, repeated to their edges."""

    def __init__(self, chips: np.ndarray, width: int, height: int, strength: float = 1.0) -> None:
        """`chips` are −1 or 1 (32, 32)."""
        self._chip = chip_size(width, height)
        # Where neighbours are alike, the eye sees a blot, and the detector, which takes away means, sees nothing.
        around = cv2.filter2D(np.pad(chips, 1, mode="wrap").astype(np.float32), -1, _NEIGHBOURS / 8.0)[1:-1, 1:-1]
        self._weight = self._laid(np.round(8 - 4 * chips * around).astype(np.uint8), width, height)  # eighths, 4…12
        self._lighter = self._laid(np.where(chips > 0, 255, 0).astype(np.uint8), width, height)
        self._threshold = np.tile(_THRESHOLDS.astype(np.uint8), (height // 2 + 1, width // 2 + 1))[:height, :width]
        quiet = _QUIET_SMALL if min(width, height) < _SMALL else _QUIET
        levels = np.minimum(_LIVELY, quiet + _PER_LEVEL * np.maximum(0, np.arange(256) - _HARDLY))
        self._amplitudes = np.floor(strength * levels + 0.5).clip(1, 160).astype(np.uint8)

    def _laid(self, chips: np.ndarray, width: int, height: int) -> np.ndarray:
        """A value for each chip as one for each pixel, repeated to the edges of the frame."""
        tile = np.kron(chips, np.ones((self._chip, self._chip), np.uint8))
        return np.tile(tile, (-(-height // len(tile)), -(-width // len(tile))))[:height, :width]

    def marked(self, frame: np.ndarray) -> np.ndarray:
        """A frame with the pattern, uint8 RGB (height, width, 3). All channels change alike: light, not colour."""
        levels = self._levels(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        lighter, darker = levels & self._lighter, levels & ~self._lighter
        return cv2.subtract(cv2.add(frame, cv2.merge([lighter] * 3)), cv2.merge([darker] * 3))

    def _levels(self, light: np.ndarray) -> np.ndarray:
        """Grey levels by which each pixel changes: more where much goes on, but none of it beside an outline."""
        window = (2 * self._chip + 1,) * 2
        activity = cv2.blur(cv2.absdiff(light, cv2.blur(light, window)), window)
        activity = cv2.erode(activity, np.ones((4 * self._chip + 1,) * 2, np.uint8))
        eighths = cv2.multiply(cv2.LUT(activity, self._amplitudes), self._weight, scale=1 / 8)
        return cv2.add(eighths, self._threshold) >> 3
