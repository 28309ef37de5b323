"""How much is to be seen where windows, segments and a loop's ends meet. Curves are float32 (frames,), see `films`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.video.quality.seam import jumps
from tests.bench.ablations.people import FPS

HALF = round(FPS / 2)  # frames before and after a border that it is held against, as the metric does


class Score(NamedTuple):
    """`here`: the seam score at borders; `without`: at the same frames of a film that has no borders there."""

    here: float
    without: float

    @property
    def excess(self) -> float:
        """What the borders add: 1 is nothing, whatever the person does at those frames."""
        return self.here / self.without


def score(steps: np.ndarray, without: np.ndarray, borders: Sequence[int]) -> Score:
    """Of one film."""
    return Score(*(float(np.mean(list(jumps(one, borders, HALF).values()))) for one in (steps, without)))


def fade(steps: np.ndarray, without: np.ndarray, borders: Sequence[int], reach: int) -> np.ndarray:
    """(2 · reach + 1,): the steps around a border over those of the film without borders, mean of all borders."""
    offsets = np.arange(-reach, reach + 1)
    return np.mean([steps[border + offsets] / without[border + offsets] for border in borders], axis=0)


def played(steps: np.ndarray, join: float, times: int = 3) -> tuple[np.ndarray, list[int]]:
    """Steps of a film that is played so often in a row, and where it begins anew."""
    again = np.tile(steps, times)
    joins = [len(steps) * number for number in range(1, times)]
    again[joins] = join
    return again, joins
