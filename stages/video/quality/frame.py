"""A frame as metrics look at it: what several of them need is made once."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

LONGEST = 256  # pixels of the longer side that metrics look at
BLOCK = 8  # pixels of a block's side, of those


class Frame:
    """One frame of a film, uint8 (height, width, 3), and its number."""

    def __init__(self, number: int, picture: np.ndarray) -> None:
        self.number = number
        self.picture = picture

    @cached_property
    def small(self) -> np.ndarray:
        """uint8, the longer side `LONGEST` at most."""
        height, width = self.picture.shape[:2]
        scale = LONGEST / max(height, width)
        if scale >= 1:
            return self.picture
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return cv2.resize(self.picture, size, interpolation=cv2.INTER_AREA)

    @cached_property
    def grey(self) -> np.ndarray:
        """Luma of the small picture, uint8 (height, width)."""
        return cv2.cvtColor(self.small, cv2.COLOR_RGB2GRAY)

    @cached_property
    def blocks(self) -> np.ndarray:
        """Mean luma of the small picture's blocks, float32 (rows, columns)."""
        height, width = self.grey.shape
        size = max(1, width // BLOCK), max(1, height // BLOCK)
        return cv2.resize(self.grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)

    @cached_property
    def black(self) -> bool:
        """Whether it shows nothing: it is dark, or all of one colour."""
        mean, deviation = cv2.meanStdDev(self.grey)
        return bool(mean[0, 0] < DARK or deviation[0, 0] ** 2 < PLAIN)


DARK, PLAIN = 8.0, 2.0  # mean and variance of luma, 0…255
