"""Where a film's person is, by the pose that was asked for: what metrics of person and background go by."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_DRAWN = 24  # levels by which a pose differs from what it is drawn on
_AROUND = 0.12  # of the hull's height: hair, hands, wide clothes and the shadow at the feet lie beyond a skeleton
_STEP = 0.015  # of the picture's height: a pose that has gone no farther stands still
_MOVED = 0.1  # of what is drawn


@dataclass(frozen=True)
class Outline:
    """A pose in a picture's pixels.

    drawn: bool (height, width), limbs or surface; hull: bool, around all of it, with a margin; torso: float32 (4, 2),
    x and y of its corners in order, where they are known.
    """

    drawn: np.ndarray
    hull: np.ndarray
    torso: np.ndarray | None = None

    def moved_since(self, earlier: Outline) -> bool:
        """Whether the person has gone on from there, by more than an estimator's unrest."""
        reach = 2 * max(1, round(_STEP * len(self.drawn))) + 1
        near = cv2.dilate(earlier.drawn.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        count = np.count_nonzero(self.drawn)
        return bool(count and np.count_nonzero(self.drawn & ~near) > _MOVED * count)


def outline_of_picture(pose: np.ndarray) -> Outline:
    """The outline in a picture of a pose, uint8 (height, width, 3), drawn on the colour of its corners."""
    ground = np.median(pose[[0, 0, -1, -1], [0, -1, 0, -1]].astype(np.int16), axis=0)
    drawn = np.abs(pose - ground).max(axis=-1) > _DRAWN
    return Outline(drawn, _hull(cv2.findNonZero(drawn.astype(np.uint8)), drawn.shape))


def outline_of_points(points: np.ndarray, size: tuple[int, int], torso: np.ndarray | None = None) -> Outline:
    """The outline of a person's visible points (n, 2), x and y in pixels of a picture of `size` (width, height)."""
    drawn = np.zeros((size[1], size[0]), np.uint8)
    for x, y in np.round(points).astype(int):
        cv2.circle(drawn, (int(x), int(y)), max(1, round(size[1] / 128)), 1, thickness=-1)
    there = np.round(points).astype(np.int32)[:, None] if len(points) else None
    return Outline(drawn > 0, _hull(there, drawn.shape), torso)


def _hull(points: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    if points is None:
        return mask > 0
    hull = cv2.convexHull(points)
    margin = max(2, round(_AROUND * float(np.ptp(hull[..., 1]) + 1)))
    cv2.fillConvexPoly(mask, hull, 1)
    cv2.polylines(mask, [hull], True, 1, thickness=2 * margin)
    return mask > 0
