"""A frame as metrics look at it: what several of them need is made once."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from stages.video.quality.outline import Outline
from stages.video.quality.warped import Warped, warped

LONGEST = 256  # pixels of the longer side of what metrics look at
BLOCK = 8  # pixels of a block's side, of those
DARK, PLAIN = 8.0, 2.0  # mean and variance of luma, 0…255, below which nothing is to be seen


def small_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which pictures of that size are looked at."""
    scale = min(1.0, LONGEST / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class Frame:
    """One frame of a film, uint8 (height, width, 3), its number, the one before it, and where its person is.

    `outline` is in pixels of the small picture. `forget` lets go of the frame before, which would hold on to its own.
    """

    def __init__(
        self, number: int, picture: np.ndarray, before: Frame | None = None, outline: Outline | None = None
    ) -> None:
        self.number = number
        self.picture = picture
        self.before = before
        self.outline = outline

    def forget(self) -> None:
        """No metric asks for the frame before any more."""
        self.before = None

    @cached_property
    def small(self) -> np.ndarray:
        """uint8, the longer side `LONGEST` at most."""
        height, width = self.picture.shape[:2]
        size = small_size(width, height)
        return self.picture if size == (width, height) else cv2.resize(self.picture, size, interpolation=cv2.INTER_AREA)

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

    @cached_property
    def warping(self) -> Warped | None:
        """How far it is from the frame before, brought here; None where either shows nothing."""
        if self.before is None or self.black or self.before.black:
            return None
        gain = np.median((self.blocks + 1) / (self.before.blocks + 1))
        return warped(self.before.small, self.small, float(gain))
