"""Jumps where windows or segments of a film meet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction

import numpy as np

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame
from stages.video.quality.warped import LEAST


class Seam:
    """Warping error at the borders over the median of the second around each; the border that jumps the most.

    1: nothing is to be seen. `borders` are the first frames of windows or segments.
    """

    name = "seam"

    def __init__(self, borders: Collection[int], fps: Fraction) -> None:
        self._borders = sorted(set(borders) - {0})
        self._half = max(4, round(fps / 2))
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""
        if frame.warping is not None:
            self._curve.put(frame.number, frame.warping.step)

    def figure(self) -> Figure | None:
        """None for a film without borders."""
        ratios = jumps(self._curve.values, self._borders, self._half)
        if not ratios:
            return None
        worst = max(ratios, key=lambda one: ratios[one])
        return Figure(ratios[worst], worst, self._curve)


def jumps(steps: np.ndarray, borders: Sequence[int], half: int) -> dict[int, float]:
    """The step into each border over the median of the steps up to `half` before and after it, borders left out.

    `steps` (frames,) is how far each frame is from the one before, NaN where that is not known.
    """
    elsewhere = steps.copy()
    elsewhere[[border for border in borders if border < len(steps)]] = np.nan
    ratios = {}
    for border in borders:
        around = elsewhere[max(0, border - half) : border + half + 1]
        if border < len(steps) and np.isfinite(steps[border]) and np.isfinite(around).any():
            ratios[border] = float(steps[border] / max(float(np.nanmedian(around)), LEAST))
    return ratios
