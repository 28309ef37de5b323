"""One number per frame of a film, and the few points that are kept of them."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

MOST_POINTS = 120


class Curve:
    """A number for each frame, or for some of them; four bytes are all that a frame leaves behind."""

    def __init__(self, less_is_worse: bool = False) -> None:
        self._values = array("f")
        self._less_is_worse = less_is_worse

    def __len__(self) -> int:
        return len(self._values)

    def put(self, frame: int, value: float) -> None:
        """The number of a frame; frames come in order, and those left out have none."""
        self._values.extend([float("nan")] * (frame - len(self._values)))
        self._values.append(value)

    @property
    def values(self) -> np.ndarray:
        """float32 (frames,), NaN where there is none."""
        return np.array(self._values, np.float32)

    @property
    def worst(self) -> int | None:
        """The worst frame; None where no frame has a number."""
        values = self.values
        if not np.isfinite(values).any():
            return None
        return int(np.nanargmin(values) if self._less_is_worse else np.nanargmax(values))

    @property
    def mean(self) -> float:
        """Over the frames that have a number."""
        return float(np.nanmean(self.values))

    @property
    def median(self) -> float | None:
        """Over the frames that have a number; None where none has."""
        values = self.values
        return float(np.nanmedian(values)) if np.isfinite(values).any() else None

    def worst_second(self, frames: int) -> Figure | None:
        """The stretch of so many frames whose median is the worst, and the worst frame of it: no single one decides.

        Frames without a number count as time too; stretches with less than half of the numbers of another are left out.
        """
        values = self.values
        there = np.flatnonzero(np.isfinite(values))
        if not len(there):
            return None
        first, last = int(there[0]), int(there[-1])
        spanned = values[first : last + 1]
        stretches = np.lib.stride_tricks.sliding_window_view(spanned, min(frames, len(spanned)))
        counts = np.isfinite(stretches).sum(axis=1)
        full = np.flatnonzero(2 * counts >= counts.max())
        medians, sign = np.nanmedian(stretches[full], axis=1), -1 if self._less_is_worse else 1
        worst = int((sign * medians).argmax())
        frame = first + int(full[worst]) + int(np.nanargmax(sign * stretches[full[worst]]))
        return Figure(float(medians[worst]), frame, self)

    def points(self, frames: int) -> list[float]:
        """At most `MOST_POINTS`, evenly over a film of that many frames: the worst of those that each stands for.

        Points without a number have the nearest one's; a curve without any has no points.
        """
        none = np.inf if self._less_is_worse else -np.inf
        values = np.full(frames, none, np.float32)
        values[: len(self)] = np.nan_to_num(self.values, nan=none)
        parts = np.array_split(values, min(MOST_POINTS, frames) or 1)
        worst = [part.min(initial=np.inf) if self._less_is_worse else part.max(initial=-np.inf) for part in parts]
        known = np.flatnonzero(np.isfinite(worst))
        if not len(known):
            return []
        nearest = known[np.abs(np.arange(len(worst))[:, None] - known).argmin(axis=1)]
        return [float(f"{worst[point]:.4g}") for point in nearest]


class Figure(NamedTuple):
    """What a metric says of a film: its value, the frame that is the worst by it, and its curve."""

    value: float
    frame: int | None = None
    curve: Curve | None = None
