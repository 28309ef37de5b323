"""The skeleton picture of Wan-Animate: 20 joints with toes, thin hands, no face; sticks as wide as the picture asks.

Source: stages/diffusion/wan_animate/SPEC.md sections 13.2 and 13.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from stages.poses.drawing.limbs import COLOURS, EDGE_COLOURS, EDGES, LIMBS, limb_polygon
from stages.poses.keypoints import People
from stages.poses.wholebody import BODY, FEET, LEFT_HAND, RIGHT_HAND

LIMB_STRENGTH = 0.6
SEEN = 0.5  # scores from it on count
# Both feet beside what other skeletons have: the toes are joints 18 and 19.
LIMBS_WITH_FEET = (*LIMBS, (13, 18), (10, 19))
COLOURS_WITH_FEET = (*COLOURS, (200, 200, 0), (100, 100, 0))
_NECK, _SHOULDERS = 1, [2, 5]
_TOES = ([FEET.start, FEET.start + 1], [FEET.start + 3, FEET.start + 4])  # big and small, left and right


@dataclass(frozen=True)
class Figure:
    """One person: rows of x, y in pixels and a score, float64. Nothing is rounded."""

    body: np.ndarray  # (20, 3)
    left_hand: np.ndarray  # (21, 3)
    right_hand: np.ndarray  # (21, 3)


def figure_of(people: People, person: int = 0) -> Figure:
    """One of the people. The neck is the middle of the shoulders, and toes are that of two, in their scores too."""
    rows = np.concatenate([people.points[person], people.scores[person][:, None]], axis=1)
    body = np.concatenate([rows[BODY], [rows[toes].mean(axis=0) for toes in _TOES]])
    body[_NECK] = body[_SHOULDERS].mean(axis=0)
    return Figure(body, rows[LEFT_HAND], rows[RIGHT_HAND])


def draw(figure: Figure | None, height: int, width: int, hands: bool = True, head: bool = True) -> np.ndarray:
    """One person, or nobody, on black: uint8 RGB (height, width, 3)."""
    canvas = np.zeros((height, width, 3), np.uint8)
    if figure is None:
        return canvas
    stick = max(min(height, width) // 200 - 1, 1)
    _draw_body(canvas, figure.body, stick, head)
    if hands:
        for hand in (figure.left_hand, figure.right_hand):
            _draw_hand(canvas, hand, max(stick // 2, 1))
    return canvas


def _draw_body(canvas: np.ndarray, body: np.ndarray, stick: int, head: bool) -> None:
    seen = body[:, 2] >= SEEN
    if not head:
        seen = seen & ~np.isin(np.arange(len(body)), HEAD)
    for (start, end), colour in zip(LIMBS_WITH_FEET, COLOURS_WITH_FEET, strict=False):
        if seen[start] and seen[end]:
            shade = [int(channel * LIMB_STRENGTH) for channel in colour]
            cv2.fillConvexPoly(canvas, limb_polygon(body[start, :2], body[end, :2], stick), shade)
    for joint, colour in enumerate(COLOURS_WITH_FEET):
        if seen[joint]:
            cv2.circle(canvas, (int(body[joint, 0]), int(body[joint, 1])), stick, colour, thickness=-1)


HEAD = (0, 14, 15, 16, 17)


def _draw_hand(canvas: np.ndarray, hand: np.ndarray, width: int) -> None:
    seen = hand[:, 2] >= SEEN
    at = [(int(x), int(y)) for x, y in hand[:, :2]]
    inside = [x >= 1 and y >= 1 for x, y in at]
    for (start, end), colour in zip(EDGES, EDGE_COLOURS, strict=True):
        if seen[start] and seen[end] and inside[start] and inside[end]:
            cv2.line(canvas, at[start], at[end], [255 * channel for channel in colour], width)
    for point in range(len(hand)):
        if seen[point] and inside[point]:
            cv2.circle(canvas, at[point], width, (0, 0, 255), thickness=-1)
