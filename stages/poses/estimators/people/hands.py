"""The hand net, MediaPipe's (Zhang et al. 2020): 21 points of the hand in a region, the wrist first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.poses.estimators.people.lite_model import LiteModel
from stages.poses.estimators.people.region import Picture, Region

SIDE = 224
POINTS = 21
_RECROP_SIDE = 256
_ROOM_ON_ARM = 2.7  # times the circle about the knuckles through the wrist
_ROOM = 2.0  # times the box of the hand's palm and first joints
_TOWARDS_FINGERS = 0.1  # sides by which the region's centre is moved: fingers reach farther than that box
_PALM = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
_FORE, _MIDDLE, _RING = 6, 10, 14  # joints that show where a hand points, as seen from its wrist


@dataclass(frozen=True)
class Hand:
    """What the net says of one region. Places are continuous pixels of the picture."""

    points: np.ndarray  # float64 (21, 2)
    presence: float  # 0 … 1
    seen_in: Region
    right: float  # 0 … 1: it looks like a right hand

    @property
    def next(self) -> Region:
        """Where the hand is, fingers up."""
        wrist, fore, middle, ring = self.points[[0, _FORE, _MIDDLE, _RING]]
        across, down = ((fore + ring) / 2 + middle) / 2 - wrist
        turned = Region(wrist, 1.0, float(np.arctan2(across, -down)))
        palm = turned.from_picture(self.points[_PALM])
        low, high = palm.min(axis=0), palm.max(axis=0)
        side = _ROOM * float((high - low).max())
        centre = (low + high) / 2 - [0, _TOWARDS_FINGERS * (high - low).max() * _ROOM]
        return Region(turned.to_picture(centre), side, turned.angle)


class HandNet:
    """`hand_recrop.tflite`, which looks for the hand at the end of an arm, and `hand_landmark_full.tflite`."""

    def __init__(self, recrop: Path, landmarks: Path, threads: int = 1) -> None:
        self._recrop = LiteModel(recrop, _RECROP_SIDE, ((1, 1, 4),), threads)
        self._net = LiteModel(landmarks, SIDE, ((3 * POINTS,), (1,), (1,), (3 * POINTS,)), threads)

    def __call__(self, picture: Picture, region: Region) -> Hand:
        """The hand in a region that shows it about upright."""
        values, presence, right, _ = self._net(region.cut(picture, SIDE) / np.float32(255))
        points = region.to_picture(values.reshape(POINTS, 3)[:, :2] / SIDE)
        return Hand(points, float(presence[0]), region, float(right[0]))

    def found(self, picture: Picture, arm: Region) -> Region:
        """The hand's region inside that of the end of an arm."""
        (values,) = self._recrop(arm.cut(picture, _RECROP_SIDE) / np.float32(255))
        centre, wristward = arm.to_picture(values.reshape(2, 2) / _RECROP_SIDE)
        region = Region.around(centre, 2 * centre - wristward, 1.0)
        return Region(region.to_picture(np.array([0.5, 0.5 - _TOWARDS_FINGERS])), region.side, region.angle)


def end_of_arm(wrist: np.ndarray, fore: np.ndarray, little: np.ndarray) -> Region:
    """Where a hand must be, by the body's wrist and knuckles (2,)."""
    knuckles = (2 * fore + little) / 3
    outwards = Region.around(wrist, knuckles, 1.0)
    return Region(knuckles, outwards.side * _ROOM_ON_ARM, outwards.angle)
