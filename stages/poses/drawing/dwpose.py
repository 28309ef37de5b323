"""The skeleton picture of DWPose and Animate Anyone: sticks at 60 %, joints on top, hands, faces.

Colours are RGB. Sizes are pixels at every resolution: 512 is what the animators were trained with.
"""

from __future__ import annotations

import cv2
import numpy as np

from stages.poses.drawing.limbs import (
    COLOURS,
    EDGE_COLOURS,
    EDGE_WIDTH,
    EDGES,
    FACE_RADIUS,
    LIMBS,
    STICK,
    limb_polygon,
    pixel,
)
from stages.poses.drawing.skeleton import Skeleton

LIMB_STRENGTH = 0.6


def draw(skeleton: Skeleton, height: int, width: int) -> np.ndarray:
    """Everyone on black: uint8 RGB (height, width, 3)."""
    canvas = np.zeros((height, width, 3), np.uint8)
    draw_bodies(canvas, skeleton.candidate, skeleton.subset)
    draw_hands(canvas, skeleton.hands)
    draw_faces(canvas, skeleton.faces)
    return canvas


def draw_bodies(canvas: np.ndarray, candidate: np.ndarray, subset: np.ndarray) -> None:
    """Draw bodies over a black canvas (height, width, 3): all limbs, then all joints, person after person in each.

    candidate (m, 2) in fractions of the canvas; subset (people, ≥ 18) indexes it, −1 is hidden.
    """
    height, width = canvas.shape[:2]
    joints = candidate[:, :2] * [width, height]
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        # Published: everything is painted in full, then the canvas is scaled down and truncated. On black that is this.
        shade = [int(channel * LIMB_STRENGTH) for channel in colour]
        for person in subset:
            if person[start] != -1 and person[end] != -1:
                polygon = limb_polygon(joints[int(person[start])], joints[int(person[end])])
                cv2.fillConvexPoly(canvas, polygon, shade)
    for joint, colour in enumerate(COLOURS):
        for person in subset:
            if person[joint] != -1:
                x, y = joints[int(person[joint])]
                cv2.circle(canvas, (int(x), int(y)), STICK, colour, thickness=-1)


def draw_hands(canvas: np.ndarray, hands: np.ndarray) -> None:
    """Draw hands (n, 21, 2), in fractions of the canvas, over it: the edges of one, its dots, then the next hand."""
    height, width = canvas.shape[:2]
    for hand in hands:
        points = [pixel(point, width, height) for point in hand]
        for (start, end), colour in zip(EDGES, EDGE_COLOURS, strict=True):
            if points[start] and points[end]:
                cv2.line(canvas, points[start], points[end], [255 * channel for channel in colour], EDGE_WIDTH)
        for point in points:
            if point:
                cv2.circle(canvas, point, STICK, (0, 0, 255), thickness=-1)


def draw_faces(canvas: np.ndarray, faces: np.ndarray) -> None:
    """Draw faces (n, 68, 2), in fractions of the canvas, as white dots over it."""
    height, width = canvas.shape[:2]
    for face in faces:
        for point in face:
            if at := pixel(point, width, height):
                cv2.circle(canvas, at, FACE_RADIUS, (255, 255, 255), thickness=-1)
