"""The join of a film that is shown again and again."""

from __future__ import annotations

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame
from stages.video.quality.warped import LEAST


class Loop:
    """Warping error from the last frame to the first over the median between neighbours; 1: nothing is to be seen."""

    name = "loop"

    def __init__(self) -> None:
        self._first: Frame | None = None
        self._last: Frame | None = None
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""
        if self._first is None:
            self._first = Frame(frame.number, frame.picture.copy())
        self._last = frame
        if frame.warping is not None:
            self._curve.put(frame.number, frame.warping.step)

    def figure(self) -> Figure | None:
        """None where the film has no motion to compare with, or no picture at an end."""
        usual = self._curve.median
        if self._first is None or self._last is None or usual is None:
            return None
        join = Frame(0, self._first.picture, self._last).warping
        return None if join is None else Figure(join.step / max(usual, LEAST), self._last.number)
