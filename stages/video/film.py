"""Decoded frames to a finished film and its poster."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.video.encode import Encoder, EncodeRecipe, poster

_LOOKED_AT = 8  # frames that may become the poster


class Written(NamedTuple):
    """How many frames a film has, and which of them its poster shows."""

    frames: int
    poster_frame: int


def write_film(
    movie: Path,
    still: Path,
    batches: Iterable[np.ndarray],
    fps: Fraction,
    recipe: EncodeRecipe,
    sound: Path | None = None,
    sound_start: Fraction = Fraction(0),
    poster_frames: Collection[int] = (0,),
) -> Written:
    """Encode batches of uint8 (n, height, width, 3) as they come.

    The sharpest of `poster_frames` becomes the poster JPEG `still`, the first frame where none of them is written. A
    batch is encoded in a thread while the next one is looked at; two are in memory at most.
    """
    batches = iter(batches)
    batch = next(batches)
    sharpest = _Sharpest(batch[0], poster_frames)
    _, height, width, _ = batch.shape
    with (
        Encoder(movie, width, height, fps, recipe, audio=sound, audio_start=sound_start) as encoder,
        ThreadPoolExecutor(1) as beside,
    ):
        writing, written = beside.submit(encoder.write, batch), len(batch)
        sharpest.look_at(batch, 0)
        for batch in batches:
            writing.result()
            writing = beside.submit(encoder.write, batch)
            sharpest.look_at(batch, written)
            written += len(batch)
        writing.result()
    poster(sharpest.frame, still, recipe.poster_quality)
    return Written(written, sharpest.number)


def shown_of(batches: Iterable[np.ndarray], numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Of batches of frames those of these ascending numbers, each as often as it is named."""
    first = at = 0
    for batch in batches:
        end = bisect_left(numbers, first + len(batch), at)
        if at < end:
            wanted = [number - first for number in numbers[at:end]]
            yield batch if wanted == list(range(len(batch))) else batch[wanted]
        first, at = first + len(batch), end


class _Sharpest:
    """The sharpest so far of some frames of a film."""

    def __init__(self, first: np.ndarray, candidates: Collection[int]) -> None:
        """`first` is it until one of the candidates is seen."""
        self.frame, self.number, self._best, self._candidates = first.copy(), 0, -1.0, set(candidates)

    def look_at(self, batch: np.ndarray, number: int) -> None:
        """Look at the candidates in a batch that begins with that frame of the film."""
        for at in sorted(self._candidates.intersection(range(number, number + len(batch)))):
            frame = batch[at - number]
            if (found := sharpness(frame)) > self._best:
                self.frame, self.number, self._best = frame.copy(), at, found


def likely_posters(frames: int, poor: Sequence[Sequence[int]] = ()) -> list[int]:
    """A few frames of a film, evenly spread, of which the sharpest may stand for it.

    `poor` are first and last frames of stretches that should not, and do only where there is nothing else.
    """
    good = [number for number in range(frames) if not any(first <= number <= last for first, last in poor)]
    good = good or list(range(frames))
    return sorted({good[round(at)] for at in np.linspace(0, len(good) - 1, _LOOKED_AT)})


def sharpness(frame: np.ndarray) -> float:
    """Variance of the Laplacian of the brightness of uint8 (height, width, 3); 0 for less than 3 × 3 pixels.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
    """
    light = frame.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    middle = light[1:-1, 1:-1]
    if not middle.size:
        return 0.0
    around = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    return float((around - 4 * middle).var())
