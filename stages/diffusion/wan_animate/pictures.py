"""The reference picture as Wan-Animate fits it. Source: SPEC.md section 5."""

from __future__ import annotations

import cv2
import numpy as np

from stages.diffusion.networks.film_pixels import LANCZOS
from stages.diffusion.wan_animate.facts import area_size
from stages.video.image import fit
from stages.video.letterbox import letterbox


def letterboxed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (h, w, 3) → (height, width, 3), whole, in the middle of black. Lengths are rounded down, as published."""
    rows, columns = image.shape[:2]
    wide = width / height < columns / rows
    inner = (width, rows * width // columns) if wide else (columns * height // rows, height)
    inner = max(1, inner[0]), max(1, inner[1])
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = fit(image, inner[0], inner[1], "stretch", LANCZOS)
    return canvas


def area_resized(image: np.ndarray, area: int, divisor: int = 16) -> np.ndarray:
    """uint8 (h, w, 3) letterboxed into the size that `area_size` gives it, as the original prepares it."""
    height, width = image.shape[:2]
    size = area_size(width, height, area, divisor)
    smaller = size[0] * size[1] < width * height
    return letterbox(image, *size, cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
