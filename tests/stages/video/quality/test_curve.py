"""The few points kept of a measure say what was measured, and nothing where nothing was."""

from __future__ import annotations

import numpy as np
import pytest

from stages.video.quality.curve import MOST_POINTS, Curve
from stages.video.quality.film_quality import FilmQuality
from stages.video.quality.frozen import Frozen
from stages.video.quality.outline import Outline


def curve(numbers: dict[int, float], less_is_worse: bool = False) -> Curve:
    made = Curve(less_is_worse)
    for frame, value in numbers.items():
        made.put(frame, value)
    return made


@pytest.mark.parametrize("less_is_worse", [False, True])
def test_points_between_those_measured_are_their_neighbours(less_is_worse: bool) -> None:
    numbers = {2: 0.9, 3: 0.8, 8: 0.4}
    assert curve(numbers, less_is_worse).points(10) == [0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4]
    assert Curve(less_is_worse).points(10) == []


def test_a_long_film_keeps_its_worst_frame() -> None:
    points = curve({frame: float(frame == 1777) for frame in range(0, 3600)}).points(3600)
    assert len(points) == MOST_POINTS
    assert [number for number, value in enumerate(points) if value] == [1777 * MOST_POINTS // 3600]


def test_frames_that_move_are_frozen_for_none() -> None:
    film = np.random.default_rng(0).integers(0, 255, (9, 32, 32, 3), dtype=np.uint8)
    film[4] = film[3]

    def outline(frame: int) -> Outline:
        drawn = np.zeros((32, 32), bool)
        drawn[3 * frame : 3 * frame + 3] = True
        return Outline(drawn, np.ones((32, 32), bool))

    quality = FilmQuality([Frozen()], outline)
    for _ in quality.of([film]):
        pass
    assert quality.curves() == {"frozen": [0, 0, 0, 0, 1, 0, 0, 0, 0]}
