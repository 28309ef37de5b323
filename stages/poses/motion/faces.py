"""Pictures of the driving person's face, of which expressions are read.

Source: stages/diffusion/wan_animate/SPEC.md section 13.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, overload

import cv2
import numpy as np

from stages.poses.keypoints import People
from stages.poses.wholebody import FACE, VISIBLE

SIZE = 512  # of a picture of a face, in pixels
ENLARGED = 1.3  # area of the box by that of the face's points
Box = tuple[int, int, int, int]  # left, right, top, bottom in pixels; right and bottom are outside


def face_box(points: np.ndarray, width: int, height: int, scale: float = ENLARGED) -> Box:
    """The box around the 68 points (68, 2) of a face, in pixels; three quarters of what is added lie above it.

    It may be empty: then the face is outside the picture.
    """
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    more = scale**0.5 - 1
    across, down = more * (right - left) / 2, more * (bottom - top) / 4
    return (
        int(max(left - across, 0)),
        int(min(right + across, width)),
        int(max(top - 3 * down, 0)),
        int(min(bottom + down, height)),
    )


def crop(picture: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The part of uint8 (height, width, 3) in a box → (size, size, 3), whatever the box's shape."""
    left, right, top, bottom = box
    return cv2.resize(picture[top:bottom, left:right], (size, size))


def _seen(people: People, width: int, height: int) -> Box | None:
    if not len(people) or people.scores[0, FACE].mean() <= VISIBLE:
        return None
    left, right, top, bottom = box = face_box(people.points[0, FACE], width, height)
    return box if right > left and bottom > top else None


class Pictures(Protocol):
    """Frames that are read when they are asked for."""

    def __getitem__(self, frame: int) -> np.ndarray:
        """uint8 (height, width, 3)."""


class FacePictures(Sequence[np.ndarray | None]):
    """The face in each frame of what a clip follows, cut out when it is asked for; None where none was seen so far."""

    def __init__(self, frames: Pictures, people: Sequence[People]) -> None:
        """`frames` uint8 (height, width, 3) and `people` of them, each of one person or nobody."""
        self._frames = frames
        height, width = frames[0].shape[:2]
        self._seen = [_seen(one, width, height) for one in people]
        self._boxes: list[Box | None] = []
        for box in self._seen:
            self._boxes.append(box or (self._boxes[-1] if self._boxes else None))

    @property
    def unseen(self) -> np.ndarray:
        """bool (frames,): where no face is seen, so that the last one is shown, or none."""
        return np.array([box is None for box in self._seen])

    def __len__(self) -> int:
        return len(self._boxes)

    @overload
    def __getitem__(self, frame: int) -> np.ndarray | None: ...
    @overload
    def __getitem__(self, frame: slice) -> list[np.ndarray | None]: ...
    def __getitem__(self, frame: int | slice) -> np.ndarray | list[np.ndarray | None] | None:
        if isinstance(frame, slice):
            return [self[one] for one in range(len(self))[frame]]
        box = self._boxes[frame]
        return None if box is None else crop(self._frames[frame], box, SIZE)
