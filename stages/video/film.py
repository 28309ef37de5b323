"""Decoded frames to a finished film and its poster."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np

from stages.video.encode import Encoder, EncodeRecipe, poster


def write_film(
    movie: Path,
    still: Path,
    batches: Iterable[np.ndarray],
    fps: Fraction,
    recipe: EncodeRecipe,
    sound: Path | None = None,
    sound_start: Fraction = Fraction(0),
) -> int:
    """Encode batches of uint8 (n, height, width, 3) as they come; the first frame becomes the poster JPEG `still`.

    A batch is encoded in a thread while the next one is decoded; two are in memory at most. Returns the frame count.
    """
    batches = iter(batches)
    batch = next(batches)
    poster(batch[0], still, recipe.poster_quality)
    _, height, width, _ = batch.shape
    written = 0
    with (
        Encoder(movie, width, height, fps, recipe, audio=sound, audio_start=sound_start) as encoder,
        ThreadPoolExecutor(1) as beside,
    ):
        writing: Future[None] | None = None
        while batch is not None:
            if writing is not None:
                writing.result()
            writing = beside.submit(encoder.write, batch)
            written += len(batch)
            batch = next(batches, None)
        writing.result()
    return written
