"""How Animate Anyone's published pose estimator brings its pictures to the sizes of `resized_size`.

The product draws the skeletons at that size at once and resizes nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

from stages.poses.drawing.resize import RESOLUTION, resized_size


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
