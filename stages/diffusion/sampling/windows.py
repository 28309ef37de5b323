"""Which frames go through a network together, and how overlapping predictions are weighted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from stages.diffusion.sampling.transfer import sent

if TYPE_CHECKING:
    from manifests.clip import Clip


@dataclass(frozen=True)
class Window:
    """Frames denoised together: indices into the clip, and the weight of each in the fused prediction."""

    frames: tuple[int, ...]
    weights: tuple[float, ...]


def uniform_windows(
    num_frames: int, size: int, stride: int = 1, overlap: int = 4, step: int = 0, closed_loop: bool = True
) -> list[list[int]]:
    """Frame indices of each window under the published "uniform" schedule.

    The clip is a ring: the last window wraps to its beginning. Levels above the first (stride > 1) take every
    2nd, 4th … frame. Source: magicanimate/SPEC.md section 10.
    """
    if num_frames <= size:
        return [list(range(num_frames))]
    levels = min(stride, math.ceil(math.log2(num_frames / size)) + 1)
    phase = bit_reversed_fraction(step)
    pad = round(num_frames * phase)
    windows = []
    for spacing in (2**level for level in range(levels)):
        end = num_frames + pad - (0 if closed_loop else overlap)
        starts = range(int(phase * spacing) + pad, end, size * spacing - overlap)
        windows += [[frame % num_frames for frame in range(start, start + size * spacing, spacing)] for start in starts]
    return windows


def bit_reversed_fraction(step: int) -> float:
    """The 64-bit reversal of `step` as a fraction of 2**64: 0, 0.5, 0.25, 0.75, 0.125 … (van der Corput)."""
    return int(f"{step:064b}"[::-1], 2) / 2**64


def averaged(windows: list[list[int]]) -> list[Window]:
    """The published fusion: every prediction of a frame counts the same."""
    return [Window(tuple(frames), (1.0,) * len(frames)) for frames in windows]


def open_windows(num_frames: int, size: int, overlap: int, step: int, begin: int = 0) -> list[Window]:
    """Windows that never mix the clip's end into its start, with triangular weights.

    Borders move with the step (by the same bit-reversed fraction as the published schedule was made for), so that no
    frame sits at a seam twice in a row (where windows advance by four frames or more). They lie on one grid over the
    whole clip, of which `num_frames` from `begin` on are looked at: neighbouring segments see the same windows. The
    first and last window are moved inwards, never shortened, because the networks' norms run over all frames of a
    window. One window for what fits into one.
    """
    if num_frames <= size:
        return averaged([list(range(num_frames))])
    advance = size - overlap
    phase = (math.floor(advance * bit_reversed_fraction(step)) - begin) % advance
    last = num_frames - size
    starts = sorted({min(max(start, 0), last) for start in range(phase - advance, last + advance, advance)})
    return [_triangular(range(start, start + size)) for start in starts]


def loop_windows(num_frames: int, size: int, overlap: int, step: int) -> list[Window]:
    """Windows evenly spread over the clip as a ring, for films that are meant to loop; borders move as above."""
    if num_frames <= size:
        return averaged([list(range(num_frames))])
    count = math.ceil(num_frames / (size - overlap))
    # rounded down, never to even: two neighbouring halves rounded apart would leave a frame between two windows
    starts = [math.floor((index + bit_reversed_fraction(step)) * num_frames / count) for index in range(count)]
    return [_triangular([frame % num_frames for frame in range(start, start + size)]) for start in starts]


def _triangular(frames: range | list[int]) -> Window:
    size = len(frames)
    return Window(tuple(frames), tuple(min(place + 1, size - place) / ((size + 1) // 2) for place in range(size)))


def window_plan(
    clip: Clip, num_frames: int, stride: int, begin: int = 0, whole: bool = True
) -> Callable[[int], Sequence[Window]]:
    """Windows of each step, of `num_frames` frames. Parity: the published ring, the same at every step.

    They are the `whole` clip, or a segment of it whose frames begin at `begin`.
    """
    if clip.mode == "parity":
        fixed = averaged(uniform_windows(num_frames, clip.window, stride, clip.overlap))
        return lambda step: fixed
    schedule = loop_windows if clip.loop and whole else partial(open_windows, begin=begin)
    return partial(schedule, num_frames, clip.window, clip.overlap)


class Fusion:
    """The weighted mean of overlapping window predictions of one step, before guidance.

    Holds (branches, frames, channels, height, width) once, whatever the number of windows. A frame that stands twice in
    one window keeps one of its two predictions and counts once, as in the published code.
    """

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames
        self._total: torch.Tensor | None = None
        self._weight: torch.Tensor | None = None

    def add(self, prediction: torch.Tensor, window: Window) -> None:
        """Take in one window's raw predictions (branches, window frames, channels, height, width)."""
        if self._total is None or self._weight is None:
            self._total = prediction.new_zeros(prediction.shape[0], self._num_frames, *prediction.shape[2:])
            # in main memory, where the last check asks for its values
            self._weight = torch.zeros(self._num_frames, 1, 1, 1, dtype=prediction.dtype)
        frames = torch.tensor(window.frames)
        weights = torch.tensor(window.weights, dtype=prediction.dtype).view(-1, 1, 1, 1)
        self._weight[frames] = self._weight[frames] + weights
        frames, weights = sent(frames, prediction.device), sent(weights, prediction.device)
        self._total[:, frames] = self._total[:, frames] + prediction * weights

    def mean(self) -> torch.Tensor:
        """(branches, frames, channels, height, width). Raises `ValueError` when a frame was in no window."""
        if self._total is None or self._weight is None or bool((self._weight == 0).any()):
            raise ValueError("a frame of the clip lies in no window")
        return self._total / sent(self._weight, self._total.device)
