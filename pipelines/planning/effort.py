"""What a clip takes, whichever system draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from manifests.clip import Clip


@dataclass(frozen=True)
class Effort:
    """What a clip takes. A window counts once for every step it goes through the network; TFLOP are 10¹² operations."""

    frames: int
    segments: int
    windows: int
    window_frames: int  # frames of all those windows
    denoise_tflop: float
    draw_tflop: float  # decoding

    @property
    def tflop(self) -> float:
        """All of it."""
        return self.denoise_tflop + self.draw_tflop


def steps_of(clip: Clip) -> int:
    """Steps that are done; some animators can leave out the first ones."""
    return max(1, round((clip.steps or 1) * clip.options.get("strength", 1)))


def branches_of(clip: Clip) -> int:
    """Predictions of each frame that guidance asks for."""
    if not clip.guidance:
        return 1
    if len(clip.guidance) == 1:
        return 1 if clip.guidance[0] <= 1 else 2
    image, pose = clip.guidance
    return sum(map(bool, (1 - image, pose, image - pose)))


def weighted(counted: Sequence[float], at: float, figures: Sequence[float]) -> float:
    """A figure at one size, of what is counted at others: exact where it grows with 0, 1 and 2 powers of the size.

    Lagrange's polynomial.
    """
    found = 0.0
    for one, figure in zip(counted, figures, strict=True):
        found += figure * math.prod((at - other) / (one - other) for other in counted if other != one)
    return found
