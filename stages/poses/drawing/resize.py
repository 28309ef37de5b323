"""The published size rule of Animate Anyone: poses are brought to sides that are multiples of 64."""

from __future__ import annotations

import cv2
import numpy as np

MULTIPLE = 64
RESOLUTION = 512


def resized_size(height: int, width: int, resolution: int = RESOLUTION) -> tuple[int, int]:
    """(height, width) whose short side is about `resolution`; both sides rounded to 64, halves to even.

    The aspect ratio changes by that rounding.
    """
    scale = resolution / min(height, width)
    return round(height * scale / MULTIPLE) * MULTIPLE, round(width * scale / MULTIPLE) * MULTIPLE


def resize(image: np.ndarray, resolution: int = RESOLUTION) -> np.ndarray:
    """Bring uint8 (height, width, 3) to `resized_size`: enlarged with Lanczos, reduced by area."""
    height, width = resized_size(*image.shape[:2], resolution)
    enlarged = resolution > min(image.shape[:2])
    filter_ = cv2.INTER_LANCZOS4 if enlarged else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=filter_)


def finished(canvas: np.ndarray, resolution: int = RESOLUTION) -> np.ndarray:
    """Bring a drawn canvas to the size for `resolution`, linearly; usually it has that size already."""
    height, width = resized_size(*canvas.shape[:2], resolution)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
