"""Flicker: brightness that comes and goes is found where it is, whatever moves or grows brighter meanwhile."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from stages.video.quality.flicker import Flicker
from stages.video.quality.frame import Frame

FPS = Fraction(12)


def flicker(film: np.ndarray) -> tuple[float, int | None]:
    metric = Flicker(FPS)
    for number, picture in enumerate(film):
        metric.look(Frame(number, picture))
    found = metric.figure()
    assert found is not None
    return found.value, found.frame


def still(frames: int) -> np.ndarray:
    """A rough picture, again and again, as float32."""
    return np.random.default_rng(0).uniform(40, 200, (1, 96, 72, 3)).astype(np.float32).repeat(frames, 0)


def film(frames: np.ndarray) -> np.ndarray:
    return frames.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("frames", [3, 4, 12, 13, 14, 60])
def test_two_per_cent_of_flicker_are_two_per_cent(frames: int) -> None:
    gain = np.where(np.arange(frames) % 2, 1.02, 0.98)[:, None, None, None]
    # the mean around a frame holds the frame itself
    assert flicker(film(still(frames) * gain))[0] == pytest.approx(2, rel=0.35)
    assert flicker(film(still(frames)))[0] == 0


def test_a_light_that_is_turned_up_slowly_does_not_flicker() -> None:
    gain = np.linspace(0.9, 1.2, 60)[:, None, None, None]
    assert flicker(film(still(60) * gain))[0] < 0.1


def test_what_moves_in_front_does_not_flicker() -> None:
    frames = still(40)
    for number, one in enumerate(frames):
        one[16:80, number : number + 24] = 255 * (number % 2)
    assert flicker(film(frames))[0] < 0.05


def test_a_burst_of_flicker_is_found_where_it_is() -> None:
    frames = still(72)
    frames[40:52:2] *= 1.03
    value, frame = flicker(film(frames))
    assert value > 1
    assert frame in range(38, 54)
