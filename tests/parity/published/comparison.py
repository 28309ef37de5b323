"""Frames side by side, as the published drivers write their comparison films."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def comparison_frame(images: Sequence[np.ndarray], border: int = 2) -> np.ndarray:
    """uint8 (height, width, 3) images of one size → one row of them on black, `border` pixels around each.

    The result is (height + 2·border, n·(width + border) + border, 3).
    """
    height, width, _ = images[0].shape
    sheet = np.zeros((height + 2 * border, len(images) * (width + border) + border, 3), np.uint8)
    for place, image in enumerate(images):
        left = border + place * (width + border)
        sheet[border : border + height, left : left + width] = image
    return sheet
