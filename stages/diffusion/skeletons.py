"""Skeletons for systems that need the picture of some joints again where the poses are no longer at hand."""

from __future__ import annotations

import numpy as np

from stages.poses.drawing.dwpose import draw_bodies
from stages.poses.drawing.skeleton import HIDDEN

JOINTS = 18


def skeleton_of(points: np.ndarray, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Joints (18, 2) in pixels, as DWPose draws a body: uint8 (height, width, 3) of `size` (height, width)."""
    canvas = np.zeros((*size, 3), np.uint8)
    draw_bodies(canvas, points / np.array(size[::-1]), np.where(seen, np.arange(JOINTS), HIDDEN)[None])
    return canvas
