"""Colours that a film of chained segments loses from one segment to the next."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from stages.video.quality.colour_difference import ciede2000, lab
from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame


class _Drift:
    """Numbers of each frame, taken together over each segment and held against the first segment's.

    A median over a segment, so that no single frame decides. `borders` are the first frames of segments.
    """

    def __init__(self, borders: Collection[int], numbers: int) -> None:
        self._borders = sorted({0, *borders})
        self._measured = [Curve() for _ in range(numbers)]

    def _put(self, frame: Frame, *numbers: float) -> None:
        for curve, number in zip(self._measured, numbers, strict=True):
            curve.put(frame.number, number)

    def _apart(self, numbers: np.ndarray, first: np.ndarray) -> np.ndarray:
        """(n, numbers) of frames or segments, and the first segment's (numbers,) → how far each is from it, (n,)."""
        raise NotImplementedError

    def figure(self) -> Figure | None:
        """The segment that is the farthest from the first, and the frame that it begins with."""
        values = np.stack([curve.values for curve in self._measured], axis=1)
        stops = [*self._borders[1:], None]
        parts = {border: values[border:stop] for border, stop in zip(self._borders, stops, strict=True)}
        medians = {
            border: np.nanmedian(part, axis=0) for border, part in parts.items() if np.isfinite(part).any(axis=0).all()
        }
        if 0 not in medians or len(medians) < 2:
            return None
        apart = self._apart(np.stack(list(medians.values())), medians[0])
        worst = int(apart.argmax())
        curve = Curve()
        for number, one in enumerate(self._apart(values, medians[0])):
            curve.put(number, float(one))
        return Figure(float(apart[worst]), list(medians)[worst], curve)


class ColourDrift(_Drift):
    """ΔE00 between the mean colour of a segment and of the first one."""

    name = "colour_drift"

    def __init__(self, borders: Collection[int]) -> None:
        super().__init__(borders, 3)

    def look(self, frame: Frame) -> None:
        """Take in the next frame; one without a picture says nothing."""
        if not frame.black:
            self._put(frame, *lab(frame.small).mean(axis=(0, 1)).tolist())

    def _apart(self, numbers: np.ndarray, first: np.ndarray) -> np.ndarray:
        return ciede2000(numbers, np.broadcast_to(first, numbers.shape))


class ContrastDrift(_Drift):
    """Change of a segment's contrast, the deviation of its luma, from the first one's, in per cent of that."""

    name = "contrast_drift"

    def __init__(self, borders: Collection[int]) -> None:
        super().__init__(borders, 1)

    def look(self, frame: Frame) -> None:
        """Take in the next frame; one without a picture says nothing."""
        if not frame.black:
            self._put(frame, float(frame.grey.std()))

    def _apart(self, numbers: np.ndarray, first: np.ndarray) -> np.ndarray:
        return 100 * np.abs(numbers[:, 0] / first[0] - 1)
