"""The person detector, BlazePose's: few and large people of a square, each as the region that the body net looks at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stages.poses.estimators.people.anchors import anchors, decoded, suppressed
from stages.poses.estimators.people.lite_model import LiteModel
from stages.poses.estimators.people.region import Picture, Region

SIDE = 224
STRIDES = (8, 16, 32, 32, 32)
SURE = 0.5
OVERLAP = 0.3  # of boxes of one person
ROOM = 1.25  # the body net's region, times the circle around the body
_HIPS, _RIM = 0, 1  # points: the middle of the hips, and one on the circle around the whole body


class PersonDetector:
    """`pose_detection.tflite`."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._anchors = anchors(SIDE, STRIDES)
        self._net = LiteModel(path, SIDE, ((len(self._anchors), 12), (len(self._anchors), 1)), threads)

    def __call__(self, picture: Picture, square: Region) -> list[tuple[float, Region]]:
        """People in an upright square of a picture: score and body region of each, best first."""
        pixels = square.cut(picture, SIDE, cv2.BORDER_CONSTANT)
        values, logits = self._net((pixels / np.float32(127.5) - 1).astype(np.float32))
        found = suppressed(decoded(values, logits, self._anchors, SIDE, SURE), OVERLAP)
        points = square.to_picture(found.points)
        regions = [Region.around(point[_HIPS], point[_RIM], ROOM) for point in points]
        return list(zip(found.scores.tolist(), regions, strict=True))
