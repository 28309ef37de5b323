"""Films that stand still while their pose goes on."""

from __future__ import annotations

import cv2
import numpy as np

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame
from stages.video.quality.outline import Outline

STILL = 0.2  # mean change from frame to frame, 0…255, of a picture that stands still


class Frozen:
    """The longest row of frames in which the person does not change although the pose moves on, and its last frame."""

    name = "frozen"

    def __init__(self) -> None:
        self._start: Outline | None = None
        self._still = 0
        self._longest = 0
        self._where: int | None = None
        self._judged = False
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame. Without a pose, or without a picture, it counts as moving."""
        outline, before = frame.outline, frame.before
        if outline is None or frame.black:
            self._begin(None)
            return
        self._judged = True
        if self._start is None or before is None or not _still(frame, before, self._start.hull | outline.hull):
            self._begin(outline)
            self._curve.put(frame.number, 0)
            return
        self._still += 1
        moved = outline.moved_since(self._start)
        self._curve.put(frame.number, self._still if moved else 0)
        if moved and self._still > self._longest:
            self._longest, self._where = self._still, frame.number

    def _begin(self, outline: Outline | None) -> None:
        self._start, self._still = outline, 0

    def figure(self) -> Figure | None:
        """The number of frames; None for a film without poses."""
        return Figure(self._longest, self._where, self._curve) if self._judged else None


def _still(frame: Frame, before: Frame, where: np.ndarray) -> bool:
    mask = where.astype(np.uint8)
    return bool(mask.any()) and max(cv2.mean(cv2.absdiff(frame.small, before.small), mask)) < STILL
