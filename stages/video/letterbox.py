"""Pictures whole, in the middle of black, as Wan-Animate's preprocessing fits them.

Source: stages/diffusion/wan_animate/SPEC.md section 13.1.
"""

from __future__ import annotations

import cv2
import numpy as np


def letterbox(picture: np.ndarray, width: int, height: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """uint8 (h, w, 3) → (height, width, 3). Lengths are rounded down, as published."""
    rows, columns = picture.shape[:2]
    tall = rows / columns > height / width
    inner = (int(height / rows * columns), height) if tall else (width, int(width / columns * rows))
    left, top = int((width - inner[0]) / 2), int((height - inner[1]) / 2)
    canvas = np.zeros((height, width, *picture.shape[2:]), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=interpolation)
    return canvas
