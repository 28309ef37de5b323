"""The face nets, MediaPipe's (BlazeFace; Kartynnik et al. 2019): 468 points of a face, as the 68 of a whole body."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.poses.estimators.people.anchors import anchors, decoded, suppressed
from stages.poses.estimators.people.lite_model import LiteModel, logistic
from stages.poses.estimators.people.region import Picture, Region

SIDE = 192
DETECTOR_SIDE = 128
DETECTOR_STRIDES = (8, 16, 16, 16)
SURE = 0.5
OVERLAP = 0.3  # of boxes of one face
MESH = 468
_ROOM = 1.5  # times the face's box
_SEARCH = 3.0  # times the box around the body's points of the face
_DETECTED_EYES = (0, 1)
_MESH_EYES = (33, 263)  # outer corners, right and left
# Points of the mesh that are iBUG's 68, in its order.
IBUG = [
    *(127, 234, 93, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),  # lips, outside
    *(78, 82, 13, 312, 308, 317, 14, 87),  # lips, inside
]


@dataclass(frozen=True)
class Face:
    """What the net says of one region. Places are continuous pixels of the picture."""

    mesh: np.ndarray  # float64 (468, 2)
    flag: float  # 0 … 1: whether there is a face, seen from before or aside
    seen_in: Region

    @property
    def points(self) -> np.ndarray:
        """float64 (68, 2) in iBUG's order."""
        return self.mesh[IBUG]

    @property
    def next(self) -> Region:
        """Where the face is, eyes level."""
        return _upright(self.mesh, *self.mesh[list(_MESH_EYES)])


class FaceNet:
    """`face_detection_short_range.tflite` and `face_landmark.tflite`."""

    def __init__(self, detector: Path, landmarks: Path, threads: int = 1) -> None:
        self._anchors = anchors(DETECTOR_SIDE, DETECTOR_STRIDES)
        self._detector = LiteModel(
            detector, DETECTOR_SIDE, ((len(self._anchors), 16), (len(self._anchors), 1)), threads
        )
        self._net = LiteModel(landmarks, SIDE, ((1, 1, 3 * MESH), (1, 1, 1)), threads)

    def __call__(self, picture: Picture, region: Region) -> Face:
        """The face in a region that shows it about upright."""
        values, logit = self._net(region.cut(picture, SIDE) / np.float32(255))
        mesh = region.to_picture(values.reshape(MESH, 3)[:, :2] / SIDE)
        return Face(mesh, float(logistic(logit).item()), region)

    def found(self, picture: Picture, head: Region) -> Region | None:
        """The region of the surest face near a head; None where the detector sees none."""
        pixels = head.cut(picture, DETECTOR_SIDE)
        values, logits = self._detector((pixels / np.float32(127.5) - 1).astype(np.float32))
        finds = suppressed(decoded(values, logits, self._anchors, DETECTOR_SIDE, SURE), OVERLAP)
        if not len(finds):
            return None
        corners = finds.boxes[0].reshape(2, 2)
        box = head.to_picture(corners)
        eyes = head.to_picture(finds.points[0, list(_DETECTED_EYES)])
        across, down = eyes[1] - eyes[0]
        side = head.side * float((corners[1] - corners[0]).max())
        return Region(box.mean(axis=0), _ROOM * side, float(np.arctan2(down, across)))


def head_of(points: np.ndarray) -> Region:
    """Where a face may be, by the body's points of it (n, 2)."""
    low, high = points.min(axis=0), points.max(axis=0)
    return Region((low + high) / 2, _SEARCH * float((high - low).max()))


def _upright(points: np.ndarray, right_eye: np.ndarray, left_eye: np.ndarray) -> Region:
    across, down = left_eye - right_eye
    turned = Region(right_eye, 1.0, float(np.arctan2(down, across)))
    places = turned.from_picture(points)
    low, high = places.min(axis=0), places.max(axis=0)
    return Region(turned.to_picture((low + high) / 2), _ROOM * float((high - low).max()), turned.angle)
