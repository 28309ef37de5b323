"""Pictures of the driving person's face, of which expressions are read.

Source: SPEC.md section 13.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import cv2
import numpy as np

from stages.diffusion.animator import Driving
from stages.poses.keypoints import People
from stages.poses.wholebody import FACE, VISIBLE

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


def boxes(people: Sequence[People], width: int, height: int) -> list[Box | None]:
    """Of each frame. Where no face is seen, the last box is kept; before the first, there is none."""
    found: list[Box | None] = []
    for one in people:
        box = _seen(one, width, height)
        found.append(box if box is not None or not found else found[-1])
    return found


def unseen(people: Sequence[People], width: int, height: int) -> list[int]:
    """The frames in which no face is seen."""
    return [frame for frame, one in enumerate(people) if _seen(one, width, height) is None]


def _seen(people: People, width: int, height: int) -> Box | None:
    if not len(people) or people.scores[0, FACE].mean() <= VISIBLE:
        return None
    left, right, top, bottom = box = face_box(people.points[0, FACE], width, height)
    return box if right > left and bottom > top else None


class FacePictures(Sequence[np.ndarray | None]):
    """The face in each frame of what a clip follows, cut out when it is asked for."""

    def __init__(self, driving: Driving, frames: int, size: int) -> None:
        """None in every frame where the driving file is no film of a person, or where no face was seen yet."""
        self._frames, self._size = driving.frames, size
        self._boxes: list[Box | None] = [None] * frames
        if driving.frames is not None and driving.keypoints is not None and frames:
            height, width = driving.frames[0].shape[:2]
            self._boxes = boxes(driving.keypoints, width, height)

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
        if box is None or self._frames is None:
            return None
        return crop(self._frames[frame], box, self._size)
