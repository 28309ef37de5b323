"""The reference picture as Wan-Animate fits it. Source: SPEC.md section 5."""

from __future__ import annotations

import numpy as np

from stages.diffusion.networks.film_pixels import LANCZOS
from stages.video.image import fit


def letterboxed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (h, w, 3) → (height, width, 3), whole, in the middle of black. Lengths are rounded down, as published."""
    rows, columns = image.shape[:2]
    wide = width / height < columns / rows
    inner = (width, rows * width // columns) if wide else (columns * height // rows, height)
    inner = max(1, inner[0]), max(1, inner[1])
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = fit(image, *inner, "stretch", LANCZOS)
    return canvas
