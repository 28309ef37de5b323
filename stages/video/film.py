"""Decoded frames to a finished film and its poster."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
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
    with (
        Encoder(movie, width, height, fps, recipe, audio=sound, audio_start=sound_start) as encoder,
        ThreadPoolExecutor(1) as beside,
    ):
        writing, written = beside.submit(encoder.write, batch), len(batch)
        for batch in batches:
            writing.result()
            writing = beside.submit(encoder.write, batch)
            written += len(batch)
        writing.result()
    return written
