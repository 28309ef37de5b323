"""What the OpenPose-style drawings share: which points are joined, in which colours, and the shape of a limb."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable

import cv2
import numpy as np

# Joints of COCO-18 that a limb joins. The two ear–shoulder links of OpenPose are never drawn.
LIMBS = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)
# Of joint j, and of limb i: 18 hues around the circle, as OpenPose rounds them.
COLOURS = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
    (255, 0, 85),
)
# A hand's five fingers, each from the wrist, point 0.
EDGES = tuple(
    (0 if knuckle == 0 else start + knuckle - 1, start + knuckle) for start in range(1, 21, 4) for knuckle in range(4)
)
# RGB in 0…1; OpenCV rounds them when they are drawn.
EDGE_COLOURS = tuple(colorsys.hsv_to_rgb(edge / len(EDGES), 1.0, 1.0) for edge in range(len(EDGES)))
STICK = 4  # half the width of a limb and the radius of a joint, in pixels at any resolution
FACE_RADIUS = 3
EDGE_WIDTH = 2


def limb_polygon(first: Iterable[float], second: Iterable[float], stick: int = STICK) -> np.ndarray:
    """The ellipse around a limb between two points (x, y) in pixels, as an int32 polygon for `fillConvexPoly`.

    Centre, half length and angle lose their fractions, as published.
    """
    (x1, y1), (x2, y2) = first, second
    centre = int((x1 + x2) / 2), int((y1 + y2) / 2)
    half_length = int(math.hypot(x1 - x2, y1 - y2) / 2)
    angle = int(math.degrees(math.atan2(y1 - y2, x1 - x2)))
    return np.asarray(cv2.ellipse2Poly(centre, (half_length, stick), angle, 0, 360, 1))


def pixel(point: np.ndarray, width: int, height: int) -> tuple[int, int] | None:
    """The pixel of a point of a hand or face given in fractions; None for the first row and column and beyond them.

    That rule is meant for hidden points at (−1, −1), and loses honest ones at the border with them.
    """
    x, y = int(point[0] * width), int(point[1] * height)
    return (x, y) if x > 0 and y > 0 else None
