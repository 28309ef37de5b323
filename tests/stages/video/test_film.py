"""A film and its poster: which of the frames stands for it."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from stages.video.encode import EncodeRecipe
from stages.video.film import likely_posters, sharpness, write_film

WIDTH, HEIGHT = 96, 64


def blurred(times: int) -> np.ndarray:
    """Blocks of grey, uint8 (HEIGHT, WIDTH, 3), less sharp the more often they are averaged with their neighbours."""
    blocks = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8)).astype(float)
    picture = blocks.repeat(8, 0).repeat(8, 1)
    for _ in range(times):
        picture = (picture + np.roll(picture, 1, 0) + np.roll(picture, 1, 1) + np.roll(picture, (1, 1), (0, 1))) / 4
    return picture.round().astype(np.uint8)[..., None].repeat(3, 2)


def poster_of(frames: np.ndarray, folder: Path, **candidates: Collection[int]) -> int:
    """Which of the frames, written in batches of 3, is the poster."""
    movie, still = folder / "film.mp4", folder / "film.jpg"
    batches = iter(np.split(frames, range(3, len(frames), 3)))
    written = write_film(movie, still, batches, Fraction(25), EncodeRecipe(preset="veryfast"), **candidates)
    assert written.frames == len(frames)
    with av.open(str(movie)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(frames)
    picture = np.asarray(Image.open(still)).astype(int)
    shown = int(np.abs(frames.astype(int) - picture).mean(axis=(1, 2, 3)).argmin())
    assert written.poster_frame == shown
    return shown


def test_the_poster_is_the_sharpest_of_the_frames_that_may_be(tmp_path: Path) -> None:
    frames = np.stack([blurred(times) for times in (4, 3, 0, 2, 5, 1, 6)])
    assert poster_of(frames, tmp_path, poster_frames=range(7)) == 2
    assert poster_of(frames, tmp_path, poster_frames=[0, 3, 5, 6]) == 5
    assert poster_of(frames, tmp_path, poster_frames=[6]) == 6


def test_the_first_frame_is_the_poster_where_nothing_else_is_said(tmp_path: Path) -> None:
    frames = np.stack([blurred(times) for times in (4, 0)])
    assert poster_of(frames, tmp_path) == 0
    assert poster_of(frames, tmp_path, poster_frames=[9]) == 0


def test_likely_posters_are_few_and_spread_over_the_good_frames() -> None:
    assert likely_posters(3) == [0, 1, 2]
    spread = likely_posters(1000)
    assert (spread[0], spread[-1], len(spread)) == (0, 999, 8)
    assert np.ptp(np.diff(spread)) <= 1
    assert likely_posters(8, [[0, 3], [6, 6]]) == [4, 5, 7]
    assert likely_posters(4, [[0, 3]]) == [0, 1, 2, 3]


def test_sharpness_falls_with_blur_and_knows_tiny_pictures() -> None:
    values = [sharpness(blurred(times)) for times in range(4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[1]
    assert sharpness(np.zeros((2, 2, 3), np.uint8)) == 0
