"""Jumps where windows or segments of a film meet."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

import numpy as np

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame


class Seam:
    """Warping error at the borders over the median of the second around each; the mean of all borders.

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
        values = self._curve.values
        elsewhere = values.copy()
        elsewhere[[border for border in self._borders if border < len(values)]] = np.nan
        ratios = {}
        for border in self._borders:
            around = elsewhere[max(0, border - self._half) : border + self._half + 1]
            if border < len(values) and np.isfinite(values[border]) and np.isfinite(around).any():
                ratios[border] = float(values[border] / max(float(np.nanmedian(around)), _LEAST))
        if not ratios:
            return None
        return Figure(float(np.mean(list(ratios.values()))), max(ratios, key=lambda one: ratios[one]), self._curve)


_LEAST = 1e-4  # error of two frames that are as good as the same
