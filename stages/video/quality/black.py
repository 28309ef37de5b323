"""Frames without a picture."""

from __future__ import annotations

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame


class Black:
    """How many frames are dark or of one colour, and the first of them."""

    name = "black"

    def __init__(self) -> None:
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""
        self._curve.put(frame.number, float(frame.black))

    def figure(self) -> Figure | None:
        """The number of such frames."""
        count = int(self._curve.values.sum())
        return Figure(count, self._curve.worst if count else None, self._curve)
