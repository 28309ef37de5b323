"""MimicMotion's skeleton picture: drawn large, every colour dimmed by its points' scores, scaled down, red as blue."""

from __future__ import annotations

import cv2
import numpy as np

from stages.poses.drawing.dwpose import LIMB_STRENGTH
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
from stages.poses.wholebody import VISIBLE

REFERENCE_WIDTH = 2160  # the short side of the canvas that is drawn on


def draw_mimicmotion(skeleton: Skeleton, height: int, width: int, reference_width: int = REFERENCE_WIDTH) -> np.ndarray:
    """Everyone on black: uint8 (height, width, 3), red and blue exchanged as its network expects them."""
    side = min(height, width)
    scale = reference_width / side if side != reference_width else 1
    canvas = np.zeros((int(height * scale), int(width * scale), 3), np.uint8)
    _draw_bodies(canvas, skeleton)
    _draw_hands(canvas, skeleton)
    _draw_faces(canvas, skeleton)
    # Without antialiasing: thin lines come out dotted, as published.
    return np.ascontiguousarray(cv2.resize(canvas, (width, height))[..., ::-1])


def _draw_bodies(canvas: np.ndarray, skeleton: Skeleton) -> None:
    height, width = canvas.shape[:2]
    joints = skeleton.candidate * [width, height]
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        for person, score in zip(skeleton.subset, skeleton.score, strict=True):
            if score[start] < VISIBLE or score[end] < VISIBLE:
                continue
            # A score of exactly 0.3 passes here and is hidden in the subset: −1 then picks the last candidate.
            polygon = limb_polygon(joints[int(person[start])], joints[int(person[end])])
            cv2.fillConvexPoly(
                canvas, polygon, [_dimmed_limb(channel, score[start] * score[end]) for channel in colour]
            )
    for joint, colour in enumerate(COLOURS):
        for person, score in zip(skeleton.subset, skeleton.score, strict=True):
            if person[joint] != -1:
                x, y = joints[int(person[joint])]
                shade = [int(channel * score[joint]) for channel in colour]
                cv2.circle(canvas, (int(x), int(y)), STICK, shade, thickness=-1)


def _dimmed_limb(channel: int, score: float) -> int:
    # Published: painted (and clipped to 0…255), then the whole canvas scaled down and truncated.
    return int(min(max(int(channel * score), 0), 255) * LIMB_STRENGTH)


def _draw_hands(canvas: np.ndarray, skeleton: Skeleton) -> None:
    # Unsure points are painted too, nearly black, over what lies beneath.
    height, width = canvas.shape[:2]
    for hand, scores in zip(skeleton.hands, skeleton.hands_score, strict=True):
        points = [pixel(point, width, height) for point in hand]
        for (start, end), colour in zip(EDGES, EDGE_COLOURS, strict=True):
            if points[start] and points[end]:
                level = int(scores[start] * scores[end] * 255)
                cv2.line(canvas, points[start], points[end], [channel * level for channel in colour], EDGE_WIDTH)
        for point, score in zip(points, scores, strict=True):
            if point:
                cv2.circle(canvas, point, STICK, (0, 0, int(score * 255)), thickness=-1)


def _draw_faces(canvas: np.ndarray, skeleton: Skeleton) -> None:
    height, width = canvas.shape[:2]
    for face, scores in zip(skeleton.faces, skeleton.faces_score, strict=True):
        for point, score in zip(face, scores, strict=True):
            if at := pixel(point, width, height):
                cv2.circle(canvas, at, FACE_RADIUS, [int(score * 255)] * 3, thickness=-1)
