"""Two frames, one of them brought to the other along the motion between them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

LEAST = 1e-4  # difference of two frames that are as good as the same
_RETURNS = 1.0  # pixels by which what goes there and back may miss where it began, and still counts as seen in both


class Warped(NamedTuple):
    """Mean absolute difference of two frames, of 1, where both show the same place.

    appearance: with the brightness of the one brought to the other's; step: as they are.
    """

    appearance: float
    step: float


def warped(now: np.ndarray, later: np.ndarray, gain: float) -> Warped | None:
    """The later picture brought back to `now`, both uint8 (height, width, 3); None where nothing is seen in both.

    `gain` is how much brighter the later one is as a whole. Optical flow of Kroeger et al., "Fast Optical Flow using
    Dense Inverse Search", 2016; places whose flow does not come back are hidden in one of the two (Sundaram, Brox and
    Keutzer, 2010).
    """
    grey = cv2.cvtColor(now, cv2.COLOR_RGB2GRAY), cv2.cvtColor(later, cv2.COLOR_RGB2GRAY)
    places, seen = flow(grey[0], cv2.convertScaleAbs(grey[1], alpha=1 / gain))
    mask = seen.astype(np.uint8)
    if not mask.any():
        return None
    back = cv2.remap(later, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    step = cv2.mean(cv2.absdiff(now, back), mask)
    appearance = cv2.mean(cv2.absdiff(now.astype(np.float32) * np.float32(gain), back.astype(np.float32)), mask)
    return Warped(sum(appearance) / 3 / 255, sum(step) / 3 / 255)


def flow(now: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of grey pictures: where each pixel lies in the later one, float32 (height, width, 2), and whether it is seen."""
    search = _search(now.shape)
    there, back = search.calc(now, later, None), search.calc(later, now, None)
    places = _grid(now.shape) + there
    returned = there + cv2.remap(back, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = now.shape
    inside = cv2.inRange(places, (0, 0), (width - 1, height - 1)) > 0
    return places, inside & (returned[..., 0] ** 2 + returned[..., 1] ** 2 < _RETURNS**2)


@lru_cache(maxsize=2)
def _grid(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape, np.float32)
    return np.stack([columns, rows], axis=-1)


@lru_cache(maxsize=2)
def _search(shape: tuple[int, int]) -> cv2.DISOpticalFlow:
    # one for each size: a small picture changes the scales of the object for all that come after it
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
