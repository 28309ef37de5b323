"""Where in a driving video the person is who is replaced.

Source: stages/diffusion/wan_animate/SPEC.md section 13.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from stages.poses.keypoints import People
from stages.poses.wholebody import VISIBLE

KERNEL, TIMES = 7, 3  # of the dilation: pixels, and how often
SURE = 128  # of 255
AROUND = 0.25  # of the height of a person's points, beyond which nothing of them is: hair, soles, a wide coat


class Masks(Protocol):
    """Masks that are read when they are asked for."""

    def __getitem__(self, frame: int) -> np.ndarray:
        """uint8 (height, width), 0…255."""


class PersonMasks:
    """The masks of one person in a film, uint8 (height, width), 255 where that person is drawn anew, made when asked.

    In a frame where the person is not found, it is where it was in the nearest one where it is: a pose is drawn there,
    too. Where the person is found and no mask of it, all is that its points surround. Without any person nothing is.
    """

    def __init__(self, masks: Masks, people: Sequence[People]) -> None:
        """`masks` are of everybody in the picture, `people` of each frame the one who is replaced, or nobody."""
        self._masks, self._people = masks, people
        self._found = [number for number, one in enumerate(people) if len(one)]

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, frame: int) -> np.ndarray:
        """uint8 (height, width)."""
        frame = min(self._found, key=lambda found: abs(found - frame), default=frame)
        mask, person = self._masks[frame] >= SURE, self._people[frame]
        own = only_of(mask, person)
        if not own.any():
            own = only_of(np.ones_like(mask), person)
        return 255 * blocks(own.astype(np.uint8))


class GivenMasks:
    """Masks of a film that shows them as pictures: grey, and otherwise as they are."""

    def __init__(self, pictures: Masks, frames: int) -> None:
        self._pictures, self._frames = pictures, frames

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, frame: int) -> np.ndarray:
        """uint8 (height, width)."""
        return cv2.cvtColor(self._pictures[frame], cv2.COLOR_RGB2GRAY)


def only_of(mask: np.ndarray, people: People) -> np.ndarray:
    """bool (height, width) of everybody → the same where the one person is, if there is one."""
    near = np.zeros_like(mask)
    points = people.points[0, people.scores[0] > VISIBLE] if len(people) else np.empty((0, 2))
    if len(points):
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        more = AROUND * max(bottom - top, right - left)
        rows, columns = (
            slice(max(int(low - more), 0), int(high + more) + 1) for low, high in ((top, bottom), (left, right))
        )
        near[rows, columns] = True
    return mask & near


def blocks(mask: np.ndarray, kernel: int = KERNEL, times: int = TIMES, across: int = 1, down: int = 1) -> np.ndarray:
    """uint8 (height, width) of 0 and 1, grown, and filled up to blocks of `across` × `down` to its box.

    As published, the last row and column of the box belong to no block.
    """
    grown = cv2.dilate(mask, np.ones((kernel, kernel), np.uint8), iterations=times)
    rows, columns = np.nonzero(grown)
    if not len(rows):
        return grown
    left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
    wide, high = max((right - left) // across, 1), max((bottom - top) // down, 1)
    filled = grown.copy()
    for y in range(top, bottom, high):
        for x in range(left, right, wide):
            block = slice(y, min(y + high, bottom)), slice(x, min(x + wide, right))
            filled[block] |= grown[block].any()
    return filled
