"""Unrest along the motion: texture that boils, limbs that come and go."""

from __future__ import annotations

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame


class WarpingError:
    """Mean difference between a frame and the next one brought back to it, of 1; and the frame that jumps the most.

    Of Lai et al., "Learning Blind Video Temporal Consistency", 2018. What is brighter as a whole is flicker.
    """

    name = "warping_error"

    def __init__(self) -> None:
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""
        if frame.warping is not None:
            self._curve.put(frame.number, frame.warping.appearance)

    def figure(self) -> Figure | None:
        """The mean over the film; None where no two frames follow each other."""
        worst = self._curve.worst
        return None if worst is None else Figure(self._curve.mean, worst, self._curve)
