"""Pictures whole, in the middle of black, as Wan-Animate's preprocessing fits them.

Source: stages/diffusion/wan_animate/SPEC.md section 13.1.
"""

from __future__ import annotations

import cv2
import numpy as np


def area_size(width: int, height: int, area: int, divisor: int = 16) -> tuple[int, int]:
    """(width, height) of that shape with about so many pixels, multiples of `divisor`."""
    down = np.sqrt(area / (width / height))
    return int(area / down // divisor * divisor), int(down // divisor * divisor)


def area_resized(picture: np.ndarray, area: int, divisor: int = 16) -> np.ndarray:
    """uint8 (h, w, 3) letterboxed into the size that `area_size` gives it."""
    height, width = picture.shape[:2]
    size = area_size(width, height, area, divisor)
    smaller = size[0] * size[1] < width * height
    return letterbox(picture, *size, cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def letterbox(picture: np.ndarray, width: int, height: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """uint8 (h, w, 3) → (height, width, 3). Lengths are rounded down, as published."""
    rows, columns = picture.shape[:2]
    tall = rows / columns > height / width
    inner = (int(height / rows * columns), height) if tall else (width, int(width / columns * rows))
    left, top = int((width - inner[0]) / 2), int((height - inner[1]) / 2)
    canvas = np.zeros((height, width, *picture.shape[2:]), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=interpolation)
    return canvas
