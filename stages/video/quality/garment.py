"""Clothes that change their colour."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from stages.video.quality.colour_difference import ciede2000, lab
from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame

_INSIDE = 0.75  # of the torso's size: without arms and backdrop at its edge
_TURNED = 0.8  # of the reference's breadth: who is seen narrower, or from the other side, shows other cloth


class GarmentColour:
    """ΔE00 between the torso's mean colour and the reference's; the second that is the farthest from it.

    Frames in which the torso is turned away from how the reference shows it are left out.
    """

    name = "garment"

    def __init__(self, reference: np.ndarray, torso: np.ndarray, fps: Fraction) -> None:
        """`torso` (4, 2) are the corners of the reference's, x and y in its pixels."""
        self._wanted = torso_colour(reference, torso)
        self._breadth = _breadth(torso)
        self._second = max(1, round(fps))
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame; one in which the torso is not known says nothing."""
        torso = None if frame.outline is None else frame.outline.torso
        if torso is None or frame.black or self._wanted is None:
            return
        if not _breadth(torso) / self._breadth > _TURNED:
            return
        if (colour := torso_colour(frame.small, torso)) is not None:
            self._curve.put(frame.number, float(ciede2000(self._wanted, colour)))

    def figure(self) -> Figure | None:
        """None where the torso is never seen."""
        return self._curve.worst_second(self._second)


def _breadth(corners: np.ndarray) -> float:
    """Of a torso by its height; negative where it is seen from the other side."""
    shoulders, hips = corners[1] - corners[0], corners[2] - corners[3]
    down = corners[2:].mean(axis=0) - corners[:2].mean(axis=0)
    across = (shoulders + hips) / 2
    return float((across[0] * down[1] - across[1] * down[0]) / max(float(down @ down), 1.0))


def torso_colour(picture: np.ndarray, corners: np.ndarray) -> np.ndarray | None:
    """Mean Lab colour (3,) of the torso in uint8 (height, width, 3); None where nothing of it is in the picture."""
    centre = corners.mean(axis=0)
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(centre + _INSIDE * (corners - centre)).astype(np.int32)], 1)
    if not mask.any():
        return None
    return np.array(cv2.mean(lab(picture), mask)[:3])
