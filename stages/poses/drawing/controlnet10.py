"""The skeleton picture of ControlNet 1.0, which Text2Video-Zero was built on: joints first, limbs laid over at 60 %."""

from __future__ import annotations

import cv2
import numpy as np

from stages.poses.drawing.limbs import COLOURS, LIMBS, STICK, limb_polygon

LIMB_STRENGTH = 0.6


def draw_controlnet10(candidate: np.ndarray, subset: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bodies on black: uint8 RGB (height, width, 3).

    candidate (m, ≥ 2): x, y in pixels; subset (people, ≥ 18) indexes it, −1 is hidden. Hands and faces are not drawn.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for joint, colour in enumerate(COLOURS):
        for person in subset:
            if person[joint] != -1:
                x, y = candidate[int(person[joint])][:2]
                cv2.circle(canvas, (int(x), int(y)), STICK, colour, thickness=-1)
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        for person in subset:
            if person[start] == -1 or person[end] == -1:
                continue
            polygon = limb_polygon(candidate[int(person[start])][:2], candidate[int(person[end])][:2])
            painted = cv2.fillConvexPoly(canvas.copy(), polygon, colour)
            canvas = cv2.addWeighted(canvas, 1 - LIMB_STRENGTH, painted, LIMB_STRENGTH, 0)
    return canvas
