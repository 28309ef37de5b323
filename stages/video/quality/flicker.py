"""Brightness that comes and goes faster than anything a film shows on purpose."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import numpy as np

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame

_DARKEST = 16.0  # luma: noise of darker blocks is not blown up


class Flicker:
    """Deviation of each block's luma from its mean over the second around, in per cent of it; the median of the blocks.

    Blocks that something moves through are the fewer ones, and do not count. A film's figure is the second in which
    the median frame flickers the most. The mean's frames lie evenly around each frame, so that what only grows brighter
    or darker does not flicker; near the film's ends they are fewer.
    """

    name = "flicker"

    def __init__(self, fps: Fraction) -> None:
        self._half = max(1, round(fps / 2))
        self._last: deque[tuple[int, np.ndarray]] = deque(maxlen=2 * self._half + 1)
        self._seen = 0
        self._curve = Curve()

    def look(self, frame: Frame) -> None:
        """Take in the next frame; one without a picture does not flicker."""
        if frame.black:
            return
        self._last.append((frame.number, frame.blocks))
        self._seen += 1
        around = len(self._last)
        if around == self._last.maxlen or (around % 2 and around > 1):
            self._judge(0, around)

    def _judge(self, start: int, stop: int) -> None:
        """Hold the frame in the middle of some of the last ones against their mean."""
        some = list(self._last)[start:stop]
        number, middle = some[len(some) // 2]
        mean = np.mean([blocks for _, blocks in some], axis=0)
        share = np.abs(middle - mean) / np.maximum(mean, _DARKEST)
        self._curve.put(number, 100 * float(np.median(share)))

    def figure(self) -> Figure | None:
        """Per cent; None for fewer than three frames. To be asked for once, at the end."""
        if self._seen < 3:
            return None
        around = len(self._last)
        for start in range(1 + around % 2, around - 2, 2):
            self._judge(start, around)
        return self._curve.worst_second(2 * self._half)
